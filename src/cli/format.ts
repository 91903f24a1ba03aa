/** Numbers and tables as people read them. Pure; nothing is printed here. */

const BYTE_UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** "12.8 MiB": binary units, three digits. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (Math.abs(value) >= 1000 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : threeDigits(value)} ${BYTE_UNITS[unit]}`;
}

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

/** "82.8 %" of a share from 0 to 1. */
export function formatShare(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
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

export function threeDigits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}
