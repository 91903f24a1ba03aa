/** What can keep gates from being tuned for the user's reasons: the file, the trace or the settings do not allow it. */
export type TuneErrorKind =
  /** The model's routers cannot be tuned: they are not there as F32, or score in a way that is not known. */
  | "unsupported-router"
  /** The trace or the delta is of another model. */
  | "wrong-model"
  /** Too few tokens, documents or layers to tune with. */
  | "too-little-data"
  /** No room for the routers' inputs. */
  | "too-little-disk"
  /** The losses are no longer numbers. */
  | "diverged"
  /** Training starves experts. */
  | "collapsed"
  /** A checkpoint that does not fit the run or is damaged. */
  | "bad-checkpoint";

export class TuneError extends Error {
  override readonly name = "TuneError";
  readonly kind: TuneErrorKind;

  /** @param message says what to do next */
  constructor(kind: TuneErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
