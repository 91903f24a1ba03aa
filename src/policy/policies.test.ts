import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ExpertCache } from "../cache/expert-cache.ts";
import type { Policy } from "../cache/policy.ts";
import {
  type GeneratedRun,
  generatedRuns,
  type RecordedIteration,
  type RecordedRouting,
  replay,
  routerEvent,
  routing,
} from "../cache/replay.test-data.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT, tokenCycleBytes } from "../cache/shape.ts";
import { hitRate, totalCounters } from "../cache/statistics.ts";
import { belady } from "./belady.ts";
import { leastStale } from "./least-stale.ts";
import { lfu } from "./lfu.ts";
import { lru } from "./lru.ts";
import { mixtralOffload } from "./mixtral-offload.ts";
import { moeInfinity } from "./moe-infinity.ts";
import { nextUse } from "./next-use.ts";
import { onDemand } from "./on-demand.ts";
import { oraclePrefetch } from "./oracle-prefetch.ts";
import { slru } from "./slru.ts";

const online: readonly (() => Policy)[] = [
  onDemand,
  lru,
  () => lfu(),
  () => lfu({ halfLife: 8 }),
  () => lfu({ perLayer: true }),
  () => lfu({ sinceLoaded: true }),
  () => slru(),
  () => leastStale(),
  () => leastStale({ order: "layer" }),
  () => mixtralOffload(),
  () => moeInfinity(),
  () => nextUse(),
];

const beladyOf = (iterations: readonly RecordedIteration[]) => belady(iterations.flatMap(({ stops }) => stops));
const oracleOf = (iterations: readonly RecordedIteration[]) => oraclePrefetch(iterations.flatMap(({ stops }) => stops));
const misses = ({ shape, iterations, budgetBytes }: GeneratedRun, policy: Policy) =>
  totalCounters(replay(shape, iterations, budgetBytes, policy)).misses;

/** Every token uses the same expert of each layer: `layers` distinct experts in a cycle. */
function cyclic(layers: number, tokens: number): { shape: ModelShape; iterations: readonly RecordedIteration[] } {
  const shape: ModelShape = { layers, experts: 4, expertsUsed: 1, expertBytes: new Array(layers).fill(10) };
  const stops = Array.from({ length: layers }, (_, layer) => routing(shape, layer, [[layer % 4]]));
  return { shape, iterations: Array.from({ length: tokens }, () => ({ phase: "decode", stops })) };
}

describe("every policy", () => {
  test("takes the same decisions when the same run comes again", () => {
    fc.assert(
      fc.property(generatedRuns(), ({ shape, iterations, budgetBytes }) => {
        for (const make of [...online, () => beladyOf(iterations), () => oracleOf(iterations)]) {
          const logs = [make(), make()].map((policy) => {
            const log: string[] = [];
            const onDecision = (decision: string, key: number) => void log.push(`${decision} ${key}`);
            replay(shape, iterations, budgetBytes, policy, { onDecision });
            return log;
          });
          expect(logs[0]).toEqual(logs[1]);
        }
      }),
    );
  });

  test("misses at least as often as belady when experts have the same size", () => {
    fc.assert(
      fc.property(generatedRuns({ equalSizes: true }), (run) => {
        const least = misses(run, beladyOf(run.iterations));
        for (const make of online) expect(misses(run, make())).toBeGreaterThanOrEqual(least);
      }),
      { numRuns: 500 },
    );
  });
});

describe("lru", () => {
  test("a larger cache holds all that a smaller one holds", () => {
    // One expert a stop: within a stop, hits come before misses in the order, and which is which depends on the size.
    const runs = generatedRuns({ equalSizes: true, maxTokens: 1 }).map(({ shape, iterations }) => ({
      shape,
      iterations: iterations.map(({ stops }) => ({
        phase: "decode" as const,
        stops: stops.map(({ layer, experts }) => routing(shape, layer, [[experts[0] as number]])),
      })),
    }));
    fc.assert(
      fc.property(runs, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 8 }), (run, small, more) => {
        const shape = { ...run.shape, expertsUsed: 1 };
        const held = [small, small + more].map((slots) => {
          const after: Set<number>[] = [];
          const afterStop = (cache: ExpertCache) =>
            void after.push(new Set(Array.from({ length: cache.count }, (_, i) => cache.at(i))));
          replay(shape, run.iterations, slots * 10, lru(), { afterStop });
          return after;
        });
        held[0]?.forEach((keys, stop) => {
          for (const key of keys) expect(held[1]?.[stop]?.has(key)).toBe(true);
        });
      }),
    );
  });

  test("hits exactly never below a token cycle, and always with one", () => {
    const { shape, iterations } = cyclic(6, 20);
    const cycle = tokenCycleBytes(shape);
    expect(totalCounters(replay(shape, iterations, cycle - 10, lru())).hits).toBe(0);
    expect(totalCounters(replay(shape, iterations, cycle, lru())).misses).toBe(6);
  });
});

describe("on-demand", () => {
  test("keeps nothing from token to token and reads every expert of every layer", () => {
    fc.assert(
      fc.property(generatedRuns(), ({ shape, iterations, budgetBytes }) => {
        const total = totalCounters(replay(shape, iterations, budgetBytes, onDemand()));
        expect(total.hits).toBe(0);
        expect(total.discards).toBe(total.misses);
        expect(total.evictionsForDemand).toBe(0);
      }),
    );
  });
});

describe("lfu", () => {
  const shape: ModelShape = { layers: 1, experts: 4, expertsUsed: 1, expertBytes: [10] };
  const decode = (...experts: number[]): RecordedIteration[] =>
    experts.map((expert) => ({ phase: "decode", stops: [routing(shape, 0, [[expert]])] }));
  const victims = (policy: Policy, iterations: readonly RecordedIteration[], slots: number) => {
    const log: number[] = [];
    const onDecision = (decision: string, key: number) => void (decision === "evict-demand" && log.push(key));
    replay(shape, iterations, slots * 10, policy, { onDecision });
    return log;
  };

  test("gives up the least used, between equals the one not used for longest", () => {
    expect(victims(lfu(), decode(0, 0, 1, 2), 2)).toEqual([1]);
    expect(victims(lfu(), decode(1, 0, 2), 2)).toEqual([1]);
    expect(victims(lfu(), decode(0, 1, 2), 2)).toEqual([0]);
  });

  test("remembers the uses of an expert that was evicted", () => {
    // 0 comes back as a fourth use, not as a first one, so that it outlives 1, used as often but not as lately.
    expect(victims(lfu(), decode(0, 0, 0, 1, 1, 1, 1, 2, 2, 0, 3), 2)).toEqual([0, 2, 1]);
  });

  test("forgets when told to", () => {
    const manyLongAgo = decode(0, 0, 0, 0, 0, 1, 1, 1, 1, 2);
    expect(victims(lfu(), manyLongAgo, 2)).toEqual([1]);
    expect(victims(lfu({ halfLife: 2 }), manyLongAgo, 2)).toEqual([0]);
  });

  test("per layer: a layer above its share gives way, however often its experts were used", () => {
    const two: ModelShape = { layers: 2, experts: 4, expertsUsed: 1, expertBytes: [10, 10] };
    const stops = (a: number, b: number) => [routing(two, 0, [[a]]), routing(two, 1, [[b]])];
    const favourites = [0, 1, 2, 0, 1, 2].map((expert) => ({ phase: "decode" as const, stops: stops(expert, 0) }));
    const iterations = [...favourites, { phase: "decode" as const, stops: stops(2, 1) }];
    const evicted = (policy: Policy) => {
      const log: number[] = [];
      const onDecision = (decision: string, key: number) => void (decision === "evict-demand" && log.push(key));
      replay(two, iterations, 40, policy, { onDecision });
      return log;
    };
    expect(evicted(lfu({ perLayer: true }))).toEqual([0]);
  });
});

describe("belady", () => {
  test("refuses a run that is not the recorded one", () => {
    const { shape, iterations } = cyclic(3, 2);
    const other = [...iterations, ...iterations];
    expect(() => replay(shape, other, 20, beladyOf(iterations))).toThrow(/router stop 6 is not the one/);
  });
});

describe("oracle-prefetch", () => {
  test("on demand decides as belady does", () => {
    fc.assert(
      fc.property(generatedRuns(), ({ shape, iterations, budgetBytes }) => {
        // Nobody speculates in this replay, so that only its victims count.
        const logs = [beladyOf(iterations), oracleOf(iterations)].map((policy) => {
          const log: string[] = [];
          const onDecision = (decision: string, key: number) => void log.push(`${decision} ${key}`);
          replay(shape, iterations, budgetBytes, policy, { onDecision });
          return log;
        });
        expect(logs[1]).toEqual(logs[0]);
      }),
    );
  });

  test("knows as many layers ahead as it is told", () => {
    const { shape, iterations } = cyclic(6, 2);
    const policy = oraclePrefetch(
      iterations.flatMap(({ stops }) => stops),
      { distance: 2 },
    );
    policy.begin(shape, 6);
    policy.routed(routerEvent(iterations[0]?.stops[0] as RecordedRouting));
    const held = new Set<ExpertKey>();
    const residents = {
      ...{ count: 0, usedBytes: 0, budgetBytes: 60 },
      at: () => NO_EXPERT,
      has: (candidate: ExpertKey) => held.has(candidate),
      evictable: () => false,
    };
    const read: number[] = [];
    for (let next = 0; next !== NO_EXPERT; ) {
      next = policy.prefetch({ residents, layer: 0, spareBytes: 10, phase: "decode", nowMs: 0 });
      read.push(next);
      held.add(next as ExpertKey);
    }
    expect(read).toEqual([5, 10, NO_EXPERT]);
  });

  test("reads what comes next, the soonest first, and nothing in place of what is needed sooner", () => {
    const { shape, iterations } = cyclic(6, 2);
    const policy = oracleOf(iterations);
    policy.begin(shape, 3);
    const key = (layer: number) => (layer * 4 + (layer % 4)) as ExpertKey;
    const held = new Set<ExpertKey>([key(0), key(2)]);
    const residents = {
      ...{ count: 2, usedBytes: 20, budgetBytes: 30 },
      at: (i: number) => [...held][i] as ExpertKey,
      has: (candidate: ExpertKey) => held.has(candidate),
      evictable: (candidate: ExpertKey) => held.has(candidate),
    };
    const ask = () => policy.prefetch({ residents, layer: 0, spareBytes: 10, phase: "decode", nowMs: 0 });
    policy.routed(routerEvent(iterations[0]?.stops[0] as RecordedRouting));
    // Layer 2 is there already; what does not fit is not asked for.
    expect(ask()).toBe(key(1));
    expect(policy.prefetch({ residents, layer: 0, spareBytes: 9, phase: "decode", nowMs: 0 })).toBe(NO_EXPERT);
    held.add(key(1));
    expect(ask()).toBe(key(3));
    // Layer 0 comes round after all others; layer 2 is needed sooner than layer 3.
    expect(policy.victim(residents, "prefetch", key(3))).toBe(key(0));
    held.delete(key(0));
    expect(policy.victim(residents, "prefetch", key(3))).toBe(NO_EXPERT);
    expect(policy.victim(residents, "demand", key(3))).toBe(key(2));
  });
});

describe("next-use", () => {
  test("hits below a token cycle", () => {
    const { shape, iterations } = cyclic(6, 50);
    const rate = hitRate(replay(shape, iterations, 30, nextUse()).decode);
    // Three slots, one of them in transit: the best possible is two experts of six.
    expect(rate).toBeGreaterThan(0.3);
  });

  test("a long prompt does not wipe out what decoding has learned", () => {
    const shape: ModelShape = { layers: 4, experts: 16, expertsUsed: 2, expertBytes: [10, 10, 10, 10] };
    const step = (tokens: readonly (readonly number[])[]) => [0, 1, 2, 3].map((layer) => routing(shape, layer, tokens));
    const favourites: RecordedIteration = { phase: "decode", stops: step([[0, 1]]) };
    // All 16 experts of every layer, each once: it needs twice the budget.
    const everything = Array.from({ length: 8 }, (_, i) => [2 * i, 2 * i + 1]);
    const prompt: RecordedIteration = { phase: "prefill", stops: step(everything) };
    const run = [...new Array(40).fill(favourites), prompt, favourites];
    const missesAfterPrompt = (policy: Policy) => replay(shape, run, 320, policy).decode.misses - 8;
    expect(missesAfterPrompt(lru())).toBe(6);
    expect(missesAfterPrompt(nextUse())).toBe(0);
  });

  test("keeps what the router nearly chose", () => {
    // Experts 1 and 2 were used equally, 1 last; the router now prefers 2 among those not chosen.
    const shape: ModelShape = { layers: 1, experts: 4, expertsUsed: 1, expertBytes: [10] };
    const policy = nextUse();
    expect(policy.needs.probabilities).toBe(true);
    policy.begin(shape, 3);
    const event = (expert: number, ...probabilities: number[]) => ({
      ...routing(shape, 0, [[expert]]),
      nowMs: 0,
      expertsUsed: 1,
      distinctCount: 1,
      probabilities: Float32Array.from(probabilities),
      nextGate: undefined,
      hidden: undefined,
    });
    for (const expert of [2, 1]) policy.routed(event(expert, 0.25, 0.25, 0.25, 0.25));
    policy.routed(event(0, 0.5, 0.05, 0.4, 0.05));
    const residents = {
      count: 3,
      at: (i: number) => i as never,
      has: (key: number) => key < 3,
      evictable: (key: number) => key === 1 || key === 2,
      usedBytes: 30,
      budgetBytes: 30,
    };
    expect(policy.victim(residents, "demand", 3 as never)).toBe(1);
  });
});
