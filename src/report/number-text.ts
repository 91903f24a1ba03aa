/** Numbers as a report writes them. A space that does not break stands between a number and its unit. */
import { formatBytes, formatShare } from "../number-text.ts";

/** "74.1 %" of a share from 0 to 1. */
export function percentText(share: number | null | undefined, digits = 1): string {
  return share === null || share === undefined || Number.isNaN(share) ? "–" : unbroken(formatShare(share, digits));
}

/** "−3.2 %", "+11.0 %". */
export function signedPercentText(share: number): string {
  const text = (100 * Math.abs(share)).toFixed(1);
  return `${text === "0.0" ? "" : share < 0 ? "−" : "+"}${text}\u00a0%`;
}

/** "73.4 to 74.7 %". */
export function intervalText(interval: readonly [number, number] | null): string {
  return interval === null ? "–" : `${(100 * interval[0]).toFixed(1)} to ${percentText(interval[1])}`;
}

/** "1.06": a ratio or a correlation. */
export function ratioText(value: number | null | undefined, digits = 2): string {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−");
}

/** "11,534,336". */
export function countText(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** "12.8 MiB"; null: unknown. */
export function bytesText(bytes: number | null): string {
  return bytes === null ? "–" : unbroken(formatBytes(bytes));
}

function unbroken(text: string): string {
  return text.replace(" ", "\u00a0");
}
