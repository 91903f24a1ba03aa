/**
 * Drives the cache with recorded or generated router decisions, every read complete at once. Tests use it where the
 * decisions matter and the timing does not.
 */
import * as fc from "fast-check";
import { type Decision, ExpertCache } from "./expert-cache.ts";
import type { Phase, Policy } from "./policy.ts";
import type { ExpertKey, ModelShape } from "./shape.ts";
import type { CacheStatistics } from "./statistics.ts";

export interface RecordedRouting {
  readonly layer: number;
  readonly tokens: number;
  readonly experts: Int32Array;
  readonly weights: Float32Array;
  readonly distinct: Int32Array;
}

export interface RecordedIteration {
  readonly phase: Phase;
  readonly stops: readonly RecordedRouting[];
}

export interface ReplayOptions {
  readonly onDecision?: (decision: Decision, key: ExpertKey) => void;
  /** Called after each stop, when all its reads are complete. */
  readonly afterStop?: (cache: ExpertCache) => void;
}

export function replay(
  shape: ModelShape,
  iterations: readonly RecordedIteration[],
  budgetBytes: number,
  policy: Policy,
  { onDecision, afterStop }: ReplayOptions = {},
): CacheStatistics {
  const reads: ExpertKey[] = [];
  const sink = { evict() {}, load: (key: ExpertKey) => void reads.push(key) };
  const cache = new ExpertCache(shape, budgetBytes, policy, sink, onDecision === undefined ? {} : { onDecision });
  iterations.forEach(({ phase, stops }, iteration) => {
    const tokens = stops[0]?.tokens ?? 0;
    cache.iteration({
      phase,
      iteration,
      tokens,
      tokenIds: new Int32Array(tokens),
      embeddings: undefined,
      request: 0,
      nowMs: 0,
    });
    for (const stop of stops) {
      cache.routed(routerEvent(stop));
      for (const key of reads.splice(0)) cache.completed(key);
      afterStop?.(cache);
    }
  });
  cache.close();
  return cache.statistics();
}

export function routerEvent(stop: RecordedRouting, nextGate?: Float32Array) {
  const expertsUsed = stop.tokens === 0 ? 0 : stop.experts.length / stop.tokens;
  return {
    ...stop,
    nowMs: 0,
    expertsUsed,
    distinctCount: stop.distinct.length,
    probabilities: undefined,
    nextGate,
    hidden: undefined,
  };
}

/** One layer's decision from lists of experts, one list per token, with equal weights. */
export function routing(shape: ModelShape, layer: number, tokens: readonly (readonly number[])[]): RecordedRouting {
  const experts = Int32Array.from(tokens.flat());
  return {
    layer,
    tokens: tokens.length,
    experts,
    weights: new Float32Array(experts.length).fill(1 / shape.expertsUsed),
    distinct: Int32Array.from(new Set(experts), (expert) => layer * shape.experts + expert),
  };
}

export interface GeneratedRun {
  readonly shape: ModelShape;
  readonly iterations: readonly RecordedIteration[];
  readonly budgetBytes: number;
}

export interface RunOptions {
  /** Experts of the same size in all layers; default: sizes differ by layer. */
  readonly equalSizes?: boolean;
  /** Tokens of a micro-batch at most, default 3. */
  readonly maxTokens?: number;
  readonly maxIterations?: number;
}

/** Small models with skewed random routing and a budget from the smallest that works to nearly everything. */
export function generatedRuns({ equalSizes = false, maxTokens = 3, maxIterations = 25 }: RunOptions = {}) {
  return fc
    .record({
      layers: fc.integer({ min: 1, max: 4 }),
      experts: fc.integer({ min: 2, max: 8 }),
      used: fc.integer({ min: 1, max: 3 }),
      sizes: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 4, maxLength: 4 }),
      tokens: fc.array(fc.integer({ min: 1, max: maxTokens }), { minLength: 1, maxLength: maxIterations }),
      fraction: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.integer(),
    })
    .map(({ layers, experts, used, sizes, tokens, fraction, seed }): GeneratedRun => {
      const expertsUsed = Math.min(used, experts);
      const expertBytes = sizes.slice(0, layers).map((size) => (equalSizes ? 10 : size));
      const shape: ModelShape = { layers, experts, expertsUsed, expertBytes };
      const random = randomNumbers(seed);
      const iterations = tokens.map((count) => ({
        phase: count > 1 ? ("prefill" as const) : ("decode" as const),
        stops: Array.from({ length: layers }, (_, layer) =>
          routing(
            shape,
            layer,
            Array.from({ length: count }, () => chooseExperts(shape, random)),
          ),
        ),
      }));
      const smallest = Math.max(
        ...iterations.flatMap(({ stops }) => stops.map((s) => s.distinct.length * (expertBytes[s.layer] as number))),
      );
      const all = expertBytes.reduce((sum, bytes) => sum + bytes * experts, 0);
      return { shape, iterations, budgetBytes: Math.floor(smallest + fraction * (all - smallest)) };
    });
}

/** Numbers in 0..1 that depend on the seed alone (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function chooseExperts(shape: ModelShape, random: () => number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < shape.expertsUsed) chosen.add(Math.floor(shape.experts * random() ** 2));
  return [...chosen];
}
