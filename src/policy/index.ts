/** What should be in memory: the policies, the interface to write one, and the cache that asks it. */
export {
  type CacheSink,
  type Decision,
  ExpertCache,
  type ExpertCacheOptions,
  PolicyDecisionError,
} from "../cache/expert-cache.ts";
export { LayerExceedsBudgetError, largestMicroBatch, smallestBudgetBytes } from "../cache/layer-budget.ts";
export * from "../cache/policy.ts";
export * from "../cache/shape.ts";
export {
  type CacheCounters,
  type CacheStatistics,
  evictionsOf,
  hitRate,
  totalCounters,
} from "../cache/statistics.ts";
export { belady } from "./belady.ts";
export { policyByName, policyNames, UnknownPolicyError } from "./by-name.ts";
export { type DeepSpeedOptions, deepspeed, layerStream } from "./deepspeed.ts";
export { type LeastStaleOptions, leastStale } from "./least-stale.ts";
export { type LfuOptions, lfu } from "./lfu.ts";
export { lru } from "./lru.ts";
export { type MixtralOffloadOptions, mixtralOffload } from "./mixtral-offload.ts";
export { type MoeInfinityOptions, moeInfinity } from "./moe-infinity.ts";
export { type NextGateOptions, nextGate } from "./next-gate.ts";
export { type NextUseOptions, nextUse } from "./next-use.ts";
export { onDemand } from "./on-demand.ts";
export { type OraclePrefetchOptions, oraclePrefetch } from "./oracle-prefetch.ts";
export { FutureRecorder, type RecordedFuture, type RecordedStop, recordedFuture } from "./recorded-future.ts";
export { type SlruOptions, slru } from "./slru.ts";
export type { WarmsetOptions } from "./warmset/options.ts";
export { warmset } from "./warmset/warmset.ts";
