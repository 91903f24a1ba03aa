/** What can go wrong with a flash cache. A miss is not an error; neither is a value that does not fit, which `set` tells. */

export type FlashErrorKind =
  /** The file is no cache of ours, or its first page is damaged. Never overwritten. */
  | "not-a-cache"
  /** It was made with other parameters than it is opened with. */
  | "other-parameters"
  /** Another process has it open. */
  | "in-use"
  /** No space left, or an I/O error while writing: the cache goes on read-only. */
  | "read-only"
  /** A call that the device does not allow: past the end, past the write pointer, not whole pages. */
  | "bad-access"
  /** A read failed or came back short. Engines count it and answer with a miss. */
  | "read-failed"
  /** The cache was closed. */
  | "closed"
  /** Sizes or counts that no cache can be built of. */
  | "bad-options";

/** @throws by devices and engines of `src/flash`; its message says what to do next. */
export class FlashError extends Error {
  override readonly name = "FlashError";

  constructor(
    readonly kind: FlashErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
