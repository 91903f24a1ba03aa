/**
 * The README's table, made from a kept result so that no figure is ever typed by hand. It stands between two marker
 * comments and is replaced there; everything else of the file stays as it is.
 */
import type { BenchResult, ResultRow } from "./results.ts";

const BEGIN = "<!-- bench:memory -->";
const END = "<!-- /bench:memory -->";

/** The file has no place for the table, or two. */
export class TableMarkersError extends Error {
  override readonly name = "TableMarkersError";

  constructor() {
    super(`There must be exactly one line ${BEGIN} and, behind it, one line ${END}`);
  }
}

/** `text` with the table of `result` between its markers. */
export function withTable(text: string, result: BenchResult): string {
  const parts = text.split(BEGIN);
  const rest = parts[1]?.split(END);
  if (parts.length !== 2 || rest?.length !== 2) throw new TableMarkersError();
  return `${parts[0]}${BEGIN}\n${renderTable(result)}\n${END}${rest[1]}`;
}

export function renderTable(result: BenchResult): string {
  const decode = result.rows.filter((row) => row.scenario !== "cold" && row.prefetch !== false);
  const cold = result.rows.filter((row) => row.scenario === "cold");
  const { configuration } = result;
  return [
    table(
      ["memory", "system", "tok/s", "over llama.cpp", "p50 / p95 ms", "hit rate", "MB/token", "ms waiting"],
      decode.map((row) => [
        memory(row),
        system(row),
        row.tokensPerSecond === null ? (row.failures[0] ?? "-") : number(row.tokensPerSecond, 2),
        row.speedup === null ? "" : `${number(row.speedup, 2)}x`,
        row.tpotMs.p50 === null ? "" : `${number(row.tpotMs.p50, 0)} / ${number(row.tpotMs.p95, 0)}`,
        number(row.hitRate, 3),
        number(row.bytesPerToken, 0, 1e6),
        number(row.stallMs, 0),
      ]),
    ),
    ...(cold.length === 0
      ? []
      : [
          "",
          table(
            ["cold start", "system", "first token, s", "MB read before it"],
            cold.map((row) => [
              `${memory(row)}, prompt of ${row.promptTokens}`,
              system(row),
              number(row.ttftMs, 2, 1e3),
              number(row.bytesBeforeFirstToken, 0, 1e6),
            ]),
          ),
        ]),
    "",
    `${configuration.modelFile} (${number(configuration.modelBytes, 2, 1e9)} GB), ${configuration.machine.cpu}, ` +
      `${configuration.threads} threads, ${deviceSpeed(result)}` +
      `read_ahead_kb ${configuration.readAheadKb ?? "unknown"}, ${configuration.memoryLimit}; medians of ` +
      `${configuration.repetitions} alternating runs of ${configuration.decodeTokens} tokens forced from held-out text ` +
      `(${configuration.domains.join(", ")}), ${result.date.slice(0, 10)}.`,
    ...result.notes.map((note) => `${note}.`),
  ].join("\n");
}

function deviceSpeed({ limits }: BenchResult): string {
  const { deviceSlowestBytesPerSecond: slowest, deviceFastestBytesPerSecond: fastest } = limits;
  return slowest === null ? "" : `device ${number(slowest, 2, 1e9)} to ${number(fastest, 2, 1e9)} GB/s, `;
}

function memory(row: ResultRow): string {
  return row.scenario === "fits" ? "all" : `${Math.round(row.memoryFraction * 100)} %`;
}

function system(row: ResultRow): string {
  return row.system === "llama.cpp" ? "llama.cpp" : `warmset (${row.policy})`;
}

function number(value: number | null, digits: number, unit = 1): string {
  return value === null ? "" : (value / unit).toFixed(digits);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
