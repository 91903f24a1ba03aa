/** The one error of tuned routers on their way between files and models; system and GGUF errors come through as they are. */

export type AdapterErrorKind =
  /** It was made for another model, or the model's routers are not what they were. */
  | "wrong-base"
  /** The file's parts contradict each other, or it ends too early. */
  | "damaged"
  /** The file, or what is asked of it, is sound but not something that can be done. */
  | "unsupported"
  /** A patch that was interrupted, or another patch, is in the model's file. */
  | "half-patched";

export class AdapterError extends Error {
  override readonly name = "AdapterError";
  readonly kind: AdapterErrorKind;
  /** The file that cannot be used. */
  readonly path: string;

  /** @param sentence what is wrong, and what to do next */
  constructor(kind: AdapterErrorKind, path: string, sentence: string, options?: ErrorOptions) {
    super(`${path}: ${sentence}`, options);
    this.kind = kind;
    this.path = path;
  }
}
