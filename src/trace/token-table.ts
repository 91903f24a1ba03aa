/** The tokens table of one part: what there is once per token, sample by sample, checked. */
import { decodeLabels, decodeNumbers, readChunk } from "./parquet/decode-column.ts";
import type { OpenParquet } from "./parquet/open-parquet.ts";
import { firstDescent } from "./row-check.ts";
import { TOKEN_COLUMNS } from "./tables.ts";
import { DECODE, type TraceDescription, type TraceSample, type WantedColumns } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import type { PartEntry } from "./trace-json.ts";

/** A sample without what is per layer. */
export type SampleTokens = Omit<TraceSample, "experts" | "weights" | "probs" | "hidden">;

/** Tokens of a part; a footer that claims more is not believed. Ours have a few hundred thousand. */
const MAX_PART_TOKENS = 1 << 24;

/**
 * All samples of a part, whose first one has the number `firstSample`.
 * @throws TraceError for anything that is not as it has to be
 */
export async function readTokenTable(
  file: OpenParquet,
  { recording }: TraceDescription,
  entry: PartEntry,
  firstSample: number,
  wanted: WantedColumns,
): Promise<SampleTokens[]> {
  if (file.rows !== entry.tokens || file.rows > MAX_PART_TOKENS)
    throw new TraceError(
      "wrong-count",
      { file: file.path },
      `has ${file.rows} tokens; trace.json says ${entry.tokens}. Copy the whole directory again.`,
    );
  const table = await readColumns(file, wanted);
  const samples: SampleTokens[] = [];
  for (let start = 0; start < file.rows; ) {
    const sample = firstSample + samples.length;
    const end = endOfSample(table, start, sample, file.path);
    if (end - start > recording.sampleLength)
      throw new TraceError(
        "wrong-count",
        { file: file.path, sample },
        `has ${end - start} tokens; by trace.json a sample has ${recording.sampleLength} at most.`,
      );
    samples.push(sampleOf(table, start, end, sample, file.path));
    start = end;
  }
  if (samples.length !== entry.samples)
    throw new TraceError(
      "wrong-count",
      { file: file.path },
      `has ${samples.length} samples; trace.json says ${entry.samples}. Copy the whole directory again.`,
    );
  return samples;
}

interface TokenTable {
  readonly samples: Uint32Array;
  readonly positions: Uint32Array;
  readonly phases: Uint16Array;
  readonly batches: Uint32Array;
  /** One per row. */
  readonly domains: readonly string[];
  readonly tokens: Int32Array | undefined;
  readonly predicted: Int32Array | undefined;
  readonly loss: Float32Array | undefined;
}

async function readColumns(file: OpenParquet, wanted: WantedColumns): Promise<TokenTable> {
  const { rows } = file;
  const domains = new Array<string>(rows);
  const table = {
    samples: new Uint32Array(rows),
    positions: new Uint32Array(rows),
    phases: new Uint16Array(rows),
    batches: new Uint32Array(rows),
    domains,
    tokens: wanted.tokens ? new Int32Array(rows) : undefined,
    predicted: wanted.predictions ? new Int32Array(rows) : undefined,
    loss: wanted.predictions ? new Float32Array(rows) : undefined,
  };
  const targets = {
    sample: { out: table.samples },
    position: { out: table.positions },
    phase: { out: table.phases },
    batch: { out: table.batches },
    token: { out: table.tokens },
    predicted: { out: table.predicted, missing: -1 },
    loss: { out: table.loss, missing: Number.NaN },
  };
  let from = 0;
  for (const group of file.rowGroups) {
    const to = from + group.rows;
    for (const column of TOKEN_COLUMNS) {
      if (column.name === "domain") {
        const { texts, indexes } = decodeLabels(await readChunk(file, group, column));
        for (const [i, index] of indexes.entries()) domains[from + i] = texts[index];
        continue;
      }
      const { out, missing }: { out: (typeof targets)[keyof typeof targets]["out"]; missing?: number } =
        targets[column.name as keyof typeof targets];
      if (out !== undefined) decodeNumbers(await readChunk(file, group, column), out.subarray(from, to), missing);
    }
    from = to;
  }
  return table;
}

/** First row behind the sample that starts at `start`, which must be number `sample`. */
function endOfSample({ samples, positions }: TokenTable, start: number, sample: number, file: string): number {
  const found = samples[start];
  if (found !== sample)
    throw new TraceError(
      "sample-order",
      { file, sample: found, position: positions[start] },
      `comes where sample ${sample} has to be. The part is damaged or was changed; copy it again.`,
    );
  let end = start;
  for (; end < samples.length && samples[end] === sample; end++)
    if (positions[end] !== end - start)
      throw new TraceError(
        "position-gap",
        { file, sample, position: positions[end] },
        `comes where position ${end - start} has to be. The part is damaged or was changed; copy it again.`,
      );
  return end;
}

function sampleOf(table: TokenTable, start: number, end: number, sample: number, file: string): SampleTokens {
  const fault = (kind: "bad-phase" | "batch-order" | "sample-order" | "not-finite", at: number, sentence: string) =>
    new TraceError(kind, { file, sample, position: at }, sentence);
  const phases = Uint8Array.from(table.phases.subarray(start, end));
  const batches = table.batches.slice(start, end);
  const loss = table.loss?.slice(start, end);
  const phase = table.phases.subarray(start, end).findIndex((value) => value > DECODE);
  if (phase >= 0)
    throw fault("bad-phase", phase, `phase ${table.phases[start + phase]} is neither prefill nor decode.`);
  const batch = firstDescent(batches);
  if (batch >= 0) throw fault("batch-order", batch, `batch ${batches[batch]} comes after a later one.`);
  const infinite = loss?.findIndex((value) => Math.abs(value) === Number.POSITIVE_INFINITY) ?? -1;
  if (infinite >= 0) throw fault("not-finite", infinite, "the loss is infinite.");
  const domain = table.domains[start];
  for (let row = start; row < end; row++)
    if (table.domains[row] !== domain)
      throw fault("sample-order", row - start, `is of domain "${table.domains[row]}", the sample of "${domain}".`);
  return {
    sample,
    domain,
    length: end - start,
    phases,
    batches,
    tokens: table.tokens?.slice(start, end),
    predicted: table.predicted?.slice(start, end),
    loss,
  };
}
