/** One line of a simulation's result: a policy with a cache of a size. Other programs read it; names and units are stable. */

import type { ModelShape } from "../cache/shape.ts";
import { type CacheCounters, evictionsOf, hitRate, totalCounters } from "../cache/statistics.ts";
import type { PhaseFigures, ReplayFigures } from "./replay.ts";

/**
 * Look-ups count once per distinct expert of a forward pass and layer, and a first use is a miss (convention
 * `layer/miss`). Figures of decoding are null when the replay had no decode step that counts.
 */
export interface SimulationRow {
  readonly policy: string;
  /** Experts of mean size that the cache holds. */
  readonly cacheExperts: number;
  readonly cacheBytes: number;
  /** Of all routed experts' bytes, 0..1. */
  readonly cacheShare: number;
  /** Share of look-ups that found the expert complete, 0..1, prompts and decoding together. */
  readonly hitRate: number;
  /** The same of decode steps alone. */
  readonly decodeHitRate: number | null;
  /**
   * Of the look-ups that would have missed without reading ahead, the share that speculative reads brought, in time or
   * late, 0..1: reads used / (reads used + misses). 0 without reading ahead.
   */
  readonly coverage: number;
  /** Look-ups that found the expert on its way, prompts and decoding together. */
  readonly lateHits: number;
  /** Bytes read for a decode step, demanded and speculative; mean. Reads that were called off count whole. */
  readonly bytesPerToken: number | null;
  /** Bytes of speculative reads that no router chose, in all. */
  readonly bytesWasted: number;
  /** Time that a decode step waits for experts, ms; mean. */
  readonly stallMs: number | null;
  /** Decode steps per second. */
  readonly predictedTokensPerSecond: number | null;
  /** Where the rest of a decode step's time goes, ms; mean. */
  readonly computeMs: number | null;
  /** Stopping the graph and handing over reads, ms per decode step; mean. */
  readonly managementMs: number | null;
  readonly decodeTokens: number;
  /** Of prompts, null when there was none. */
  readonly prefillHitRate: number | null;
  readonly prefillTokensPerSecond: number | null;
  readonly prefillTokens: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  /** Bytes of demand reads, in all. */
  readonly bytesDemanded: number;
  /** Bytes of speculative reads, in all. */
  readonly bytesPrefetched: number;
  /** Layers' routers that were replayed. */
  readonly routerStops: number;
  /**
   * What the policy's mechanisms have done (see `Policy.figures`), the warm-up included; with cold starts, in the last
   * sample. Null for policies that do not tell.
   */
  readonly policyFigures: Readonly<Record<string, number>> | null;
}

export function simulationRow(
  policy: string,
  cacheBytes: number,
  shape: ModelShape,
  { prefill, decode, bytesUnused, policyFigures }: ReplayFigures,
): SimulationRow {
  const all = totalCounters({
    prefill: prefill.counters,
    decode: decode.counters,
    bytesUnused,
    prefetchesUnused: 0,
  });
  const expertBytes = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
  const perToken = (sum: number) => (decode.tokens === 0 ? null : sum / decode.tokens);
  const covered = all.prefetchesUsed + all.misses;
  return {
    policy,
    cacheExperts: Math.floor((cacheBytes * shape.layers * shape.experts) / expertBytes),
    cacheBytes,
    cacheShare: cacheBytes / expertBytes,
    hitRate: hitRate(all),
    decodeHitRate: decode.tokens === 0 ? null : hitRate(decode.counters),
    coverage: covered === 0 ? 0 : all.prefetchesUsed / covered,
    lateHits: all.lateHits,
    bytesPerToken: perToken(bytesRead(decode.counters)),
    bytesWasted: all.bytesWasted,
    stallMs: perToken(decode.stallMs),
    predictedTokensPerSecond: perSecond(decode),
    computeMs: perToken(decode.computeMs),
    managementMs: perToken(decode.managementMs),
    decodeTokens: decode.tokens,
    prefillHitRate: prefill.tokens === 0 ? null : hitRate(prefill.counters),
    prefillTokensPerSecond: perSecond(prefill),
    prefillTokens: prefill.tokens,
    hits: all.hits,
    misses: all.misses,
    evictions: evictionsOf(all),
    bytesDemanded: all.bytesDemanded,
    bytesPrefetched: all.bytesPrefetched,
    routerStops: prefill.routerStops + decode.routerStops,
    policyFigures: policyFigures ?? null,
  };
}

function bytesRead({ bytesDemanded, bytesPrefetched }: Readonly<CacheCounters>): number {
  return bytesDemanded + bytesPrefetched;
}

function perSecond({ tokens, wallMs }: PhaseFigures): number | null {
  return tokens === 0 ? null : (1000 * tokens) / wallMs;
}
