/** The result for a terminal: the table, ablations, speed, goals. */
import { textTable } from "../../bench/bench-program.ts";
import { formatBytes } from "../../number-text.ts";
import {
  ABLATION_COLUMNS,
  type Column,
  detailText,
  GOAL_COLUMNS,
  LATENCY_COLUMNS,
  nameOf,
  ROW_COLUMNS,
  SPEED_COLUMNS,
} from "./columns.ts";
import type { FlashBenchResult } from "./results.ts";

export function flashText(result: FlashBenchResult): string {
  const { configuration, rows, ablations, speed, targets, notes } = result;
  const timed = rows.filter(({ latencyUs }) => latencyUs !== null);
  return [
    ...(rows.length === 0
      ? []
      : [
          `${configuration.workload}, cache ${formatBytes(configuration.cacheBytes)}, RAM in front ${formatBytes(configuration.ramBytes)}, seed ${configuration.seed}; the last cache turn; b/o: bits of RAM an object`,
          tableOf(ROW_COLUMNS, rows),
          ...(timed.length === 0 ? [] : ["", "times of calls, us", tableOf(LATENCY_COLUMNS, timed)]),
          "",
          "what each may be held against",
          ...rows.map((row) => `  ${nameOf(row)}: ${row.comparable}${detailText(row)}`),
        ]),
    ...ablations.flatMap(({ title, setting, rows }) => ["", `${title} (${setting})`, tableOf(ABLATION_COLUMNS, rows)]),
    ...(speed.length === 0
      ? []
      : ["", "speed, beside the device's own in the same run", tableOf(SPEED_COLUMNS, speed)]),
    ...(targets.length === 0 ? [] : ["", tableOf(GOAL_COLUMNS, targets)]),
    ...(notes.length === 0 ? [] : ["", ...notes.map((note) => `note: ${note}`)]),
  ].join("\n");
}

function tableOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  return textTable(
    columns.map(({ heading }) => heading),
    rows.map((row) => columns.map(({ cell }) => cell(row) ?? "-")),
  );
}
