/**
 * `trace.json`: what a trace is of, and which parts of it are complete. It is the only truth about parts: a part counts
 * once it is listed here, both tables at once. Nothing in it is believed before it is checked.
 */
import fs from "node:fs/promises";
import path from "node:path";
import { syncFolder, TEMPORARY } from "./parquet/parquet-file.ts";
import { NO_ID, type TraceDescription } from "./trace.ts";
import { TraceError } from "./trace-error.ts";

export const SCHEMA_VERSION = 1;
const FILE_NAME = "trace.json";
/** A hundred thousand parts; more is no `trace.json`. */
const MAX_BYTES = 16 * 1024 * 1024;
/** `layer` is a u16. */
const MAX_LAYERS = 0xffff;
/** Far beyond any model; a sample's arrays are allocated by these. */
const MAX_HIDDEN_WIDTH = 1 << 20;
const MAX_SAMPLE_LENGTH = 1 << 24;

export interface TraceFile {
  /** Written in every part, so that no part of another trace is taken for one of this. */
  readonly id: string;
  readonly description: TraceDescription;
  /** False while recording, and for good when it was interrupted. */
  readonly finished: boolean;
  /** Samples that the recording was to have; null when it did not say. */
  readonly plannedSamples: number | null;
  readonly parts: readonly PartEntry[];
}

export interface PartEntry {
  readonly samples: number;
  readonly tokens: number;
  readonly routingBytes: number;
  readonly tokensBytes: number;
}

export function traceJsonPath(directory: string): string {
  return path.join(directory, FILE_NAME);
}

/** Replaces the file as a whole: a kill leaves the old one or the new one. System errors come through as they are. */
export async function writeTraceJson(directory: string, file: TraceFile): Promise<void> {
  const target = traceJsonPath(directory);
  const { description, ...state } = file;
  const handle = await fs.open(target + TEMPORARY, "w");
  try {
    await handle.writeFile(`${legibleJson({ ...description, ...state })}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await fs.rename(target + TEMPORARY, target);
  await syncFolder(directory);
}

/** Indented, but with lists of numbers on one line: there are two with a number per layer. */
function legibleJson(document: object): string {
  return JSON.stringify(document, undefined, 2).replace(/\[[\d,\s]+\]/g, (list) =>
    list.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]"),
  );
}

/** @throws TraceError `not-a-trace`, `schema-version`, `bad-description`, `unreadable` */
export async function readTraceJson(directory: string): Promise<TraceFile> {
  const file = traceJsonPath(directory);
  const document = new Fields(file, parse(file, await readText(directory, file)), "");
  if (document.raw("format") !== "warmset-trace")
    throw new TraceError("not-a-trace", { file }, 'is not that of a trace: its "format" is not "warmset-trace".');
  const version = document.raw("schemaVersion");
  if (version !== SCHEMA_VERSION)
    throw new TraceError(
      "schema-version",
      { file },
      `has schema version ${JSON.stringify(version)}; this warmset reads version ${SCHEMA_VERSION}. Use the warmset that wrote it, or record again.`,
    );
  return {
    id: document.text("id"),
    description: descriptionOf(document),
    finished: document.flag("finished"),
    plannedSamples: document.nullable("plannedSamples", () => document.count("plannedSamples")),
    parts: document.objects("parts").map((part) => ({
      samples: part.count("samples", 1),
      tokens: part.count("tokens", 1),
      routingBytes: part.count("routingBytes"),
      tokensBytes: part.count("tokensBytes"),
    })),
  };
}

/** @throws TraceError `bad-description` naming the field, for a description that a program made */
export function checkDescription(directory: string, description: TraceDescription): void {
  const file = traceJsonPath(directory);
  descriptionOf(new Fields(file, JSON.parse(JSON.stringify(description)), ""));
}

/** Which samples an unfinished trace lacks, in words; undefined for one that is finished. */
export function unfinishedText({ finished, parts, plannedSamples }: TraceFile): string | undefined {
  if (finished) return undefined;
  const samples = parts.reduce((sum, part) => sum + part.samples, 0);
  if (plannedSamples === null)
    return samples === 0 ? "No sample was finished." : `What came after sample ${samples - 1} was not finished.`;
  return `Samples ${samples} to ${plannedSamples - 1} were not finished.`;
}

async function readText(directory: string, file: string): Promise<string> {
  try {
    const { size } = await fs.stat(file);
    if (size > MAX_BYTES) throw new TraceError("not-a-trace", { file }, "is far too large to be that of a trace.");
    return await fs.readFile(file, "utf8");
  } catch (error) {
    if (error instanceof TraceError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTDIR")
      throw new TraceError("unreadable", { file }, `cannot be read: ${message}.`, error);
    throw new TraceError(
      "not-a-trace",
      { file: directory },
      "there is no trace: trace.json is missing. Give the directory that `warmset trace` wrote.",
    );
  }
}

function parse(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TraceError("not-a-trace", { file }, `is not JSON: ${(error as Error).message}.`, error);
  }
}

function descriptionOf(document: Fields): TraceDescription {
  const model = document.object("model");
  const recording = document.object("recording");
  const columns = document.object("columns");
  const moeBlocks = model.counts("moeBlocks", MAX_LAYERS);
  const experts = model.count("experts", 1, NO_ID - 1);
  const blocks = model.nullable("blocks", () => model.count("blocks", 1));
  if (moeBlocks.length === 0) throw model.wrong("moeBlocks", "must name at least one block");
  if (moeBlocks.some((block, i) => i > 0 && block <= moeBlocks[i - 1])) throw model.wrong("moeBlocks", "must ascend");
  if (blocks !== null && (moeBlocks.at(-1) as number) >= blocks)
    throw model.wrong("moeBlocks", `must be below "blocks", ${blocks}`);
  const expertBytes = model.counts("expertBytes", MAX_LAYERS);
  if (expertBytes.length !== moeBlocks.length) throw model.wrong("expertBytes", "must have one number per MoE block");
  return {
    format: "warmset-trace",
    schemaVersion: SCHEMA_VERSION,
    model: {
      name: model.text("name"),
      architecture: model.text("architecture"),
      hash: model.nullable("hash", () => model.text("hash")),
      tokenizerHash: model.nullable("tokenizerHash", () => model.text("tokenizerHash")),
      blocks,
      moeBlocks,
      experts,
      expertsUsed: model.count("expertsUsed", 1, experts),
      sharedExperts: model.nullable("sharedExperts", () => model.count("sharedExperts")),
      expertBytes,
      denseBytes: model.nullable("denseBytes", () => model.count("denseBytes")),
      scoring: model.nullable("scoring", () => model.text("scoring")),
    },
    recording: {
      recorder: recording.text("recorder"),
      date: recording.text("date"),
      tokensFrom: recording.texts("tokensFrom").map((from) => {
        if (from === "forced" || from === "generated") return from;
        throw recording.wrong("tokensFrom", 'may have "forced" and "generated" only');
      }),
      sampleLength: recording.count("sampleLength", 1, MAX_SAMPLE_LENGTH),
      start: recording.nullable("start", () => recording.text("start")),
      notes: recording.texts("notes"),
    },
    columns: {
      weights: columns.flag("weights"),
      probs: columns.flag("probs"),
      hiddenWidth: columns.count("hiddenWidth", 0, MAX_HIDDEN_WIDTH),
      tokens: columns.flag("tokens"),
      predictions: columns.flag("predictions"),
    },
  };
}

/** An object of the document, whose fields are read as what they have to be. */
class Fields {
  readonly #file: string;
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #prefix: string;

  constructor(file: string, value: unknown, prefix: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new TraceError("bad-description", { file }, `${prefix === "" ? "it" : `"${prefix}"`} must be an object.`);
    this.#file = file;
    this.#object = value as Record<string, unknown>;
    this.#prefix = prefix;
  }

  raw(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  wrong(name: string, must: string): TraceError {
    const field = this.#prefix === "" ? name : `${this.#prefix}.${name}`;
    const sentence = `"${field}" ${must}. The file was changed or damaged; get it from where it was recorded.`;
    return new TraceError("bad-description", { file: this.#file }, sentence);
  }

  nullable<T>(name: string, read: () => T): T | null {
    return this.raw(name) === null ? null : read();
  }

  text(name: string): string {
    const value = this.raw(name);
    if (typeof value !== "string") throw this.wrong(name, "must be a text");
    return value;
  }

  texts(name: string): string[] {
    const value = this.raw(name);
    if (!Array.isArray(value) || value.some((item) => typeof item !== "string"))
      throw this.wrong(name, "must be a list of texts");
    return value as string[];
  }

  flag(name: string): boolean {
    const value = this.raw(name);
    if (typeof value !== "boolean") throw this.wrong(name, "must be true or false");
    return value;
  }

  count(name: string, smallest = 0, largest = Number.MAX_SAFE_INTEGER): number {
    const value = this.raw(name);
    if (!isCount(value) || value < smallest || value > largest)
      throw this.wrong(name, `must be a whole number from ${smallest} to ${largest}`);
    return value;
  }

  counts(name: string, most: number): number[] {
    const value = this.raw(name);
    if (!Array.isArray(value) || value.length > most || !value.every(isCount))
      throw this.wrong(name, `must be a list of at most ${most} whole numbers`);
    return value;
  }

  object(name: string): Fields {
    return new Fields(this.#file, this.raw(name), this.#prefix === "" ? name : `${this.#prefix}.${name}`);
  }

  objects(name: string): Fields[] {
    const value = this.raw(name);
    if (!Array.isArray(value)) throw this.wrong(name, "must be a list");
    return value.map((item, i) => new Fields(this.#file, item, `${name}[${i}]`));
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
