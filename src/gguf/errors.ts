/**
 * The two ways in which a model file can be refused: its bytes are not a sound GGUF file (`GgufError`), or it is sound
 * but holds a model whose experts cannot be streamed (`UnsupportedModelError`). Both name the file and say what to do.
 */

export type GgufErrorReason =
  /** The path does not exist. */
  | "missing-file"
  /** A folder, a pipe, a device: nothing that has byte offsets. */
  | "not-a-file"
  /** The system refused to open or read it; see `cause`. */
  | "unreadable"
  | "not-gguf"
  | "big-endian"
  | "unsupported-version"
  /** The file ends before its header does. */
  | "truncated"
  /** A count or length is beyond a limit of `limits.ts`, or beyond 2^53. */
  | "too-large"
  /** A metadata key or tensor name that is empty, too long, not UTF-8 or has a NUL. */
  | "bad-name"
  | "duplicate-key"
  | "duplicate-tensor"
  /** A metadata value type that the format does not have. */
  | "bad-value-type"
  | "nested-array"
  | "bad-alignment"
  /** A tensor with too many dimensions, or rows that are not whole blocks. */
  | "bad-shape"
  /** A tensor type that llama.cpp does not have (any more). */
  | "bad-tensor-type"
  /** Tensors do not follow one another: a gap, an overlap, or another order. */
  | "bad-tensor-offset"
  /** The header is whole, but a tensor ends behind the end of the file. */
  | "tensor-outside-file"
  | "missing-shard"
  /** The shards of a split set contradict each other, or the file names do not fit. */
  | "bad-split"
  /** A metadata key was asked for that is not there. */
  | "missing-key"
  /** A metadata key was asked for as something that it is not. */
  | "wrong-type"
  /** The file on disk is not the one that was opened. */
  | "file-changed"
  /** A number outside the range it can have; when writing also tensor data of another length than its shape says. */
  | "bad-value"
  /** Only when writing: the system refused; see `cause`. */
  | "unwritable";

/** A GGUF file that cannot be read or written as asked. `offset` is the byte where it showed, when there is one. */
export class GgufError extends Error {
  override readonly name = "GgufError";
  readonly path: string;
  readonly offset: number | undefined;
  readonly reason: GgufErrorReason;

  constructor(reason: GgufErrorReason, path: string, offset: number | undefined, sentence: string, cause?: unknown) {
    super(`${path}${offset === undefined ? "" : ` at byte ${offset}`}: ${sentence}`, { cause });
    this.reason = reason;
    this.path = path;
    this.offset = offset;
  }
}

/** A sound file with a model whose experts are not streamed. `found` says what the file has instead. */
export class UnsupportedModelError extends Error {
  override readonly name = "UnsupportedModelError";
  readonly path: string;
  readonly architecture: string;
  readonly found: string;

  constructor(path: string, architecture: string, found: string, advice: string) {
    super(`${path} (${architecture}): ${found}. ${advice}`);
    this.path = path;
    this.architecture = architecture;
    this.found = found;
  }
}

/** What a caught value of the file system says, for the sentence of a `GgufError`. */
export function systemErrorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
