/** What is on the edge of a cloud of variants: less of one thing only for more of the other. Pure. */
import { lineName } from "./curve-variants.ts";
import type { CurvePoint } from "./results.ts";

/** Of points with two costs, those that no other one has less or as much of both; ascending in the first. */
export function unbeaten<T>(points: readonly T[], first: (point: T) => number, second: (point: T) => number): T[] {
  let least = Number.POSITIVE_INFINITY;
  return [...points]
    .sort((a, b) => first(a) - first(b) || second(a) - second(b))
    .filter((point) => {
      const isLess = second(point) < least;
      least = Math.min(least, second(point));
      return isLess;
    });
}

/**
 * Variants that the engine runs: all but those of both that another of their line beats on the text, in bytes and in KL and
 * in bytes and perplexity. Sixteen combinations are an hour of runs, most of them for nothing.
 */
export function worthRunning(points: readonly CurvePoint[]): CurvePoint[] {
  const lines = new Set(points.filter(({ family }) => family === "both").map(lineName));
  const kept = new Set<CurvePoint>();
  for (const line of lines) {
    const own = points.filter((point) => lineName(point) === line);
    for (const quality of ["meanKl", "perplexityChange"] as const)
      for (const point of unbeaten(
        own,
        (one) => one[quality],
        ({ textBytesShare }) => textBytesShare,
      ))
        kept.add(point);
  }
  return points.filter((point) => point.family !== "both" || kept.has(point));
}
