/** What one variant costs on the engine: medians over runs. Of decoded tokens alone. */
export interface LiveFigures {
  /** Time of a token, ms: median over tokens of each run, then over runs. */
  readonly tpotMs: number;
  /** Smallest and largest of the runs. */
  readonly tpotRangeMs: readonly [number, number];
  /** Demanded and read ahead. */
  readonly bytesPerToken: number;
  readonly missesPerToken: number;
  readonly hitRate: number;
  readonly stallMsPerToken: number;
  /** Share of choices that the cache bias swapped; null without one. */
  readonly swapRate: number | null;
}
