/**
 * What the cache counts, apart for prefill and decode, so that the figures add up: every distinct expert of a layer is
 * a hit, a late hit or a miss, every miss is a demand read, and every speculative read ends used, wasted or cancelled.
 */
import type { Phase } from "./policy.ts";

/** Counters of one phase. Counts are experts, not tokens: an expert that a batch uses many times counts once. */
export interface CacheCounters {
  /** Resident and complete when its layer's router chose it. */
  hits: number;
  /** Still being read (by a speculative read) when its layer's router chose it. */
  lateHits: number;
  /** Absent when its layer's router chose it. */
  misses: number;
  /** Given up to make room for a demand read. */
  evictionsForDemand: number;
  /** Given up to make room for a speculative read. */
  evictionsForPrefetch: number;
  /** Given up by the policy although nothing needed the room. */
  discards: number;
  /** Bytes of the demand reads that were issued. */
  bytesDemanded: number;
  /** Bytes of the speculative reads that were issued. */
  bytesPrefetched: number;
  /** Bytes of speculative reads that went unused. */
  bytesWasted: number;
  prefetchesIssued: number;
  /** Chosen by a router while resident or in flight: the read was worth it. */
  prefetchesUsed: number;
  /** Evicted before any router chose them. */
  prefetchesWasted: number;
  /** Called off, or failed, before any router chose them. */
  prefetchesCancelled: number;
  /** Bytes of those; they may or may not have been read. */
  bytesCancelled: number;
}

/** A snapshot. An event counts in the phase in which it happens. */
export interface CacheStatistics {
  readonly prefill: Readonly<CacheCounters>;
  readonly decode: Readonly<CacheCounters>;
  /** Speculative reads that are resident or in flight and that no router has chosen yet. */
  readonly prefetchesUnused: number;
  readonly bytesUnused: number;
}

export function emptyCounters(): CacheCounters {
  return {
    hits: 0,
    lateHits: 0,
    misses: 0,
    evictionsForDemand: 0,
    evictionsForPrefetch: 0,
    discards: 0,
    bytesDemanded: 0,
    bytesPrefetched: 0,
    bytesWasted: 0,
    prefetchesIssued: 0,
    prefetchesUsed: 0,
    prefetchesWasted: 0,
    prefetchesCancelled: 0,
    bytesCancelled: 0,
  };
}

/** Both phases together. What is still unused counts as wasted here, so issued = used + wasted + cancelled. */
export function totalCounters(statistics: CacheStatistics): CacheCounters {
  const total = emptyCounters();
  for (const phase of ["prefill", "decode"] satisfies Phase[])
    for (const name of Object.keys(total) as (keyof CacheCounters)[]) total[name] += statistics[phase][name];
  total.prefetchesWasted += statistics.prefetchesUnused;
  total.bytesWasted += statistics.bytesUnused;
  return total;
}

/** Evictions for any reason. */
export function evictionsOf(counters: Readonly<CacheCounters>): number {
  return counters.evictionsForDemand + counters.evictionsForPrefetch + counters.discards;
}

/** Share of look-ups that found the expert complete, 0..1; 0 when there were none. */
export function hitRate(counters: Readonly<CacheCounters>): number {
  const lookUps = counters.hits + counters.lateHits + counters.misses;
  return lookUps === 0 ? 0 : counters.hits / lookUps;
}
