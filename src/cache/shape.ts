/**
 * The numbers a policy and the cache need to know of a model: how many MoE layers and experts there are and how many
 * bytes each expert has. It is not a model description; `gguf/` reads that from the file and derives this from it.
 */

/** One expert of one MoE layer as a single integer, `layer * shape.experts + expert`, so that it indexes typed arrays. */
export type ExpertKey = number & { readonly __brand: "ExpertKey" };

/** "No expert": what a policy answers when it has nothing to read or to evict. */
export const NO_EXPERT = -1 as ExpertKey;

export interface ModelShape {
  /** Number of layers with routed experts. A layer index counts MoE layers only: 0 is the first MoE layer. */
  readonly layers: number;
  /** Routed experts per layer (J). */
  readonly experts: number;
  /** Experts a token uses in one layer (K). */
  readonly expertsUsed: number;
  /** Bytes of one expert (all of its slices) in each MoE layer, length `layers`. Mixed quantisations differ by layer. */
  readonly expertBytes: readonly number[];
  /** Width of the residual stream, of embeddings and of the routers' inputs; undefined where a trace does not tell. */
  readonly hiddenSize?: number | undefined;
}

export function expertKey(shape: ModelShape, layer: number, expert: number): ExpertKey {
  return (layer * shape.experts + expert) as ExpertKey;
}

export function layerOf(shape: ModelShape, key: ExpertKey): number {
  return Math.floor(key / shape.experts);
}

export function expertOf(shape: ModelShape, key: ExpertKey): number {
  return key % shape.experts;
}

/**
 * Bytes one token demands when nothing is resident: the sum over layers of K x expert bytes. A global LRU that holds
 * less than this (at most the cycle without one layer) hits exactly 0 %: its victim is always the soonest needed.
 */
export function tokenCycleBytes(shape: ModelShape): number {
  return shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.expertsUsed, 0);
}
