/**
 * Writes a trace as it comes: samples, or pieces of a sample, into Parquet parts of whole samples, in memory that does not
 * grow with the trace or a sample. A kill at any moment leaves the parts that were complete and at most temporary files.
 */
import { randomUUID } from "node:crypto";
import fs from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { orUnwritable, PartsWriter, prepareTables } from "./parts-writer.ts";
import { partPath, TABLES } from "./tables.ts";
import type { TraceDescription, TracePiece } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import {
  checkDescription,
  readTraceJson,
  type TraceFile,
  traceJsonPath,
  unfinishedText,
  writeTraceJson,
} from "./trace-json.ts";
import { lockTrace, type TraceLock } from "./trace-lock.ts";

export interface TraceWriterOptions {
  /** How many samples are going to be written, so that an unfinished trace can name what is missing. Default: unknown. */
  readonly plannedSamples?: number;
  /** A part is completed at the end of a sample once its routing has this many bytes. Default: 64 MiB. */
  readonly partBytes?: number;
  /**
   * Or once it is older than this, or than 5 % of the time since the writer was opened, but at most a minute: what a kill
   * can cost. Default: 5000.
   */
  readonly partMs?: number;
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

/**
 * Starts a trace in `directory`, which is made if need be.
 * @throws TraceError `exists` when a trace lies there (see `resumeTrace`), `in-use`, `bad-description`, `unwritable`
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
  const lock = await orUnwritable(directory, 0, async () => {
    await fs.mkdir(directory, { recursive: true });
    return await lockTrace(directory);
  });
  return await locked(lock, async () => {
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
    await orUnwritable(directory, 0, async () => {
      await prepareTables(directory, 0);
      await writeTraceJson(directory, file);
    });
    return new PartsWriter({ directory, file, options, lock, lost: undefined });
  });
}

/** Nobody else would release the lock when there is no writer after all. */
async function locked(lock: TraceLock, open: () => Promise<TraceWriter>): Promise<TraceWriter> {
  try {
    return await open();
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * Goes on with an unfinished trace after its last whole sample, and removes what was not finished. The description must be
 * that of the first run in `model`, `columns` and how samples are made; its other facts of recording stay.
 * @throws TraceError `not-a-trace`, `in-use`, `not-resumable`, `missing-part`, `unwritable`, and what reading `trace.json` throws
 */
export async function resumeTrace(
  directory: string,
  description: TraceDescription,
  options: TraceWriterOptions = {},
): Promise<TraceWriter> {
  // Not before it is known that a trace lies there: a lock is no file for any folder.
  await readTraceJson(directory);
  const lock = await orUnwritable(directory, 0, () => lockTrace(directory));
  return await locked(lock, () => resumeLocked(directory, description, options, lock));
}

async function resumeLocked(
  directory: string,
  description: TraceDescription,
  options: TraceWriterOptions,
  lock: TraceLock,
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
  return new PartsWriter({ directory, file, options, lock, lost: unfinishedText(file) });
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
