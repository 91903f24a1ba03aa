/**
 * Workloads by name, with the figures that were published for them: shapes to draw from, not the traces themselves. Where a figure
 * was not published, the line says what stands in for it.
 *
 * Twitter: statistics of March 2020 (github.com/twitter/cache-trace, stat/2020Mar.md). Meta: CacheBench's configurations
 * (github.com/facebook/CacheLib, cachelib/cachebench/test_configs). ETC: Atikoglu et al., SIGMETRICS'12.
 */
import { FlashError } from "../errors.ts";
import type { WorkloadSpec } from "./generated-workload.ts";
import { type SizeModel, SizeTable } from "./object-size.ts";
import { GETS_ONLY, type ObjectSizes, type PopulationSpec } from "./population.ts";

export const WORKLOAD_NAMES = [
  ...(["twitter-14", "twitter-29", "twitter-34", "twitter-52", "nemo-mix", "nemo-mix-updates"] as const),
  ...(["kvcache-reg", "graph-leader", "graph-leader-assocs", "graph-leader-fbobj"] as const),
  ...(["graph-follower-assocs", "graph-follower-fbobj", "etc"] as const),
] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

export interface PresetOptions extends Pick<WorkloadSpec, "seed"> {
  /** Keys that come again, shared out as the populations of the original have them. @default the original's number */
  readonly objects?: number;
  /** The same in bytes of key + value. Not together with `objects`. */
  readonly workingSetBytes?: number;
}

/** Nemo's evaluation kept objects up to this size. */
export const MAX_OBJECT_BYTES = 2048;
/** Smallest object of the known fill rates. */
const MIN_OBJECT_BYTES = 20;
/** Of log-normal sizes. The ladder of fill rates was met by 0.8 to 1.0. */
const SIGMA = 0.9;
/** Mean of key + value in the Nemo mix. */
const NEMO_MEAN_BYTES = 246;

/** @throws FlashError `bad-options` */
export function presetWorkload(name: WorkloadName, options: PresetOptions = {}): WorkloadSpec {
  const { objects, workingSetBytes, seed } = options;
  return {
    name,
    populations: scaled(populationsOf(name), objects, workingSetBytes),
    ...(seed !== undefined && { seed }),
  };
}

function populationsOf(name: WorkloadName): PopulationSpec[] {
  switch (name) {
    case "twitter-14":
    case "twitter-29":
    case "twitter-34":
    case "twitter-52":
      return [twitterCluster(TWITTER[name], name)];
    case "nemo-mix":
      return nemoMix().map((population) => ({ ...population, operations: GETS_ONLY }));
    case "nemo-mix-updates":
      return nemoMix();
    case "graph-leader":
      // Shares of requests: "opPoolDistribution" of ssd_perf/graph_cache_leader.
      return [
        { ...META["graph-leader-fbobj"], weight: 0.571 },
        { ...META["graph-leader-assocs"], weight: 0.429 },
      ];
    default:
      return [META[name]];
  }
}

/** Of a Twitter cluster, as its statistics are printed. Rates are in thousands of requests a second. */
interface TwitterCluster {
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** Read as a share of requests, though it is printed as one of keys: so many events go to keys that come once. */
  readonly oneHit: number;
  readonly keys: number;
  readonly operations: { readonly get: number; readonly set: number; readonly delete: number };
  readonly alpha: number;
  readonly rate: number;
  /** Sizes are divided by this in the Nemo mix. */
  readonly shrink: number;
}

/** Keys are the working set over key + value. `add` and `cas` count as sets, `gets` as a get. */
const TWITTER = {
  "twitter-14": {
    ...{ keyBytes: 96, valueBytes: 414, oneHit: 0.1094, keys: 36e6, alpha: 1.2959, rate: 5.81, shrink: 2 },
    operations: { get: 0.65, set: 0.13, delete: 0.22 },
  },
  "twitter-29": {
    ...{ keyBytes: 36, valueBytes: 799, oneHit: 0.2304, keys: 49e6, alpha: 1.2323, rate: 10.73, shrink: 3 },
    operations: { get: 0.86, set: 0.13, delete: 0 },
  },
  "twitter-34": {
    ...{ keyBytes: 33, valueBytes: 322, oneHit: 0.0026, keys: 33e6, alpha: 1.1401, rate: 3.4, shrink: 1 },
    operations: { get: 0.94, set: 0.06, delete: 0 },
  },
  "twitter-52": {
    ...{ keyBytes: 20, valueBytes: 273, oneHit: 0.1936, keys: 48e6, alpha: 1.2117, rate: 24.25, shrink: 1 },
    operations: { get: 0.93, set: 0.06, delete: 0 },
  },
} as const satisfies Record<string, TwitterCluster>;

/** @param sizeFactor multiplies keys and objects */
function twitterCluster(cluster: TwitterCluster, name: string, sizeFactor = 1): PopulationSpec {
  const keyBytes = Math.max(8, Math.round(cluster.keyBytes * sizeFactor));
  return {
    name,
    keys: cluster.keys,
    alpha: cluster.alpha,
    freshShare: cluster.oneHit,
    weight: cluster.rate,
    sizes: {
      key: { kind: "fixed", bytes: keyBytes },
      measured: "object",
      bytes: {
        ...{ kind: "log-normal", sigma: SIGMA, min: Math.max(MIN_OBJECT_BYTES, keyBytes), max: MAX_OBJECT_BYTES },
        mean: (cluster.keyBytes + cluster.valueBytes) * sizeFactor,
      },
    },
    operations: cluster.operations,
  };
}

/**
 * The four clusters on keys of their own, 14 and 29 with sizes divided by 2 and 3 (Nemo, section 6). The authors' merging script
 * is not public: they are drawn by their requests per second. The means printed then average to 289 B, so all sizes are multiplied
 * to give 246.
 */
function nemoMix(): PopulationSpec[] {
  const clusters = Object.entries(TWITTER);
  const rates = clusters.reduce((sum, [, { rate }]) => sum + rate, 0);
  const mean =
    clusters.reduce((sum, [, one]) => sum + ((one.keyBytes + one.valueBytes) / one.shrink) * one.rate, 0) / rates;
  return clusters.map(([name, cluster]) => twitterCluster(cluster, name, NEMO_MEAN_BYTES / mean / cluster.shrink));
}

/** 8 to 16 bytes: "keySizeRange" of ssd_perf/graph_cache_leader. */
const GRAPH_KEY: SizeModel = { kind: "uniform", min: 8, max: 16 };
const VALUES = { min: 0, max: MAX_OBJECT_BYTES - 255 };

/** Half of the values up to 223 B and nine in ten up to 511; the first and last point are not published. */
function graphObjects(mean: number): ObjectSizes {
  const points = [
    [0, 32] as const,
    [0.5, 223] as const,
    [0.9, 511] as const,
    [0.99, 2048] as const,
    [1, 2048] as const,
  ];
  return { key: GRAPH_KEY, measured: "value", bytes: { kind: "quantiles", points, mean, ...VALUES } };
}

/** Sigma from the leader's mean of 140 B and median of 63: sqrt(2 ln(140 / 63)). */
function graphAssocs(mean: number): ObjectSizes {
  return { key: GRAPH_KEY, measured: "value", bytes: { kind: "log-normal", mean, sigma: 1.26, ...VALUES } };
}

/** The leader's, which stand in for the follower's. */
const ASSOCS = { keys: 27.9e6, freshShare: 0.116, weight: 1 };
/** The same. The number of keys is that of the assocs, by "keyPoolDistribution" .523 and .477. */
const FBOBJ = { keys: 30.6e6, freshShare: 0.23, weight: 1 };

const META = {
  "kvcache-reg": {
    name: "kvcache-reg",
    keys: 10.48e6,
    alpha: 1,
    // "loneGetRatio" .135 beside "getRatio" .985, as shares of both.
    freshShare: 0.135 / (0.985 + 0.135),
    weight: 1,
    sizes: {
      key: { kind: "uniform", min: 16, max: 255 },
      measured: "value",
      // Values up to 2 KB, 99.6 % of them all: ranges of 32 B of hit_ratio/memcache_reg/sizes.json, stretched to their mean.
      bytes: {
        kind: "quantiles",
        points: [
          ...([[0, 64] as const, [0.133, 96] as const, [0.373, 128] as const, [0.865, 160] as const] as const),
          ...([[0.908, 192] as const, [0.94, 288] as const, [0.957, 384] as const, [0.972, 512] as const] as const),
          ...([[0.987, 736] as const, [0.992, 960] as const, [1, 2048] as const] as const),
        ],
        mean: 172,
        ...VALUES,
      },
    },
  },
  "graph-leader-assocs": { name: "graph-leader-assocs", ...ASSOCS, alpha: 0.87, sizes: graphAssocs(140) },
  "graph-leader-fbobj": { name: "graph-leader-fbobj", ...FBOBJ, alpha: 0.55, sizes: graphObjects(341) },
  // Of followers the median of 31 B is published; the mean follows from sigma.
  "graph-follower-assocs": { name: "graph-follower-assocs", ...ASSOCS, alpha: 0.9, sizes: graphAssocs(69) },
  "graph-follower-fbobj": { name: "graph-follower-fbobj", ...FBOBJ, alpha: 0.96, sizes: graphObjects(377) },
  // Of ETC the sizes and 30 gets to a set are published; an exponent of 1 and 10 million keys stand in for its popularity.
  etc: {
    ...{ name: "etc", keys: 10e6, alpha: 1, freshShare: 0, weight: 1 },
    sizes: {
      key: { kind: "extreme-value", location: 30.7984, scale: 8.20449, shape: 0.078688, min: 8, max: 250 },
      measured: "value",
      bytes: { kind: "pareto", location: 0, scale: 214.476, shape: 0.348238, ...VALUES },
    },
    operations: { get: 30, set: 1, delete: 0 },
  },
} as const satisfies Record<string, PopulationSpec>;

/** The same populations with all their keys together as many, or as many bytes, as asked for. */
function scaled(
  populations: readonly PopulationSpec[],
  objects: number | undefined,
  workingSetBytes: number | undefined,
): PopulationSpec[] {
  if (objects !== undefined && workingSetBytes !== undefined)
    throw new FlashError("bad-options", "Give the number of objects or the bytes of the working set, not both.");
  let factor = 1;
  if (objects !== undefined) factor = objects / populations.reduce((sum, { keys }) => sum + keys, 0);
  if (workingSetBytes !== undefined) factor = workingSetBytes / workingSetBytesOf(populations);
  if (!(factor > 0 && Number.isFinite(factor)))
    throw new FlashError("bad-options", `A working set of ${objects ?? workingSetBytes} cannot be made.`);
  return populations.map((population) => ({ ...population, keys: Math.max(1, Math.round(population.keys * factor)) }));
}

/** Key + value bytes of all keys that come again; keys that come once are no part of it. */
export function workingSetBytesOf(populations: readonly PopulationSpec[]): number {
  return populations.reduce((sum, { keys, sizes }) => {
    const bytes = new SizeTable(sizes.bytes).mean;
    return sum + keys * (sizes.measured === "object" ? bytes : bytes + new SizeTable(sizes.key).mean);
  }, 0);
}
