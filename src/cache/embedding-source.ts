/**
 * Where the rows of a model's token embedding table come from: the engine reads its own weights, a replay what was read
 * for it. Types only, so that policies and the simulator can name it without native code.
 */

export interface EmbeddingSource {
  /** Values of one row. */
  readonly width: number;
  /** Writes the row of each token to `into`, `[tokens][width]`. A token that the table does not have gets zeros. */
  rows(tokenIds: Int32Array, into: Float32Array): void;
}
