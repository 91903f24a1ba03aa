/** What can be wrong with a predictor or with what one is to be trained from. */

export type PredictorErrorKind =
  /** The trace cannot train one: too few samples, no model hash, layers too few. */
  | "untrainable"
  /** A file that is no predictor, or of another version. */
  | "not-a-predictor"
  /** A predictor's file whose parts contradict each other. */
  | "damaged"
  /** It was trained for another model. */
  | "wrong-model"
  /** It does not predict the layers that were asked for. */
  | "wrong-reach"
  /** A policy needs one and none was given. */
  | "missing"
  /** This processor, or how Node was started, has no WebAssembly with vectors. */
  | "no-vectors";

export class PredictorError extends Error {
  override readonly name = "PredictorError";
  readonly kind: PredictorErrorKind;

  constructor(kind: PredictorErrorKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
