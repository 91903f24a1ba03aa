/**
 * The control of "any change helps": gates changed in random directions, each layer as far from the base as a tuned gate is, in
 * mean KL of the routers' distributions on the same inputs.
 */
import type { GateValues } from "../../adapter/index.ts";
import { Randomness } from "../../predict/randomness.ts";
import { interpolatedLogits, meanTrustKl } from "../gate-metrics.ts";
import { GateProduct } from "../gate-product.ts";
import type { RouterRule } from "../router-forward.ts";

export interface RandomGatesInput {
  /** By MoE layer. */
  readonly base: readonly GateValues[];
  /** Of the layers that were tuned. */
  readonly tuned: readonly GateValues[];
  readonly rules: readonly RouterRule[];
  /** By MoE layer, `[tokens][width]`. */
  readonly inputs: { readonly layers: readonly Float32Array[]; readonly tokens: number };
  readonly seed: number;
}

/** Halvings of the search for the size of the change: a thousandth is near enough. */
const STEPS = 14;

export function randomGates({ base, tuned, rules, inputs, seed }: RandomGatesInput): GateValues[] {
  return tuned.map((gate) => {
    const layer = base.findIndex(({ block }) => block === gate.block);
    const own = base[layer];
    const { experts } = rules[layer];
    const { tokens } = inputs;
    const hidden = inputs.layers[layer];
    const product = new GateProduct({
      width: own.weights.length / experts,
      experts,
      batchTokens: Math.min(tokens, 512),
    });
    const logits = ({ weights, bias }: GateValues) => {
      product.setGate(weights);
      return product.logits(hidden, tokens, bias);
    };
    const zBase = logits(own);
    const divergence = (z: Float32Array) => meanTrustKl(z, zBase, tokens, rules[layer]);
    const wanted = divergence(logits(gate));
    const random = new Randomness(seed, gate.block);
    const size = normOf(difference(gate.weights, own.weights)) / Math.sqrt(own.weights.length);
    const direction = own.weights.map(() => size * random.normal());
    const zAway = logits({ ...own, weights: own.weights.map((value, i) => value + direction[i]) });
    let [low, high] = [0, 1];
    // Grows with the scale, near enough: a search by halving, once it is enclosed.
    for (let i = 0; i < STEPS && divergence(interpolatedLogits(zBase, zAway, high)) < wanted; i++) high *= 2;
    for (let i = 0; i < STEPS; i++) {
      const middle = (low + high) / 2;
      if (divergence(interpolatedLogits(zBase, zAway, middle)) < wanted) low = middle;
      else high = middle;
    }
    return { block: gate.block, bias: own.bias, weights: own.weights.map((value, i) => value + high * direction[i]) };
  });
}

function difference(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value - b[i]);
}

function normOf(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
