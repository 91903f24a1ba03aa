/** The exponent of Zipf's law that a stream's counts show: the slope of count over rank, both as logarithms, by least squares. */

/** Keys that came less often stand in an order that chance made: their ranks say little. */
const FEWEST = 25;
/** Each group of ranks ends so many times later than it begins: the many unpopular keys count no more than the few popular. */
const GROUP_GROWTH = 1.2;
/** A line through fewer groups is none. */
const FEWEST_GROUPS = 5;

/** @param counts how often each key came, in any order @returns undefined when too few keys came often */
export function fitAlpha(counts: Uint32Array): number | undefined {
  const frequent = counts.filter((count) => count >= FEWEST).sort();
  const logRank: number[] = [];
  const logCount: number[] = [];
  // Only whole groups: the one that the threshold cuts holds none but its more frequent keys.
  for (let from = 1, to = from; ; from = to + 1) {
    to = Math.max(from, Math.floor(from * GROUP_GROWTH));
    if (to > frequent.length) break;
    let rank = 0;
    let count = 0;
    for (let i = from; i <= to; i++) {
      rank += Math.log(i);
      count += frequent[frequent.length - i];
    }
    const keys = to - from + 1;
    logRank.push(rank / keys);
    logCount.push(Math.log(count / keys));
  }
  return logRank.length < FEWEST_GROUPS ? undefined : -slope(logRank, logCount);
}

function slope(xs: readonly number[], ys: readonly number[]): number {
  const meanX = xs.reduce((sum, x) => sum + x, 0) / xs.length;
  const meanY = ys.reduce((sum, y) => sum + y, 0) / ys.length;
  const up = xs.reduce((sum, x, i) => sum + (x - meanX) * (ys[i] - meanY), 0);
  return up / xs.reduce((sum, x) => sum + (x - meanX) ** 2, 0);
}
