/**
 * Reads `route_trace v1`, the CSV of the BigMoeOnEdge engine: a row per routed expert. `step` is a token's position in the
 * context, so that the rows of a prompt, which lie layer by layer, can be told apart by token. Only reading; what a trace
 * of ours is made of it is decided elsewhere.
 */
import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { NO_ID } from "./trace.ts";
import { TraceError } from "./trace-error.ts";

/** What the `#` lines say. Arrays are indexed by block. */
export interface RouteTraceHeader {
  readonly model: string;
  readonly architecture: string;
  readonly blocks: number;
  readonly experts: number;
  readonly expertsUsed: number;
  /** Bytes of one expert; 0 in blocks without experts. */
  readonly expertBytes: readonly number[];
  readonly denseBytes: readonly number[];
}

/** One routed expert. */
export interface RouteTraceRow {
  /** From 1 on. */
  readonly line: number;
  readonly turn: number;
  readonly isDecode: boolean;
  readonly step: number;
  readonly block: number;
  /** 0: the router's first choice. */
  readonly slot: number;
  readonly expert: number;
  /** NaN where the engine did not see it. */
  readonly weight: number;
}

const FIRST_LINE = "# route_trace v1";
/** A row has about 40 characters, the line with the model's path more. */
const MAX_LINE = 64 * 1024;
const MAX_BLOCKS = 4096;
/** By name, because later versions of the engine add columns. */
const COLUMNS = ["turn", "phase", "step", "layer", "slot", "expert", "weight"] as const;

/**
 * The header first, then every row.
 * @throws TraceError `bad-import` naming the line, `unreadable`
 */
export async function* readRouteTrace(
  path: string,
  onBytes: (bytes: number) => void = () => {},
): AsyncGenerator<RouteTraceHeader | RouteTraceRow[], void> {
  const header = new HeaderLines(path);
  let rows: RowLines | undefined;
  for await (const lines of linesOf(path, onBytes)) {
    const batch: RouteTraceRow[] = [];
    for (const { line, text } of lines) {
      if (rows !== undefined) {
        if (text !== "" && !text.startsWith("#")) batch.push(rows.read(text, line));
      } else if (text.startsWith("#")) {
        header.read(text, line);
      } else if (text !== "") {
        yield header.finish(line);
        rows = new RowLines(path, text, line);
      }
    }
    if (batch.length > 0) yield batch;
  }
  if (rows === undefined) throw bad(path, undefined, `has no rows. ${EXPECTED}`);
}

const EXPECTED = `A file of this kind begins with "${FIRST_LINE}" and has a row per routed expert.`;

function bad(file: string, line: number | undefined, sentence: string): TraceError {
  return new TraceError("bad-import", { file, ...(line === undefined ? {} : { line }) }, sentence);
}

class HeaderLines {
  readonly #path: string;
  #isFirst = true;
  #model: Omit<RouteTraceHeader, "expertBytes" | "denseBytes"> | undefined;
  readonly #expertBytes: number[] = [];
  readonly #denseBytes: number[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  read(text: string, line: number): void {
    if (this.#isFirst && text.trim() !== FIRST_LINE) throw bad(this.#path, line, `is no route_trace v1. ${EXPECTED}`);
    this.#isFirst = false;
    const model = /^# model=(.*) arch=(\S*) n_layer=(\d+) n_expert=(\d+) n_expert_used=(\d+)\s*$/.exec(text);
    if (model !== null) {
      const [blocks, experts, expertsUsed] = model.slice(3).map(Number);
      if (!(blocks >= 1 && blocks <= MAX_BLOCKS && experts < NO_ID && expertsUsed >= 1 && expertsUsed <= experts))
        throw bad(this.#path, line, "describes a model that cannot be: check n_layer, n_expert and n_expert_used.");
      this.#model = { model: model[1], architecture: model[2], blocks, experts, expertsUsed };
    }
    const layer = /^# layer=(\d+) expert_bytes=(\d+)(?: dense_bytes=(\d+))?/.exec(text);
    if (layer !== null) {
      const [block, expertBytes, denseBytes] = layer.slice(1).map((digits) => Number(digits ?? 0));
      if (block !== this.#expertBytes.length || !Number.isSafeInteger(expertBytes) || !Number.isSafeInteger(denseBytes))
        throw bad(this.#path, line, `describes layer ${block} where layer ${this.#expertBytes.length} has to be.`);
      this.#expertBytes.push(expertBytes);
      this.#denseBytes.push(denseBytes);
    }
  }

  finish(line: number): RouteTraceHeader {
    const model = this.#model;
    if (this.#isFirst) throw bad(this.#path, line, `is no route_trace v1. ${EXPECTED}`);
    if (model === undefined) throw bad(this.#path, line, `comes before the line "# model=... arch=...". ${EXPECTED}`);
    if (this.#expertBytes.length !== model.blocks)
      throw bad(
        this.#path,
        line,
        `${this.#expertBytes.length} of ${model.blocks} layers are described before it. ${EXPECTED}`,
      );
    return { ...model, expertBytes: this.#expertBytes, denseBytes: this.#denseBytes };
  }
}

class RowLines {
  readonly #path: string;
  /** Place of each of COLUMNS in a row; of the last one, the weight, -1 where there is none. */
  readonly #places: number[];

  constructor(path: string, head: string, line: number) {
    this.#path = path;
    const names = head.split(",").map((name) => name.trim());
    this.#places = COLUMNS.map((name) => {
      const place = names.indexOf(name);
      if (place < 0 && name !== "weight") throw bad(path, line, `has no column "${name}". ${EXPECTED}`);
      return place;
    });
  }

  read(text: string, line: number): RouteTraceRow {
    const cells = text.split(",");
    const [turn, phase, step, block, slot, expert] = this.#places.slice(0, -1).map((place, i) => {
      const value = Number(cells[place]);
      if (cells[place] === "" || !Number.isSafeInteger(value) || value < 0)
        throw bad(
          this.#path,
          line,
          `"${cells[place] ?? ""}" is no ${COLUMNS[i]}. The file may have been cut off here.`,
        );
      return value;
    });
    if (phase > 1) throw bad(this.#path, line, `phase ${phase} is neither prefill (0) nor decode (1).`);
    const weight = Number(cells[this.#places[COLUMNS.length - 1]] || Number.NaN);
    return { line, turn, isDecode: phase === 1, step, block, slot, expert, weight };
  }
}

/** Lines of a text, compressed or not, a few thousand at a time. */
async function* linesOf(path: string, onBytes: (bytes: number) => void) {
  const file = createReadStream(path, { highWaterMark: 256 * 1024 });
  file.on("data", (chunk) => onBytes(chunk.length));
  const stream = path.endsWith(".gz") ? file.pipe(createGunzip()) : file;
  // A failure of the file does not travel down the pipe by itself.
  if (stream !== file) file.once("error", (error) => stream.destroy(error));
  let rest = "";
  let line = 1;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const texts = (rest + chunk.toString("latin1")).split("\n");
      rest = texts.pop() ?? "";
      if (rest.length > MAX_LINE) throw bad(path, line + texts.length, `is too long. ${EXPECTED}`);
      yield texts.map((text) => ({ line: line++, text: text.endsWith("\r") ? text.slice(0, -1) : text }));
    }
    if (rest !== "") yield [{ line, text: rest }];
  } catch (error) {
    if (error instanceof TraceError) throw error;
    const { message, code } = error as NodeJS.ErrnoException;
    const what = code?.startsWith("Z_") ? "is damaged or cut off" : "cannot be read";
    throw new TraceError("unreadable", { file: path }, `${what}: ${message}.`, error);
  } finally {
    file.destroy();
  }
}
