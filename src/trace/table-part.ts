/**
 * One table of the part that is being written: rows collect in one buffer while the other is on its way into the file. A
 * sample that does not share a row group with an earlier one can be taken back, even when it is half in the file.
 */

import type { KeyValue } from "hyparquet";
import type { Column } from "./parquet/columns.ts";
import type { EncodedChunk } from "./parquet/encode-column.ts";
import { ParquetFile, type ParquetMark } from "./parquet/parquet-file.ts";
import type { RowPlace } from "./routing-rows.ts";
import type { TracePiece } from "./trace.ts";

/** A buffer of rows; `RoutingRows` and `TokenRows` are. */
export interface Rows<Self> {
  tokens: number;
  readonly capacity: number;
  readonly rows: number;
  take(piece: TracePiece, from: number, count: number, place: RowPlace): void;
  moveTail(from: number, target: Self, domain: string): void;
  clear(): void;
  encode(): EncodedChunk[];
}

export class TablePart<R extends Rows<R>> {
  readonly #columns: readonly Column[];
  #filling: R;
  #idle: R;
  /** Tokens of whole samples in `#filling`. */
  #wholeTokens = 0;
  #file: ParquetFile | undefined;
  /** Where the file was when the open sample began to be written; undefined while none of it is in the file. */
  #sampleStart: ParquetMark | "empty" | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(columns: readonly Column[], makeRows: () => R) {
    this.#columns = columns;
    this.#filling = makeRows();
    this.#idle = makeRows();
  }

  /** Tokens here or in the file. */
  tokens = 0;

  /** Bytes in the file so far. */
  get bytes(): number {
    return this.#file?.bytes ?? 0;
  }

  async take(path: string, piece: TracePiece, place: RowPlace): Promise<void> {
    for (let from = 0; from < piece.length; ) {
      if (this.#filling.tokens === this.#filling.capacity) await this.#makeRoom(path, place.domain);
      const count = Math.min(piece.length - from, this.#filling.capacity - this.#filling.tokens);
      this.#filling.take(piece, from, count, { ...place, position: place.position + from });
      this.tokens += count;
      from += count;
    }
  }

  endSample(): void {
    this.#wholeTokens = this.#filling.tokens;
    this.#sampleStart = undefined;
  }

  /** Takes the open sample back, of which `tokens` are here or in the file. */
  async dropSample(tokens: number): Promise<void> {
    await this.#writing;
    this.#filling.tokens = this.#wholeTokens;
    this.tokens -= tokens;
    if (this.#sampleStart === "empty") await this.discard();
    else if (this.#sampleStart !== undefined) await this.#file?.rollBack(this.#sampleStart);
    this.#sampleStart = undefined;
  }

  /** Writes what is left and the footer; the file keeps its temporary name until it is committed. */
  async finish(path: string, identity: readonly KeyValue[]): Promise<ParquetFile> {
    if (this.#filling.tokens > 0) await this.#write(path);
    await this.#writing;
    const file = this.#file as ParquetFile;
    await file.finish(identity);
    this.#file = undefined;
    this.#wholeTokens = 0;
    this.tokens = 0;
    return file;
  }

  /** Removes the unfinished file. */
  async discard(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#file?.discard();
    this.#file = undefined;
  }

  /** Whole samples leave the buffer without the open one, so that its rows are row groups of their own. */
  async #makeRoom(path: string, domain: string): Promise<void> {
    if (this.#wholeTokens > 0) {
      await this.#writing;
      const whole = this.#wholeTokens;
      this.#filling.moveTail(whole, this.#idle, domain);
      await this.#write(path);
      this.#wholeTokens = 0;
      return;
    }
    await this.#writing;
    this.#sampleStart ??= this.#file?.mark() ?? "empty";
    await this.#write(path);
  }

  /** Starts writing the filled buffer, and goes on with the other one as soon as that is written. */
  async #write(path: string): Promise<void> {
    await this.#writing;
    this.#file ??= await ParquetFile.create(path, this.#columns);
    const full = this.#filling;
    this.#filling = this.#idle;
    this.#idle = full;
    this.#writing = this.#file.writeRowGroup(full.rows, full.encode()).then(() => full.clear());
    // Whoever waits next gets the error; until then it must not count as unhandled.
    this.#writing.catch(() => {});
  }
}
