/** Numbers and tables as people read them in a terminal. Pure; nothing is printed here. */
import { threeDigits } from "../number-text.ts";

export { formatBytes, formatShare, threeDigits } from "../number-text.ts";

/** "1.37 GB/s": decimal, as drives are sold. */
export function formatRate(bytesPerSecond: number): string {
  const giga = bytesPerSecond / 1e9;
  return giga >= 1 ? `${threeDigits(giga)} GB/s` : `${threeDigits(giga * 1000)} MB/s`;
}

/** "27 ms" or "1.24 s". */
export function formatMs(ms: number): string {
  if (ms >= 60_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return ms >= 1000 ? `${threeDigits(ms / 1000)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** "28.9 million": for counts of parameters. */
export function formatCount(count: number): string {
  if (count >= 1e12) return `${threeDigits(count / 1e12)} trillion`;
  if (count >= 1e9) return `${threeDigits(count / 1e9)} billion`;
  return count >= 1e6 ? `${threeDigits(count / 1e6)} million` : String(count);
}

/** Rows of cells, each column as wide as its widest cell; `indent` spaces before each row. */
export function alignColumns(rows: readonly (readonly string[])[], indent = 2): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows
    .map((row) => `${" ".repeat(indent)}${row.map((cell, i) => cell.padEnd(widths[i])).join("  ")}`.trimEnd())
    .join("\n");
}
