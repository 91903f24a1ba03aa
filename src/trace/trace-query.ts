/**
 * SQL over a trace, by DuckDB, which is an optional package: views `routing` and `tokens` are the two tables as they lie on
 * the disk, `experts` has a row per chosen expert, `layers` and `trace` hold what `trace.json` says.
 */
import os from "node:os";
import type { DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { Column } from "./parquet/columns.ts";
import { partPath, routingColumns, type TableName, TOKEN_COLUMNS } from "./tables.ts";
import type { TraceDescription } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import { openTrace } from "./trace-reader.ts";

export interface TraceQueryResult extends AsyncDisposable {
  /** As of `OpenTrace`. */
  readonly unfinished: string | undefined;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Batches of rows, each a list of cells; numbers, bigints, texts, booleans, dates, null, and lists and objects of them. */
  readonly rows: AsyncIterable<readonly (readonly unknown[])[]>;
}

/**
 * Runs one query. Rows come as they are computed; dispose the result when done with it.
 * @throws TraceError `no-duckdb`, `bad-query` with DuckDB's own words, and what `openTrace` throws
 */
export async function queryTrace(directory: string, sql: string, signal?: AbortSignal): Promise<TraceQueryResult> {
  const trace = await openTrace(directory);
  const { DuckDBInstance: Instance } = await duckdb();
  const instance = await Instance.create(":memory:", { temp_directory: os.tmpdir() });
  const connection = await instance.connect();
  const stop = () => connection.interrupt();
  signal?.addEventListener("abort", stop);
  const close = () => {
    signal?.removeEventListener("abort", stop);
    closeAll(connection, instance);
  };
  const explained = (error: unknown) =>
    signal?.aborted ? signal.reason : new TraceError("bad-query", {}, (error as Error).message, error);
  try {
    for (const statement of viewsOf(directory, trace.description, trace.parts.length)) await connection.run(statement);
    signal?.throwIfAborted();
    const result = await connection.stream(sql);
    const types = result.columnTypes();
    return {
      unfinished: trace.unfinished,
      columns: result.deduplicatedColumnNames().map((name, i) => ({ name, type: String(types[i]) })),
      rows: rowsOf(result.yieldRowsJs(), explained),
      [Symbol.asyncDispose]: async () => close(),
    };
  } catch (error) {
    close();
    throw explained(error);
  }
}

async function* rowsOf(batches: AsyncIterable<unknown[][]>, explained: (error: unknown) => unknown) {
  try {
    yield* batches;
  } catch (error) {
    throw explained(error);
  }
}

async function duckdb(): Promise<typeof import("@duckdb/node-api")> {
  try {
    return await import("@duckdb/node-api");
  } catch (error) {
    throw new TraceError(
      "no-duckdb",
      {},
      "SQL needs DuckDB, which is not installed here: npm install @duckdb/node-api. The parts are plain Parquet, so any other program that reads it will do as well.",
      error,
    );
  }
}

function closeAll(connection: DuckDBConnection, instance: DuckDBInstance): void {
  connection.closeSync();
  instance.closeSync();
}

function viewsOf(directory: string, description: TraceDescription, parts: number): string[] {
  const { model, columns } = description;
  const weight = columns.weights ? ", unnest(weights) as weight" : "";
  return [
    tableView(directory, "routing", routingColumns(columns), parts),
    tableView(directory, "tokens", TOKEN_COLUMNS, parts),
    `create view experts as select sample, domain, position, token, phase, layer,
       unnest(range(len(experts)))::usmallint as slot, unnest(experts) as expert${weight} from routing`,
    `create view layers as select unnest(range(${model.moeBlocks.length}))::usmallint as layer,
       unnest([${model.moeBlocks.join(", ")}]) as block, unnest([${model.expertBytes.join(", ")}]::ubigint[]) as expert_bytes`,
    `create view trace as select ${traceColumns(description)
      .map(([name, value]) => `${value} as ${name}`)
      .join(", ")}`,
  ];
}

/** Only listed parts: others are left over from a recording that was killed. */
function tableView(directory: string, table: TableName, columns: readonly Column[], parts: number): string {
  if (parts === 0) {
    const nothing = columns.map((column) => `null::${sqlType(column)} as ${column.name}`).join(", ");
    return `create view ${table} as select ${nothing} where false`;
  }
  const files = Array.from({ length: parts }, (_, part) => quoted(partPath(directory, table, part)));
  return `create view ${table} as select * from read_parquet([${files.join(", ")}])`;
}

function traceColumns({ model, recording, columns }: TraceDescription): [string, string][] {
  const text = (value: string | null) => (value === null ? "null::varchar" : quoted(value));
  const count = (value: number | null) => (value === null ? "null::ubigint" : `${value}::ubigint`);
  return [
    ["model", text(model.name)],
    ["architecture", text(model.architecture)],
    ["hash", text(model.hash)],
    ["tokenizer_hash", text(model.tokenizerHash)],
    ["blocks", count(model.blocks)],
    ["layers", count(model.moeBlocks.length)],
    ["experts", count(model.experts)],
    ["experts_used", count(model.expertsUsed)],
    ["shared_experts", count(model.sharedExperts)],
    ["dense_bytes", count(model.denseBytes)],
    ["scoring", text(model.scoring)],
    ["recorder", text(recording.recorder)],
    ["date", text(recording.date)],
    ["tokens_from", text(recording.tokensFrom.join(", "))],
    ["sample_length", count(recording.sampleLength)],
    ["start", text(recording.start)],
    ["notes", text(recording.notes.join("\n"))],
    ["hidden_width", count(columns.hiddenWidth)],
  ];
}

function sqlType({ kind, list }: Column): string {
  const type = { u8: "utinyint", u16: "usmallint", u32: "uinteger", f32: "float", string: "varchar" }[kind];
  return list ? `${type}[]` : type;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
