/** Where axes end and where their ticks stand. */

/** End of an axis in per cent: the next multiple of 20 above a share of 0..1. */
export function percentCeiling(share: number): number {
  return Math.min(100, Math.ceil(share * 5 + 0.1) * 20);
}

/** Whole numbers from first to last, about `count` of them. */
export function wholeTicks(first: number, last: number, count: number): number[] {
  const step = [1, 2, 4, 8, 16, 32, 64, 128].find((step) => (last - first) / step <= count) ?? 256;
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => first + i * step);
}
