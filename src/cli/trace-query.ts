/** `warmset trace query`: SQL over a trace, as a table or as JSON. DuckDB does the work. */
import { once } from "node:events";
import type { Command } from "commander";
import type { TraceQueryResult } from "../trace/trace-query.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { threeDigits } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { StatusLine } from "./status-line.ts";

/** A table needs all its rows before its first line; more of them nobody reads. */
const MAX_TABLE_ROWS = 1000;
const MAX_CELL = 60;

const VIEWS = `
The query sees these views:
  routing  a row per token and MoE layer: sample, domain, position, token, phase (0 prefill, 1 decode), layer, experts,
           weights, and probs and hidden where they were recorded
  experts  a row per chosen expert: as routing, but with slot (0 is the best), expert, weight
  tokens   a row per token: sample, position, token, phase, batch, domain, predicted, loss
  layers   layer, block, expert_bytes
  trace    one row: what the trace is of

Try it: warmset trace query DIR "select layer, count(distinct expert) from experts group by layer order by layer"`;

export function addTraceQueryCommand(trace: Command): void {
  const command = trace.command("query <DIR> <SQL>").description("ask a trace a question in SQL (DuckDB)");
  addOptions(command, ["json", "quiet", "verbose"]);
  command.addHelpText("after", VIEWS);
  command.action((directory: string, sql: string) => query(directory, sql, settingsOf(command)));
}

async function query(directory: string, sql: string, settings: Settings): Promise<void> {
  const { queryTrace } = await import("../trace/trace-query.ts");
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  status.waiting("asking");
  await using result = await queryTrace(directory, sql, stop.signal);
  if (settings.json) await writeJson(result, status, stop.signal);
  else await writeTable(result, status, settings.quiet ?? false);
  if (result.unfinished !== undefined && !settings.quiet) process.stderr.write(`note: ${result.unfinished}\n`);
}

/** One document, written as the rows come: a result may be larger than memory. */
async function writeJson({ columns, rows }: TraceQueryResult, status: StatusLine, signal: AbortSignal): Promise<void> {
  await write(`{"columns":${JSON.stringify(columns)},"rows":[`, signal);
  let isFirst = true;
  for await (const batch of rows) {
    status.clear();
    const texts = batch.map((row) =>
      JSON.stringify(Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])), plain),
    );
    if (texts.length > 0) await write(`${isFirst ? "\n" : ",\n"}${texts.join(",\n")}`, signal);
    isFirst &&= texts.length === 0;
  }
  await write("\n]}\n", signal);
}

async function write(text: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  // Of an aborted wait only the signal knows why.
  if (!process.stdout.write(text)) await once(process.stdout, "drain", { signal }).catch(() => signal.throwIfAborted());
}

async function writeTable({ columns, rows }: TraceQueryResult, status: StatusLine, quiet: boolean): Promise<void> {
  const cells: string[][] = [];
  let isCut = false;
  for await (const batch of rows) {
    const room = MAX_TABLE_ROWS - cells.length;
    for (const row of batch.slice(0, room)) cells.push(row.map(cellText));
    isCut = batch.length > room;
    if (isCut) break;
  }
  status.clear();
  const isNumber = columns.map(({ type }) => /INT|FLOAT|DOUBLE|DECIMAL/.test(type) && !type.endsWith("]"));
  const all = [columns.map(({ name }) => name), ...cells];
  const widths = columns.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  const line = (row: readonly string[]) =>
    row
      .map((text, i) => (isNumber[i] ? text.padStart(widths[i]) : text.padEnd(widths[i])))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  process.stdout.write(`${[line(all[0]), rule, ...cells.map(line)].join("\n")}\n`);
  if (isCut && !quiet) process.stderr.write(`note: the first ${MAX_TABLE_ROWS} rows; --json has all, LIMIT fewer.\n`);
}

function cellText(value: unknown): string {
  const text = longText(value).replace(/\s+/g, " ");
  return text.length > MAX_CELL ? `${text.slice(0, MAX_CELL - 3)}...` : text;
}

function longText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : numberText(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return `[${value.map(longText).join(", ")}]`;
  return typeof value === "object" ? JSON.stringify(value, plain) : String(value);
}

/** Small shares keep their digits; "12.3" where thousandths say nothing. */
function numberText(value: number): string {
  return Math.abs(value) < 1 ? String(Number(value.toPrecision(4))) : threeDigits(value);
}

/** Bigints as numbers where that loses nothing. */
function plain(_: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
}
