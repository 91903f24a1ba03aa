/** Samples of one part: the rows of its two tables put together, a row group at a time, and checked row by row. */
import { type ChunkBytes, type DecodedLists, decodeLists, decodeNumbers, readChunk } from "./parquet/decode-column.ts";
import { type OpenParquet, openParquet } from "./parquet/open-parquet.ts";
import { SampleBuilder } from "./sample-builder.ts";
import { identityMismatch, partPath, routingColumns, type TableName } from "./tables.ts";
import { readTokenTable, type SampleTokens } from "./token-table.ts";
import type { TraceDescription, TraceSample, WantedColumns } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import type { TraceFile } from "./trace-json.ts";

/** Rows of the routing table, decoded; columns that were not wanted are undefined. */
export interface RoutingGroup {
  readonly rows: number;
  readonly samples: Uint32Array;
  readonly positions: Uint32Array;
  readonly layers: Uint16Array;
  readonly experts: DecodedLists<Uint16Array>;
  readonly weights: DecodedLists<Float32Array> | undefined;
  readonly probs: DecodedLists<Float32Array> | undefined;
  readonly hidden: DecodedLists<Float32Array> | undefined;
}

export async function* readPart(
  directory: string,
  file: TraceFile,
  part: number,
  wanted: WantedColumns,
): AsyncGenerator<TraceSample, void> {
  const { description, parts } = file;
  const entry = parts[part];
  if (entry === undefined) throw new RangeError(`There is no part ${part}.`);
  const firstSample = parts.slice(0, part).reduce((sum, { samples }) => sum + samples, 0);
  await using tokenFile = await openTable(directory, file, "tokens", part);
  const samples = await readTokenTable(tokenFile, description, entry, firstSample, wanted);
  await using routing = await openTable(directory, file, "routing", part);
  yield* assemble(routing, description, samples, wanted);
}

async function openTable(directory: string, { id }: TraceFile, table: TableName, part: number): Promise<OpenParquet> {
  const file = await openParquet(partPath(directory, table, part));
  const mismatch = identityMismatch(file.metadata, { trace: id, table, part });
  if (mismatch === undefined) return file;
  await file[Symbol.asyncDispose]();
  throw new TraceError("foreign-part", { file: file.path }, `${mismatch}. Copy the part of this trace there again.`);
}

async function* assemble(
  routing: OpenParquet,
  description: TraceDescription,
  samples: readonly SampleTokens[],
  wanted: WantedColumns,
): AsyncGenerator<TraceSample, void> {
  const open = samples[Symbol.iterator]();
  let builder = nextBuilder();
  for await (const group of groupsOf(routing, description, wanted)) {
    for (let row = 0; row < group.rows; ) {
      if (builder === undefined)
        throw new TraceError(
          "wrong-count",
          { file: routing.path, sample: group.samples[row], position: group.positions[row] },
          "comes after the last sample of the tokens table. The parts do not belong together; copy both again.",
        );
      row += builder.take(group, row);
      if (!builder.isFull) continue;
      yield builder.finish();
      builder = nextBuilder();
    }
  }
  if (builder !== undefined) throw builder.missingRows();

  function nextBuilder(): SampleBuilder | undefined {
    const { value } = open.next();
    return value === undefined ? undefined : new SampleBuilder(routing.path, description, value, wanted);
  }
}

/** The row groups in order; while one is used the next one is read. */
async function* groupsOf(
  file: OpenParquet,
  { columns }: TraceDescription,
  wanted: WantedColumns,
): AsyncGenerator<RoutingGroup, void> {
  const names = new Set<string>(["sample", "position", "layer", "experts"]);
  for (const name of ["weights", "probs", "hidden"] as const) if (wanted[name]) names.add(name);
  const needed = routingColumns(columns).filter(({ name }) => names.has(name));
  const read = async (index: number): Promise<Map<string, ChunkBytes> | undefined> => {
    const group = file.rowGroups[index];
    if (group === undefined) return undefined;
    const chunks = await Promise.all(needed.map((column) => readChunk(file, group, column)));
    return new Map(chunks.map((chunk) => [chunk.column.name, chunk]));
  };
  let coming = read(0);
  for (let index = 0; ; index++) {
    const chunks = await coming;
    if (chunks === undefined) return;
    coming = read(index + 1);
    // It is waited for in the next round; until then a failure must not count as unhandled.
    coming.catch(() => {});
    yield decodeGroup(chunks);
  }
}

function decodeGroup(chunks: ReadonlyMap<string, ChunkBytes>): RoutingGroup {
  const of = (name: string) => chunks.get(name) as ChunkBytes;
  const { rows } = of("experts");
  const floats = (name: string) =>
    chunks.has(name) ? decodeLists(of(name), (length) => new Float32Array(length)) : undefined;
  return {
    rows,
    samples: decodeNumbers(of("sample"), new Uint32Array(rows)),
    positions: decodeNumbers(of("position"), new Uint32Array(rows)),
    layers: decodeNumbers(of("layer"), new Uint16Array(rows)),
    experts: decodeLists(of("experts"), (length) => new Uint16Array(length)),
    weights: floats("weights"),
    probs: floats("probs"),
    hidden: floats("hidden"),
  };
}
