/** Rows of the tokens table that wait for a row group. `encode` makes a row group's column chunks of them. */
import { Labels } from "./labels.ts";
import type { Column } from "./parquet/columns.ts";
import { type EncodedChunk, encodeAbsent, encodeLabels, encodePlain, encodeRuns } from "./parquet/encode-column.ts";
import type { RowPlace } from "./routing-rows.ts";
import { TOKEN_COLUMNS } from "./tables.ts";
import type { TraceColumns, TracePiece } from "./trace.ts";

const CAPACITY = 32_768;

export class TokenRows {
  /** Tokens that are here. */
  tokens = 0;
  /** Tokens that fit. */
  readonly capacity = CAPACITY;
  readonly #has: TraceColumns;
  readonly #samples = new Uint32Array(CAPACITY);
  readonly #positions = new Uint32Array(CAPACITY);
  readonly #tokenIds = new Int32Array(CAPACITY);
  readonly #phases = new Uint8Array(CAPACITY);
  readonly #batches = new Uint32Array(CAPACITY);
  readonly #domains = new Labels(CAPACITY);
  readonly #predicted = new Int32Array(CAPACITY);
  readonly #loss = new Float32Array(CAPACITY);

  constructor(has: TraceColumns) {
    this.#has = has;
  }

  /** As `RoutingRows.take`. */
  take(piece: TracePiece, from: number, count: number, { sample, domain, position }: RowPlace): void {
    const at = this.tokens;
    this.#samples.fill(sample, at, at + count);
    this.#domains.fill(domain, at, at + count);
    for (let i = 0; i < count; i++) this.#positions[at + i] = position + i;
    this.#phases.set(piece.phases.subarray(from, from + count), at);
    this.#batches.set(piece.batches.subarray(from, from + count), at);
    const { tokens, predicted, loss } = piece;
    if (tokens !== undefined) this.#tokenIds.set(tokens.subarray(from, from + count), at);
    if (predicted !== undefined) this.#predicted.set(predicted.subarray(from, from + count), at);
    if (loss !== undefined) this.#loss.set(loss.subarray(from, from + count), at);
    this.tokens += count;
  }

  /** As `RoutingRows.moveTail`. */
  moveTail(from: number, target: TokenRows, domain: string): void {
    const copy = <A extends Uint8Array | Uint32Array | Int32Array | Float32Array>(source: A, to: A) =>
      to.set(source.subarray(from, this.tokens));
    copy(this.#samples, target.#samples);
    copy(this.#positions, target.#positions);
    copy(this.#tokenIds, target.#tokenIds);
    copy(this.#phases, target.#phases);
    copy(this.#batches, target.#batches);
    copy(this.#predicted, target.#predicted);
    copy(this.#loss, target.#loss);
    target.#domains.fill(domain, 0, this.tokens - from);
    target.tokens = this.tokens - from;
    this.tokens = from;
  }

  clear(): void {
    this.tokens = 0;
    this.#domains.clear();
  }

  get rows(): number {
    return this.tokens;
  }

  /** Refers to the rows here: they must stay until the chunks are written. */
  encode(): EncodedChunk[] {
    return TOKEN_COLUMNS.map((column) => this.#encodeColumn(column));
  }

  #encodeColumn(column: Column): EncodedChunk {
    const rows = this.tokens;
    switch (column.name) {
      case "sample":
        return encodeRuns(column, this.#samples.subarray(0, rows), 1);
      case "position":
        return encodePlain(column, this.#positions.subarray(0, rows), undefined);
      case "phase":
        return encodeRuns(column, this.#phases.subarray(0, rows), 1);
      case "batch":
        return encodeRuns(column, this.#batches.subarray(0, rows), 1);
      case "domain":
        return encodeLabels(column, this.#domains.texts, this.#domains.indexes(rows), 1);
      case "token":
        if (!this.#has.tokens) return encodeAbsent(column, rows);
        return encodePlain(column, this.#tokenIds.subarray(0, rows), undefined);
      case "predicted":
        if (!this.#has.predictions) return encodeAbsent(column, rows);
        return encodePresent(column, this.#predicted.subarray(0, rows), (value) => value >= 0);
      default:
        if (!this.#has.predictions) return encodeAbsent(column, rows);
        return encodePresent(column, this.#loss.subarray(0, rows), (value) => !Number.isNaN(value));
    }
  }
}

/** Null where `isThere` says no. */
function encodePresent(
  column: Column,
  values: Int32Array | Float32Array,
  isThere: (value: number) => boolean,
): EncodedChunk {
  const present = Uint8Array.from(values, (value) => (isThere(value) ? 1 : 0));
  if (!present.includes(0)) return encodePlain(column, values, undefined);
  return encodePlain(
    column,
    values.filter((_, i) => present[i] === 1),
    present,
  );
}
