/**
 * How long the model computes, in the pieces between which the engine can wait for reads: what comes before a layer's
 * router, then each of its products with expert weights. Two figures per piece, because a prompt's tokens share the
 * weights they go through. It says nothing of reads.
 */
import type { ModelShape } from "../cache/shape.ts";

/** A piece of work on a batch of n tokens takes `ms + n * msPerToken`. */
export interface BatchCost {
  readonly ms: number;
  readonly msPerToken: number;
}

/** A product takes `experts * msPerExpert + uses * msPerUse`: distinct experts, and tokens times experts of each. */
export interface ProductCost {
  readonly msPerExpert: number;
  readonly msPerUse: number;
}

export interface LayerCost {
  /** Everything between the last product of the layer before and this layer's router: attention, mostly. */
  readonly beforeRouter: BatchCost;
  /** In the order of the graph: gate, up, down; or two where gate and up are one tensor. */
  readonly products: readonly ProductCost[];
}

export interface ComputeModel {
  readonly layers: readonly LayerCost[];
  /** What comes before the first layer and after the last: embedding, output head, llama.cpp's own preparations. */
  readonly outside: BatchCost;
}

/** What the engine itself takes of the model's thread. */
export interface EngineCost {
  /** Whenever the graph stops and goes on: at each router, and after each product that had to be waited for. */
  readonly msPerStop: number;
  /** Whenever a layer hands over reads, however many: deciding what to give up, moving its pages, waking the drive. */
  readonly msPerHandover: number;
  /** For each request of them, besides: the kernel pins its pages. */
  readonly msPerRequest: number;
}

/** How long a batch of `tokens` computes that uses k experts per token and layer, all different ones. */
export function computeMsOf({ layers, outside }: ComputeModel, shape: ModelShape, tokens: number): number {
  const uses = shape.expertsUsed * tokens;
  const experts = Math.min(uses, shape.experts);
  return layers.reduce(
    (sum, { beforeRouter, products }) =>
      products.reduce((s, { msPerExpert, msPerUse }) => s + experts * msPerExpert + uses * msPerUse, sum) +
      batchMs(beforeRouter, tokens),
    batchMs(outside, tokens),
  );
}

export function batchMs({ ms, msPerToken }: BatchCost, tokens: number): number {
  return ms + msPerToken * tokens;
}

export interface WeightBytes {
  readonly shape: ModelShape;
  /** Weights that every token goes through. 0 when unknown. */
  readonly denseBytes: number;
  /** Products with expert weights per layer. @default 3 */
  readonly products?: number;
}

/**
 * Of what is read and computed in a token's time, this share of a weight's cost is there once for all tokens of a batch;
 * the rest comes for every token. Two cores at 4-bit weights; only prompts depend on it.
 */
const SHARED_BY_BATCH = 0.5;

/**
 * A model whose token takes `msPerToken` with everything in memory, each piece in proportion to the weights it goes
 * through: decoding is limited by how fast weights come from memory.
 */
export function computeByBytes({ shape, denseBytes, products = 3 }: WeightBytes, msPerToken: number): ComputeModel {
  const expertBytes = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.expertsUsed, 0);
  const msPerByte = msPerToken / (expertBytes + denseBytes);
  const dense = shared(denseBytes * msPerByte);
  // Of the dense weights the output head is one part, as large as a layer's or larger; nothing waits in between anyway.
  const parts = shape.layers + 1;
  const part = { ms: dense.once / parts, msPerToken: dense.each / parts };
  return {
    outside: part,
    layers: shape.expertBytes.map((bytes) => {
      const { once, each } = shared((bytes * msPerByte) / products);
      const product: ProductCost = { msPerExpert: once, msPerUse: each };
      return { beforeRouter: part, products: new Array<ProductCost>(products).fill(product) };
    }),
  };
}

function shared(ms: number): { once: number; each: number } {
  return { once: ms * SHARED_BY_BATCH, each: ms * (1 - SHARED_BY_BATCH) };
}

/** The same model on a machine that computes `factor` times as long. */
export function scaledCompute({ layers, outside }: ComputeModel, factor: number): ComputeModel {
  const batch = ({ ms, msPerToken }: BatchCost): BatchCost => ({ ms: ms * factor, msPerToken: msPerToken * factor });
  return {
    outside: batch(outside),
    layers: layers.map(({ beforeRouter, products }) => ({
      beforeRouter: batch(beforeRouter),
      products: products.map(({ msPerExpert, msPerUse }) => ({
        msPerExpert: msPerExpert * factor,
        msPerUse: msPerUse * factor,
      })),
    })),
  };
}
