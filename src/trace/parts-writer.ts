/**
 * The writer of a trace: samples go into the two tables of the part under way, and whole parts are listed in `trace.json`. What
 * a trace is made of in its files is here; what callers are promised is in `trace-writer.ts`.
 */

import fs from "node:fs/promises";
import path from "node:path";
import { TEMPORARY } from "./parquet/parquet-file.ts";
import { checkPiece, type PieceFacts } from "./piece-check.ts";
import { RoutingRows } from "./routing-rows.ts";
import { TablePart } from "./table-part.ts";
import { identityMetadata, partPath, routingColumns, TABLES, type TableName, TOKEN_COLUMNS } from "./tables.ts";
import { TokenRows } from "./token-rows.ts";
import type { TracePiece } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import { type TraceFile, writeTraceJson } from "./trace-json.ts";
import type { TraceLock } from "./trace-lock.ts";
import type { TraceWriter, TraceWriterOptions } from "./trace-writer.ts";

const PART_BYTES = 64 * 1024 * 1024;
const PART_MS = 5000;
/** Long recordings have older parts, or they would end up as thousands of them. */
const PART_SHARE = 0.05;
const LONGEST_PART_MS = 60_000;

export interface PartsWriterParts {
  readonly directory: string;
  readonly file: TraceFile;
  readonly options: TraceWriterOptions;
  /** Released when the writer is closed. */
  readonly lock: TraceLock;
  readonly lost: string | undefined;
}

export class PartsWriter implements TraceWriter {
  readonly directory: string;
  readonly lost: string | undefined;
  samples: number;
  tokens: number;
  #file: TraceFile;
  readonly #lock: TraceLock;
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

  constructor({ directory, file, options, lock, lost }: PartsWriterParts) {
    const { description, parts } = file;
    this.directory = directory;
    this.lost = lost;
    this.#lock = lock;
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
    await this.#lock.release();
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
      await this.#lock.release();
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
      ageMs >= Math.max(this.#partMs, Math.min(LONGEST_PART_MS, PART_SHARE * (now - this.#openedAt)))
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
    if (this.#state === "open") return;
    const why = this.#state === "failed" ? "writing failed: resume the trace." : "the writer is closed.";
    throw new TraceError("bad-sample", { file: this.directory }, why);
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

/** Makes the tables' folders and removes what an earlier run left half done. */
export async function prepareTables(directory: string, parts: number): Promise<void> {
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

/** Runs `act`; what the system refuses becomes an error that says what is safe. */
export async function orUnwritable<T>(directory: string, safeSamples: number, act: () => Promise<T>): Promise<T> {
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
