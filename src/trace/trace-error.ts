/** The one error of traces that are broken, foreign, or cannot be written: it names the place and says what to do next. */

export type TraceErrorKind =
  /** The directory has no `trace.json`, or one of something else. */
  | "not-a-trace"
  /** Written by a version with another schema. */
  | "schema-version"
  /** `trace.json` contradicts itself or lacks something. */
  | "bad-description"
  /** A part that `trace.json` lists is not there. */
  | "missing-part"
  /** A part's identity is that of another trace, or of another part. */
  | "foreign-part"
  /** A part is shorter than it was written, or its end is not that of a Parquet file. */
  | "truncated-part"
  /** A part's bytes make no sense: damaged, or not Parquet as warmset understands it. */
  | "corrupt-part"
  /** A part lacks a column, or has it as another type. */
  | "wrong-column"
  /** Counts contradict each other: of rows, of samples, of tokens. */
  | "wrong-count"
  /** Rows of a token do not go through all layers in order. */
  | "layer-order"
  /** Positions of a sample are not 0, 1, 2 and so on. */
  | "position-gap"
  /** Samples are not in ascending order, or one is in two places. */
  | "sample-order"
  /** Micro-batches of a sample are not in ascending order. */
  | "batch-order"
  /** Phase that is neither prefill nor decode. */
  | "bad-phase"
  /** An expert twice in one row. */
  | "duplicate-expert"
  /** An expert number that the model does not have. */
  | "expert-range"
  /** A row with more experts than the model uses, or a list of another length than it has to have. */
  | "list-length"
  /** NaN or infinity where a number belongs. */
  | "not-finite"
  /** A wanted column that this trace was recorded without. */
  | "absent-column"
  /** A trace lies where a new one is to be written. */
  | "exists"
  /** Another process is writing the trace. */
  | "in-use"
  /** A trace cannot be resumed: it is finished, or of another model or other columns. */
  | "not-resumable"
  /** What a writer was given contradicts the trace's description. */
  | "bad-sample"
  /** The system refused to read; see `cause`. */
  | "unreadable"
  /** The system refused to write (a full disk, for one); see `cause`. What was finished stays readable. */
  | "unwritable"
  /** A file to import is not what it has to be. */
  | "bad-import"
  /** SQL needs the optional package DuckDB, which is not installed. */
  | "no-duckdb"
  /** DuckDB refused the query; its own message follows. */
  | "bad-query";

/** Where in a trace something is wrong; what is known of it. */
export interface TracePlace {
  /** Path of the file. */
  readonly file?: string;
  readonly sample?: number;
  readonly position?: number;
  /** Index among the MoE layers. */
  readonly layer?: number;
  /** Line of a text file to import, from 1 on. */
  readonly line?: number;
}

export class TraceError extends Error {
  override readonly name = "TraceError";
  readonly kind: TraceErrorKind;
  readonly place: TracePlace;

  /** `sentence` says what is wrong and what to do next. */
  constructor(kind: TraceErrorKind, place: TracePlace, sentence: string, cause?: unknown) {
    super(`${placeText(place)}${sentence}`, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.place = place;
  }
}

function placeText({ file, line, sample, position, layer }: TracePlace): string {
  const where = [
    file,
    line === undefined ? undefined : `line ${line}`,
    sample === undefined ? undefined : `sample ${sample}`,
    position === undefined ? undefined : `position ${position}`,
    layer === undefined ? undefined : `layer ${layer}`,
  ].filter((part) => part !== undefined);
  return where.length === 0 ? "" : `${where.join(", ")}: `;
}
