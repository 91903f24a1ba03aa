/** The experts' part of what a user sees of a generation: differences of a session's counters, in design's names. */
import { totalCounters } from "../cache/statistics.ts";
import type { SessionStatistics } from "./session.ts";

export interface ExpertCounts {
  readonly hits: number;
  readonly lateHits: number;
  readonly misses: number;
  /** Hits over all look-ups, 1 when everything is resident. */
  readonly hitRate: number;
  readonly evictions: number;
  readonly bytesDemanded: number;
  readonly bytesPrefetched: number;
  readonly bytesWasted: number;
  /** Bytes read from the files, in whole pages. */
  readonly bytesRead: number;
  readonly stallMs: number;
}

export function expertCounts(before: SessionStatistics, after: SessionStatistics): ExpertCounts {
  const a = after.cache === undefined ? undefined : totalCounters(after.cache);
  const b = before.cache === undefined ? undefined : totalCounters(before.cache);
  const difference = (name: keyof NonNullable<typeof a>): number => (a?.[name] ?? 0) - (b?.[name] ?? 0);
  const hits = difference("hits");
  const lateHits = difference("lateHits");
  const misses = difference("misses");
  const lookUps = hits + lateHits + misses;
  return {
    hits,
    lateHits,
    misses,
    hitRate: lookUps === 0 ? 1 : hits / lookUps,
    evictions: difference("evictionsForDemand") + difference("evictionsForPrefetch") + difference("discards"),
    bytesDemanded: difference("bytesDemanded"),
    bytesPrefetched: difference("bytesPrefetched"),
    bytesWasted: difference("bytesWasted"),
    bytesRead: after.bytesRead - before.bytesRead,
    stallMs: after.times.stallMs - before.times.stallMs,
  };
}
