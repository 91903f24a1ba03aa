/**
 * Rows of the routing table that wait for a row group, kept by token: what is the same in all layers of a token is there
 * once. `encode` makes a row group's column chunks of them.
 */
import { Labels } from "./labels.ts";
import type { Column } from "./parquet/columns.ts";
import {
  type EncodedChunk,
  encodeAbsent,
  encodeCycle,
  encodeIdLists,
  encodeLabels,
  encodeNumberLists,
  encodeRuns,
  type ListLengths,
} from "./parquet/encode-column.ts";
import { routingColumns } from "./tables.ts";
import { NO_ID, type TraceDescription, type TracePiece } from "./trace.ts";

/** Like DuckDB's row groups: enough for its threads, and one of ours is decoded in a few milliseconds. */
const GROUP_ROWS = 131_072;
/** Of large rows (probabilities, router inputs) fewer make a group: two groups are in memory at a time. */
const GROUP_BYTES = 16 * 1024 * 1024;

export class RoutingRows {
  /** Tokens that are here. */
  tokens = 0;
  /** Tokens that fit. */
  readonly capacity: number;
  readonly #layers: number;
  readonly #expertsUsed: number;
  readonly #ids: number;
  readonly #columns: readonly Column[];
  readonly #samples: Uint32Array;
  readonly #domains: Labels;
  readonly #positions: Uint32Array;
  readonly #phases: Uint8Array;
  readonly #tokenIds: Int32Array | undefined;
  readonly #experts: Uint16Array;
  readonly #lists: readonly NumberLists[];
  /** Some row has fewer than k experts. */
  #ragged = false;

  constructor({ model, columns }: TraceDescription) {
    const layers = model.moeBlocks.length;
    const k = model.expertsUsed;
    const lists = [
      { name: "weights", width: columns.weights ? k : 0 },
      { name: "probs", width: columns.probs ? model.experts : 0 },
      { name: "hidden", width: columns.hiddenWidth },
    ] as const;
    const rowBytes = lists.reduce((bytes, { width }) => bytes + 4 * width, 2 * k);
    const capacity = Math.max(1, Math.floor(Math.min(GROUP_ROWS, GROUP_BYTES / rowBytes) / layers));
    this.capacity = capacity;
    this.#layers = layers;
    this.#expertsUsed = k;
    this.#ids = model.experts;
    this.#columns = routingColumns(columns);
    this.#samples = new Uint32Array(capacity);
    this.#domains = new Labels(capacity);
    this.#positions = new Uint32Array(capacity);
    this.#phases = new Uint8Array(capacity);
    this.#tokenIds = columns.tokens ? new Int32Array(capacity) : undefined;
    this.#experts = new Uint16Array(capacity * layers * k);
    this.#lists = lists
      .filter(({ width }) => width > 0)
      .map(({ name, width }) => ({ name, width, values: new Float32Array(capacity * layers * width) }));
  }

  /**
   * Takes tokens `from` to `from + count - 1` of a piece; there must be room. `place.position` is that of the
   * first of them.
   */
  take(piece: TracePiece, from: number, count: number, place: RowPlace): void {
    const at = this.tokens;
    this.#samples.fill(place.sample, at, at + count);
    this.#domains.fill(place.domain, at, at + count);
    for (let i = 0; i < count; i++) this.#positions[at + i] = place.position + i;
    this.#phases.set(piece.phases.subarray(from, from + count), at);
    if (piece.tokens !== undefined) this.#tokenIds?.set(piece.tokens.subarray(from, from + count), at);
    const copy = <A extends Uint16Array | Float32Array>(target: A, source: A, perToken: number) =>
      target.set(source.subarray(from * perToken, (from + count) * perToken), at * perToken);
    copy(this.#experts, piece.experts, this.#layers * this.#expertsUsed);
    for (const { name, width, values } of this.#lists) copy(values, piece[name] as Float32Array, this.#layers * width);
    this.#ragged ||= place.ragged;
    this.tokens += count;
  }

  /** Moves the tokens from `from` on, all of one sample, into `target`, which is empty. */
  moveTail(from: number, target: RoutingRows, domain: string): void {
    const count = this.tokens - from;
    const copy = <A extends Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array>(
      source: A | undefined,
      to: A | undefined,
      perToken: number,
    ) => source !== undefined && to?.set(source.subarray(from * perToken, this.tokens * perToken));
    copy(this.#samples, target.#samples, 1);
    copy(this.#positions, target.#positions, 1);
    copy(this.#phases, target.#phases, 1);
    copy(this.#tokenIds, target.#tokenIds, 1);
    copy(this.#experts, target.#experts, this.#layers * this.#expertsUsed);
    for (const [i, { width, values }] of this.#lists.entries())
      copy(values, target.#lists[i]?.values, this.#layers * width);
    target.#domains.fill(domain, 0, count);
    target.#ragged = this.#ragged;
    target.tokens = count;
    this.tokens = from;
  }

  clear(): void {
    this.tokens = 0;
    this.#domains.clear();
    this.#ragged = false;
  }

  get rows(): number {
    return this.tokens * this.#layers;
  }

  /** Refers to the rows here: they must stay until the chunks are written. */
  encode(): EncodedChunk[] {
    const experts = this.#experts.subarray(0, this.rows * this.#expertsUsed);
    const lengths = this.#ragged ? this.#expertsPerRow(experts) : { rows: this.rows, each: this.#expertsUsed };
    return this.#columns.map((column) => {
      switch (column.name) {
        case "sample":
          return encodeRuns(column, this.#samples.subarray(0, this.tokens), this.#layers);
        case "domain":
          return encodeLabels(column, this.#domains.texts, this.#domains.indexes(this.tokens), this.#layers);
        case "position":
          return encodeRuns(column, this.#positions.subarray(0, this.tokens), this.#layers);
        case "token":
          return this.#tokenIds === undefined
            ? encodeAbsent(column, this.rows)
            : encodeRuns(column, this.#tokenIds.subarray(0, this.tokens), this.#layers);
        case "phase":
          return encodeRuns(column, this.#phases.subarray(0, this.tokens), this.#layers);
        case "layer":
          return encodeCycle(column, this.#layers, this.rows);
        case "experts":
          return encodeIdLists(
            column,
            this.#ragged ? experts.filter((id) => id !== NO_ID) : experts,
            lengths,
            this.#ids,
          );
        default:
          return this.#encodeList(column, experts, lengths);
      }
    });
  }

  #encodeList(column: Column, experts: Uint16Array, lengths: ListLengths): EncodedChunk {
    const { name, width, values } = this.#lists.find((list) => list.name === column.name) as NumberLists;
    const here = values.subarray(0, this.rows * width);
    if (!(lengths instanceof Uint16Array)) return encodeNumberLists(column, here, { rows: this.rows, each: width });
    if (name === "weights")
      return encodeNumberLists(
        column,
        here.filter((_, i) => experts[i] !== NO_ID),
        lengths,
      );
    return encodeNumberLists(
      column,
      here.filter((_, i) => lengths[Math.floor(i / width)] !== 0),
      lengths.map((length) => (length === 0 ? 0 : width)),
    );
  }

  #expertsPerRow(experts: Uint16Array): Uint16Array {
    const lengths = new Uint16Array(this.rows);
    for (let row = 0, i = 0; row < this.rows; row++)
      for (let slot = 0; slot < this.#expertsUsed; slot++, i++) if (experts[i] !== NO_ID) lengths[row]++;
    return lengths;
  }
}

export interface RowPlace {
  readonly sample: number;
  readonly domain: string;
  readonly position: number;
  /** Some row of the piece has fewer than k experts. */
  readonly ragged: boolean;
}

interface NumberLists {
  readonly name: "weights" | "probs" | "hidden";
  /** Numbers per row. */
  readonly width: number;
  readonly values: Float32Array;
}
