/** The dimensions of expert maps: what must agree between a model, a store and a file of one. */

export interface MapShape {
  /** MoE layers (L); dense layers in between do not count. */
  readonly layers: number;
  /** Routed experts per layer (J). */
  readonly experts: number;
  /** Width of the token embeddings (h); 0 when none are known. */
  readonly hiddenSize: number;
}

/** "No row": an empty store, nothing found, or an insertion that was refused. */
export const NO_ROW = -1;

/** "No token": a map of several tokens, or of one whose id is not known. */
export const NO_TOKEN = -1;

/** Floats of one map, `[layers][experts]`. */
export function mapLength(shape: MapShape): number {
  return shape.layers * shape.experts;
}
