/**
 * Events out of a published trace file, in its order and once. Keys become 64-bit ids by their hash; times, clients and TTLs are
 * not kept. Reads a chunk at a time, whatever the file's size.
 */
import { WorkloadError } from "../../../workload/errors.ts";
import { type EventBatch, type EventSource, GET } from "../event-batch.ts";
import { MIN_KEY_BYTES } from "../key-bytes.ts";
import { LineCutter } from "./line-cutter.ts";
import { metaRows } from "./meta-rows.ts";
import { TraceInput } from "./trace-input.ts";
import type { RowFormat, TraceRow } from "./trace-row.ts";
import { twitterRows } from "./twitter-rows.ts";

export type TraceFormat = "twitter" | "meta";

export interface TraceFileOptions {
  /**
   * Bytes taken for the value of a get whose row says 0: the traced cache missed, and what a fill would have put is not known.
   * @default 0
   */
  readonly missedValueBytes?: number;
  /** Rows that may be wrong, and are left out; the one after them is an error. @default 0 */
  readonly badRows?: number;
  readonly signal?: AbortSignal;
}

const FORMATS = { twitter: twitterRows, meta: metaRows } as const satisfies Record<TraceFormat, () => RowFormat>;

export class TraceFile implements EventSource, AsyncDisposable {
  readonly name: string;
  readonly #format: RowFormat;
  readonly #options: TraceFileOptions;
  readonly #input: TraceInput;
  readonly #lines: LineCutter;
  readonly #row: TraceRow = { idLow: 0, idHigh: 0, operation: GET, keyBytes: 0, valueBytes: 0, repeats: 0 };
  #isEnded = false;
  #badRows = 0;

  /** Nothing is opened before the first `next`. @param file plain, gzip, or zstd where Node has it */
  constructor(file: string, format: TraceFormat, options: TraceFileOptions = {}) {
    this.name = file;
    this.#format = FORMATS[format]();
    this.#options = options;
    this.#input = new TraceInput(file, options.signal);
    this.#lines = new LineCutter(file);
  }

  /** Rows left out so far. */
  get badRows(): number {
    return this.#badRows;
  }

  /**
   * Calls must wait for each other. After an error nothing more can be read.
   * @throws WorkloadError `unreadable`, `bad-file`, `bad-record` with the line, and the signal's reason
   */
  async next(batch: EventBatch): Promise<number> {
    const row = this.#row;
    let count = 0;
    while (count < batch.capacity) {
      if (row.repeats === 0 && !this.#nextRow()) {
        if (this.#isEnded) break;
        const chunk = await this.#input.next();
        if (chunk !== undefined) this.#lines.push(chunk);
        else this.#end();
        continue;
      }
      this.#write(batch, count++);
      row.repeats--;
    }
    return count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    this.#input.close();
  }

  /** Whether the lines at hand had one more row. */
  #nextRow(): boolean {
    for (let line = this.#lines.take(); line !== undefined; line = this.#lines.take())
      if (this.#readLine(line)) return true;
    return false;
  }

  #end(): void {
    this.#isEnded = true;
    const last = this.#lines.takeLast();
    if (last !== undefined) this.#readLine(last);
  }

  /** Whether it was a row. */
  #readLine(line: Uint8Array): boolean {
    const { file, row, format } = { file: this.name, row: this.#row, format: this.#format };
    const place = { file, line: this.#lines.line };
    if (place.line === 1 && format.header !== "none") {
      const wrong = format.header(line);
      if (wrong !== undefined) throw new WorkloadError("bad-file", place, `The first line ${wrong}.`);
      return false;
    }
    if (line.length === 0) return false;
    const wrong = format.read(line, row);
    if (wrong === undefined) return true;
    if (++this.#badRows > (this.#options.badRows ?? 0))
      throw new WorkloadError("bad-record", place, `The row ${wrong}.`);
    return false;
  }

  #write(batch: EventBatch, i: number): void {
    const { idLow, idHigh, operation, keyBytes, valueBytes } = this.#row;
    const isMissed = operation === GET && valueBytes === 0;
    const key = Math.max(MIN_KEY_BYTES, keyBytes);
    batch.idLow[i] = idLow;
    batch.idHigh[i] = idHigh;
    batch.operation[i] = operation;
    batch.keyBytes[i] = key;
    batch.objectBytes[i] = key + (isMissed ? (this.#options.missedValueBytes ?? 0) : valueBytes);
  }
}
