/** A file of expert maps that cannot be used: it is broken, or it is of another model. */

export type MapStoreFileErrorReason =
  /** It does not begin as such a file does. */
  | "not-a-map-store"
  | "unsupported-version"
  /** The file ends before its rows do, or goes on behind them. */
  | "wrong-length"
  /** The header is no JSON, or a field of it is missing or out of range. */
  | "bad-header"
  | "bad-checksum"
  /** A stored value that no distribution or embedding has. */
  | "bad-row"
  /** Another number of layers, experts or embedding values. */
  | "other-shape"
  | "other-normaliser"
  | "other-model"
  /** More rows than the wanted capacity. */
  | "too-many-rows";

export class MapStoreFileError extends Error {
  override readonly name = "MapStoreFileError";
  readonly file: string;
  readonly reason: MapStoreFileErrorReason;

  constructor(file: string, reason: MapStoreFileErrorReason, sentence: string) {
    super(`${file}: ${sentence}`);
    this.file = file;
    this.reason = reason;
  }
}
