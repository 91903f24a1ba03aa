/** Tables of a flash run: every row, fates of objects, ablations, speed, goals, what each row may be held against, the configuration. */
import {
  ABLATION_COLUMNS,
  type Column,
  detailText,
  GOAL_COLUMNS,
  LATENCY_COLUMNS,
  nameOf,
  ROW_COLUMNS,
  SPEED_COLUMNS,
  wordsOf,
} from "../../flash/bench/columns.ts";
import type { FlashAblation, FlashBenchResult } from "../../flash/bench/results.ts";
import { type DataTable, numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { bytesText, percentText } from "../number-text.ts";

export function rowsTable({ rows }: FlashBenchResult): Markup {
  return tableHtml(
    drawn(
      "The last cache turn of each run. ALWA: device bytes over bytes admitted; DLWA: NAND bytes over device bytes. b/o: bits of RAM an object. Requests a second are by time of the processor, with the work of the stream and the simulated device in them.",
      ROW_COLUMNS,
      rows,
    ),
    new Set(rows.flatMap(({ engine, variant }, i) => (engine === "nemo" && variant === "" ? [i] : []))),
  );
}

export function fatesTable({ rows }: FlashBenchResult): Markup {
  const fates = [...new Set(rows.flatMap((row) => Object.keys(row.fates)))];
  return tableHtml({
    caption: "What became of objects, as shares of those put since the engine was opened.",
    columns: [textColumn("Engine"), ...fates.map((fate) => numberColumn(wordsOf(fate)))],
    rows: rows.map((row) => [nameOf(row), ...fates.map((fate) => percentText(row.fates[fate], 2))]),
  });
}

export function latencyTable({ rows }: FlashBenchResult): Markup | undefined {
  const timed = rows.filter(({ latencyUs }) => latencyUs !== null);
  if (timed.length === 0) return undefined;
  return tableHtml(drawn("Times of calls on the real file, µs.", LATENCY_COLUMNS, timed));
}

export function ablationTable({ title, rows }: FlashAblation): DataTable {
  return drawn(title, ABLATION_COLUMNS, rows);
}

export function speedTable({ speed }: FlashBenchResult): Markup {
  return tableHtml(drawn("On a real file, beside the device's own figures of the same run.", SPEED_COLUMNS, speed));
}

export function goalsTable({ targets }: FlashBenchResult): Markup {
  return tableHtml(drawn("The project's goals, held against the rows.", GOAL_COLUMNS, targets));
}

export function comparableList({ rows }: FlashBenchResult): Markup {
  return html`<dl>${rows.map((row) => html`<dt>${nameOf(row)}</dt><dd>${row.comparable}${detailText(row)}</dd>`)}</dl>`;
}

export function configurationList({ configuration: c, date, elapsedMs, notes }: FlashBenchResult): Markup {
  const facts: (readonly [string, string | Markup])[] = [
    ["Command", html`<code>${c.command}</code>`],
    [
      "Program and machine",
      `warmset ${c.warmset}; ${c.machine.cpu}, ${c.machine.cores} cores, ${bytesText(c.machine.memoryBytes)}, ${c.machine.kernel}`,
    ],
    ["Workload", `${c.workload}; seed ${c.seed}`],
    [
      "Cache",
      `${bytesText(c.cacheBytes)} in zones of ${bytesText(c.zoneBytes)}; RAM in front ${bytesText(c.ramBytes)}`,
    ],
    [
      "Steady state",
      `at least 3 cache turns written and admitted, and ALWA of a turn within 1 % of the one before; at most ${c.mostTurns} turns`,
    ],
    ["When", `${date.slice(0, 16).replace("T", " ")} UTC, ${(elapsedMs / 60_000).toFixed(1)} minutes`],
    ...notes.map((note) => ["Note", note] as const),
  ];
  return html`<dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** The bench's own columns: what is in them is decided there, for the terminal too. */
function drawn<Row>(caption: string, columns: readonly Column<Row>[], rows: readonly Row[]): DataTable {
  return { caption, columns, rows: rows.map((row) => columns.map(({ cell }) => cell(row) ?? "–")) };
}
