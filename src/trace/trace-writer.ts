/**
 * Writes a trace as it comes: samples, or pieces of a sample, into Parquet parts of whole samples, in memory that does not
 * grow with the trace or a sample. A kill at any moment leaves the parts that were complete and at most temporary files.
 */
import { randomUUID } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { TEMPORARY } from "./parquet/parquet-file.ts";
import { checkPiece, type PieceFacts } from "./piece-check.ts";
import { RoutingRows } from "./routing-rows.ts";
import { TablePart } from "./table-part.ts";
import { identityMetadata, partPath, routingColumns, TABLES, type TableName, TOKEN_COLUMNS } from "./tables.ts";
import { TokenRows } from "./token-rows.ts";
import type { TraceDescription } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import {
  checkDescription,
  readTraceJson,
  type TraceFile,
  traceJsonPath,
  unfinishedText,
  writeTraceJson,
} from "./trace-json.ts";

export interface TraceWriterOptions {
  /** How many samples are going to be written, so that an unfinished trace can name what is missing. Default: unknown. */
  readonly plannedSamples?: number;
  /** A part is completed at the end of a sample once its routing has this many bytes. Default: 64 MiB. */
  readonly partBytes?: number;
  /**
   * Or once it is older than this, or than 5 % of the time since the writer was opened: what a kill can cost.
   * Default: 5000.
   */
  readonly partMs?: number;
}

/**
 * Consecutive tokens of one sample, all MoE layers; a micro-batch, for one. Row-major arrays like those of `TraceSample`,
 * which is itself a piece: the whole one. Optional columns must be there if and only if the description has them.
 */
export interface TracePiece {
  /** T. */
  readonly length: number;
  /** [T] PREFILL or DECODE. */
  readonly phases: Uint8Array;
  /** [T] Number of the forward pass that computed the token, ascending within a sample from any start. */
  readonly batches: Uint32Array;
  /** [T][layers][k], best first; NO_ID after the last where a layer uses fewer (or none: it was not computed). */
  readonly experts: Uint16Array;
  /** [T][layers][k]; what stands beside NO_ID is not written. */
  readonly weights: Float32Array | undefined;
  /** [T][layers][E] */
  readonly probs: Float32Array | undefined;
  /** [T][layers][hiddenWidth] */
  readonly hidden: Float32Array | undefined;
  /** [T] */
  readonly tokens: Int32Array | undefined;
  /** [T]; negative where there is none. */
  readonly predicted: Int32Array | undefined;
  /** [T] NaN where there is none. */
  readonly loss: Float32Array | undefined;
}

/**
 * An open trace. `beginSample`, then `append` its pieces, then `endSample`; at the end `finish`. Disposing without `finish`
 * keeps all whole samples and leaves the trace to be resumed. After an error only disposing makes sense.
 */
export interface TraceWriter extends AsyncDisposable {
  readonly directory: string;
  /** Whole samples so far, and so the number of the next one: a resumed recording goes on with it. */
  readonly samples: number;
  /** Tokens of the whole samples so far. */
  readonly tokens: number;
  /** Samples that a kill would leave now: those of complete parts. */
  readonly safeSamples: number;
  /** What resuming found: which samples an earlier run began and lost, in words; undefined when nothing was lost. */
  readonly lost: string | undefined;
  /** @throws TraceError `bad-sample` when one is open already */
  beginSample(domain: string): void;
  /**
   * Takes a copy of what it keeps: the piece's arrays may be used again once this resolves. Files are written in the
   * background; this waits only while the last group of rows is still on its way.
   * @throws TraceError `bad-sample` for arrays of a wrong length, ids that the model does not have, NaN; `unwritable`
   */
  append(piece: TracePiece): Promise<void>;
  /**
   * Ends the sample, and with it the part when that is large or old enough.
   * @throws TraceError `bad-sample` for a sample without tokens; `unwritable`
   */
  endSample(): Promise<void>;
  /** Completes the trace: all parts synced, `trace.json` says that it is finished. */
  finish(): Promise<void>;
}

const PART_BYTES = 64 * 1024 * 1024;
const PART_MS = 5000;
/** With a share of the time so far instead of a fixed age, long recordings do not end up as thousands of parts. */
const PART_SHARE = 0.05;

/**
 * Starts a trace in `directory`, which is made if need be.
 * @throws TraceError `exists` when a trace lies there (see `resumeTrace`), `bad-description`, `unwritable`
 */
export async function createTrace(
  directory: string,
  description: TraceDescription,
  options: TraceWriterOptions = {},
): Promise<TraceWriter> {
  checkDescription(directory, description);
  const file: TraceFile = {
    id: randomUUID(),
    description,
    finished: false,
    plannedSamples: options.plannedSamples ?? null,
    parts: [],
  };
  await orUnwritable(directory, 0, async () => {
    await fs.mkdir(directory, { recursive: true });
    const target = traceJsonPath(directory);
    const exists = await fs.stat(target).then(
      () => true,
      () => false,
    );
    if (exists)
      throw new TraceError(
        "exists",
        { file: target },
        "is already there. Resume that trace, remove it, or choose another directory.",
      );
    await prepareTables(directory, 0);
    await writeTraceJson(directory, file);
  });
  return new PartsWriter(directory, file, options, undefined);
}

/**
 * Goes on with an unfinished trace after its last whole sample, and removes what was not finished. The description must be
 * that of the first run in `model`, `columns` and how samples are made; its other facts of recording stay.
 * @throws TraceError `not-a-trace`, `not-resumable`, `missing-part`, `unwritable`, and what reading `trace.json` throws
 */
export async function resumeTrace(
  directory: string,
  description: TraceDescription,
  options: TraceWriterOptions = {},
): Promise<TraceWriter> {
  const earlier = await readTraceJson(directory);
  const target = traceJsonPath(directory);
  if (earlier.finished)
    throw new TraceError(
      "not-resumable",
      { file: target },
      "says that this trace is finished. Choose another directory.",
    );
  const other = differingField(earlier.description, description);
  if (other !== undefined)
    throw new TraceError(
      "not-resumable",
      { file: target },
      `has another "${other}" than what is recorded now. Record with the same model and settings, or choose another directory.`,
    );
  for (const table of TABLES)
    for (const part of earlier.parts.keys()) {
      const file = partPath(directory, table, part);
      await fs.stat(file).catch((cause) => {
        throw new TraceError("missing-part", { file }, "is missing: this trace cannot be gone on with.", cause);
      });
    }
  const file = { ...earlier, plannedSamples: options.plannedSamples ?? earlier.plannedSamples };
  await orUnwritable(directory, 0, async () => {
    await prepareTables(directory, earlier.parts.length);
    await writeTraceJson(directory, file);
  });
  return new PartsWriter(directory, file, options, unfinishedText(file));
}

class PartsWriter implements TraceWriter {
  readonly directory: string;
  readonly lost: string | undefined;
  samples: number;
  tokens: number;
  #file: TraceFile;
  readonly #partBytes: number;
  readonly #partMs: number;
  readonly #openedAt = performance.now();
  #partStartedAt = performance.now();
  readonly #routing: TablePart<RoutingRows>;
  readonly #tokenTable: TablePart<TokenRows>;
  /** Whole samples of the part under way. */
  #partSamples = 0;
  #open: { readonly domain: string; position: number; batch: number } | undefined;
  #state: "open" | "failed" | "closed" = "open";

  constructor(directory: string, file: TraceFile, options: TraceWriterOptions, lost: string | undefined) {
    const { description, parts } = file;
    this.directory = directory;
    this.lost = lost;
    this.#file = file;
    this.samples = parts.reduce((sum, part) => sum + part.samples, 0);
    this.tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
    this.#partBytes = options.partBytes ?? PART_BYTES;
    this.#partMs = options.partMs ?? PART_MS;
    this.#routing = new TablePart(routingColumns(description.columns), () => new RoutingRows(description));
    this.#tokenTable = new TablePart(TOKEN_COLUMNS, () => new TokenRows(description.columns));
  }

  get safeSamples(): number {
    return this.samples - this.#partSamples;
  }

  beginSample(domain: string): void {
    this.#mustBeOpen();
    if (this.#open !== undefined)
      throw new TraceError("bad-sample", { sample: this.samples }, "is still open: end it before the next one begins.");
    this.#open = { domain, position: 0, batch: 0 };
  }

  async append(piece: TracePiece): Promise<void> {
    this.#mustBeOpen();
    const open = this.#openSample();
    const { ragged } = checkPiece(piece, this.#file.description, this.#pieceFacts(open));
    if (piece.length === 0) return;
    const place = { sample: this.samples, domain: open.domain, position: open.position, ragged };
    await this.#acting(async () => {
      await this.#routing.take(this.#path("routing"), piece, place);
      await this.#tokenTable.take(this.#path("tokens"), piece, place);
    });
    open.position += piece.length;
    open.batch = piece.batches[piece.length - 1];
  }

  async endSample(): Promise<void> {
    this.#mustBeOpen();
    const { position } = this.#openSample();
    if (position === 0)
      throw new TraceError("bad-sample", { sample: this.samples }, "has no tokens: leave out what is empty.");
    this.#routing.endSample();
    this.#tokenTable.endSample();
    this.#open = undefined;
    this.samples++;
    this.#partSamples++;
    this.tokens += position;
    if (this.#isPartDue()) await this.#acting(() => this.#commitPart(false));
  }

  async finish(): Promise<void> {
    this.#mustBeOpen();
    if (this.#open !== undefined)
      throw new TraceError(
        "bad-sample",
        { sample: this.samples },
        "is still open: end it before the trace is finished.",
      );
    await this.#acting(() => this.#commitPart(true));
    this.#state = "closed";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "closed") return;
    try {
      if (this.#state === "open")
        await this.#acting(async () => {
          await this.#routing.dropSample(this.#open?.position ?? 0);
          await this.#tokenTable.dropSample(this.#open?.position ?? 0);
          await this.#commitPart(false);
        });
    } finally {
      this.#state = "closed";
      await this.#discard();
    }
  }

  /** Makes what was written since the last part a part, and lists it: from then on it counts. */
  async #commitPart(finished: boolean): Promise<void> {
    const { id, parts } = this.#file;
    const part = parts.length;
    let listed = parts;
    if (this.#partSamples > 0) {
      const tokens = this.#routing.tokens;
      const routing = await this.#routing.finish(
        this.#path("routing"),
        identityMetadata({ trace: id, table: "routing", part }),
      );
      const tokenTable = await this.#tokenTable.finish(
        this.#path("tokens"),
        identityMetadata({ trace: id, table: "tokens", part }),
      );
      await tokenTable.commit();
      await routing.commit();
      const entry = { samples: this.#partSamples, tokens, routingBytes: routing.bytes, tokensBytes: tokenTable.bytes };
      listed = [...parts, entry];
    }
    const file = { ...this.#file, finished, parts: listed };
    await writeTraceJson(this.directory, file);
    this.#file = file;
    this.#partSamples = 0;
    this.#partStartedAt = performance.now();
  }

  #isPartDue(): boolean {
    const now = performance.now();
    const ageMs = now - this.#partStartedAt;
    return (
      this.#routing.bytes + this.#tokenTable.bytes >= this.#partBytes ||
      ageMs >= Math.max(this.#partMs, PART_SHARE * (now - this.#openedAt))
    );
  }

  #path(table: TableName): string {
    return partPath(this.directory, table, this.#file.parts.length);
  }

  #pieceFacts({ position, batch }: { readonly position: number; readonly batch: number }): PieceFacts {
    return { sample: this.samples, position, batch };
  }

  #openSample() {
    if (this.#open === undefined)
      throw new TraceError("bad-sample", { sample: this.samples }, "has not begun: call beginSample first.");
    return this.#open;
  }

  #mustBeOpen(): void {
    if (this.#state !== "open")
      throw new TraceError("bad-sample", { file: this.directory }, `this writer has ${this.#state}: resume the trace.`);
  }

  /** After an error nothing of the part under way can be relied on: it goes, and makes room if the disk was full. */
  async #acting(act: () => Promise<void>): Promise<void> {
    try {
      await orUnwritable(this.directory, this.safeSamples, act);
    } catch (error) {
      this.#state = "failed";
      await this.#discard();
      throw error;
    }
  }

  async #discard(): Promise<void> {
    await this.#routing.discard();
    await this.#tokenTable.discard();
    await removeUnlisted(this.directory, this.#file.parts.length).catch(() => {});
  }
}

async function prepareTables(directory: string, parts: number): Promise<void> {
  for (const table of TABLES) await fs.mkdir(path.join(directory, table), { recursive: true });
  await removeUnlisted(directory, parts);
}

/** Removes temporary files, and parts that were complete but not yet listed when the writer was killed. */
async function removeUnlisted(directory: string, parts: number): Promise<void> {
  for (const table of TABLES)
    for (const name of await fs.readdir(path.join(directory, table))) {
      const part = /^part-(\d{5,})\.parquet(\.tmp)?$/.exec(name);
      if (part !== null && (name.endsWith(TEMPORARY) || Number(part[1]) >= parts))
        await fs.rm(path.join(directory, table, name));
    }
}

/** The first field in which two descriptions of one recording may not differ, but do. */
function differingField(a: TraceDescription, b: TraceDescription): string | undefined {
  for (const part of ["model", "columns"] as const)
    for (const field of Object.keys(a[part]) as (keyof (typeof a)[typeof part])[])
      if (!isDeepStrictEqual(a[part][field], b[part][field])) return `${part}.${field}`;
  for (const field of ["tokensFrom", "sampleLength", "start"] as const)
    if (!isDeepStrictEqual(a.recording[field], b.recording[field])) return `recording.${field}`;
  return undefined;
}

/** Runs `act`; what the system refuses becomes an error that says what is safe. */
async function orUnwritable<T>(directory: string, safeSamples: number, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const { code, message, path: file = directory } = error as NodeJS.ErrnoException;
    if (error instanceof TraceError || code === undefined) throw error;
    const safe =
      safeSamples === 0
        ? "No sample was finished."
        : `Samples 0 to ${safeSamples - 1} are finished and stay readable; the same recording goes on from there.`;
    const remedy = code === "ENOSPC" ? "Free some space. " : "";
    throw new TraceError("unwritable", { file }, `writing failed: ${message}. ${remedy}${safe}`, error);
  }
}
