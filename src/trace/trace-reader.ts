/**
 * Opens a trace that lies in a directory. Parts are read sample by sample, only the wanted columns, into typed arrays; what
 * is broken is a TraceError that names the place.
 */
import fs from "node:fs/promises";
import { readPart } from "./part-reader.ts";
import { partPath, TABLES } from "./tables.ts";
import type { TraceSource, WantedColumns } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import { readTraceJson, type TraceFile, unfinishedText } from "./trace-json.ts";

/** A trace in a directory. */
export interface OpenTrace extends TraceSource {
  readonly directory: string;
  /** Which samples are missing because the recording was interrupted, in words; undefined for a finished one. */
  readonly unfinished: string | undefined;
}

/**
 * Reads `trace.json` and looks for the parts; their rows are checked while they are read.
 * @throws TraceError `not-a-trace`, `schema-version`, `bad-description`, `missing-part`, `unreadable`
 */
export async function openTrace(directory: string): Promise<OpenTrace> {
  const file = await readTraceJson(directory);
  for (const table of TABLES)
    for (const part of file.parts.keys()) await mustExist(partPath(directory, table, part), file.parts.length);
  return {
    directory,
    description: file.description,
    unfinished: unfinishedText(file),
    parts: file.parts.map(({ samples, tokens }, index) => ({ index, samples, tokens })),
    samples: (part, wanted = {}) => {
      if (!(part in file.parts)) throw new RangeError(`There is no part ${part}: the trace has ${file.parts.length}.`);
      checkWanted(file, wanted);
      return readPart(directory, file, part, wanted);
    },
  };
}

/** @throws TraceError `absent-column` */
export function checkWanted({ description }: Pick<TraceFile, "description">, wanted: WantedColumns): void {
  const { columns, model } = description;
  const has = { ...columns, hidden: columns.hiddenWidth > 0 };
  for (const column of ["weights", "probs", "hidden", "tokens", "predictions"] as const)
    if (wanted[column] === true && !has[column])
      throw new TraceError(
        "absent-column",
        {},
        `The trace of ${model.name} was recorded without ${COLUMN_TEXT[column]}. Record it again with them.`,
      );
}

const COLUMN_TEXT = {
  weights: "the experts' weights",
  probs: "the router's probabilities",
  hidden: "the router's inputs",
  tokens: "token ids",
  predictions: "the model's predictions and losses",
} as const;

async function mustExist(path: string, parts: number): Promise<void> {
  await fs.access(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" && error.code !== "ENOTDIR")
      throw new TraceError("unreadable", { file: path }, `cannot be read: ${error.message}.`, error);
    throw new TraceError(
      "missing-part",
      { file: path },
      `is missing; the trace has ${parts} part${parts === 1 ? "" : "s"}. Copy the whole directory again.`,
      error,
    );
  });
}
