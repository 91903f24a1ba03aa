import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lru } from "../policy/lru.ts";
import { nextUse } from "../policy/next-use.ts";
import { type CacheSink, ExpertCache, PolicyDecisionError } from "./expert-cache.ts";
import { LayerExceedsBudgetError } from "./layer-budget.ts";
import { type EvictionReason, type LinkState, NEEDS_NOTHING, type Policy, type Residents } from "./policy.ts";
import { type GeneratedRun, generatedRuns, randomNumbers, replay, routerEvent, routing } from "./replay.test-data.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "./shape.ts";
import { type CacheStatistics, evictionsOf, hitRate, totalCounters } from "./statistics.ts";

const shape: ModelShape = { layers: 2, experts: 4, expertsUsed: 1, expertBytes: [10, 10] };
const key = (layer: number, expert: number) => (layer * 4 + expert) as ExpertKey;

/** A cache over a sink that only keeps what it was told; reads are completed by hand. */
function openCache(budgetBytes: number, policy: Policy = lru()) {
  const told: string[] = [];
  const sink: CacheSink = {
    evict: (victim) => void told.push(`evict ${victim}`),
    load: (incoming, kind) => void told.push(`${kind} ${incoming}`),
  };
  const cache = new ExpertCache(shape, budgetBytes, policy, sink);
  cache.iteration({
    phase: "decode",
    iteration: 0,
    tokens: 1,
    tokenIds: new Int32Array(1),
    embeddings: undefined,
    request: 0,
    nowMs: 0,
  });
  const demand = (layer: number, ...experts: number[]) =>
    cache.routed(
      routerEvent(
        routing(
          shape,
          layer,
          experts.map((expert) => [expert]),
        ),
      ),
    );
  return { cache, told, demand };
}

/** An LRU that reads ahead what it is told to. */
function lruWithPrefetches(...wanted: ExpertKey[]): Policy {
  const base = lru();
  base.prefetch = (link: LinkState) => {
    while (wanted.length > 0) {
      const next = wanted.shift() as ExpertKey;
      if (!link.residents.has(next)) return next;
    }
    return NO_EXPERT;
  };
  return base;
}

describe("demand", () => {
  test("a miss is read, then it is a hit; the layer waits until the read is complete", () => {
    const { cache, told, demand } = openCache(40);
    demand(0, 1);
    expect(told).toEqual(["demand 1"]);
    expect(cache.awaitingCount).toBe(1);
    cache.completed(key(0, 1));
    expect(cache.awaitingCount).toBe(0);
    demand(1, 0);
    cache.completed(key(1, 0));
    demand(0, 1);
    expect(told).toEqual(["demand 1", "demand 4"]);
    expect(cache.statistics().decode).toMatchObject({ hits: 1, misses: 2, bytesDemanded: 20 });
  });

  test("hits are touched and pinned before the first eviction", () => {
    const { cache, told, demand } = openCache(30);
    demand(0, 0, 1, 2);
    for (const expert of [0, 1, 2]) cache.completed(key(0, expert));
    // 0 is the oldest, but the same layer needs it: 1 has to go.
    demand(0, 3, 0);
    expect(told.slice(3)).toEqual(["evict 1", "demand 3"]);
    expect([...cache.demanded.subarray(0, cache.demandedCount)]).toEqual([0, 3]);
  });

  test("a hit is older than the misses of its own layer", () => {
    const { cache, told, demand } = openCache(20);
    demand(0, 0);
    cache.completed(key(0, 0));
    demand(0, 1, 0);
    cache.completed(key(0, 1));
    demand(1, 0);
    expect(told.slice(2)).toEqual(["evict 0", "demand 4"]);
  });

  test("a layer larger than the budget is refused before anything happens, with the bytes", () => {
    const { cache, told, demand } = openCache(20);
    demand(0, 0, 1);
    for (const expert of [0, 1]) cache.completed(key(0, expert));
    const before = cache.statistics();
    expect(() => demand(1, 0, 1, 2)).toThrow(LayerExceedsBudgetError);
    expect(() => demand(1, 0, 1, 2)).toThrow(
      expect.objectContaining({ layer: 1, neededBytes: 30, availableBytes: 20 }),
    );
    expect(told).toHaveLength(2);
    expect(cache.statistics()).toEqual(before);
    demand(0, 0);
    expect(cache.awaitingCount).toBe(0);
  });

  test("a failed read leaves the expert absent and the layer incomplete", () => {
    const { cache, demand } = openCache(40);
    demand(0, 1);
    cache.cancelled(key(0, 1));
    expect(cache.has(key(0, 1))).toBe(false);
    expect(cache.usedBytes).toBe(0);
    expect(cache.awaitingCount).toBe(1);
  });

  test("a policy that refuses a demand read loses the choice, not the read", () => {
    const { cache, told, demand } = openCache(10, { ...noPolicy(), victim: () => NO_EXPERT });
    demand(0, 0);
    cache.completed(key(0, 0));
    demand(1, 0);
    expect(told).toEqual(["demand 0", "evict 0", "demand 4"]);
  });

  test("a policy that gives up a pinned expert is named", () => {
    const { cache, demand } = openCache(20, { ...noPolicy(), victim: () => key(0, 0) });
    demand(0, 0, 1);
    for (const expert of [0, 1]) cache.completed(key(0, expert));
    expect(() => demand(0, 0, 2)).toThrow(PolicyDecisionError);
  });
});

describe("speculation", () => {
  test("stops at the spare bytes and counts used and unused reads", () => {
    const { cache, told, demand } = openCache(80, lruWithPrefetches(key(1, 0), key(1, 1), key(1, 2)));
    demand(0, 0);
    expect(cache.speculate(25)).toBe(20);
    expect(told).toEqual(["demand 0", "prefetch 4", "prefetch 5"]);
    for (const done of [key(0, 0), key(1, 0), key(1, 1)]) cache.completed(done);
    demand(1, 0);
    const statistics = cache.statistics();
    expect(statistics.decode).toMatchObject({ hits: 1, prefetchesIssued: 2, prefetchesUsed: 1, bytesPrefetched: 20 });
    expect(statistics).toMatchObject({ prefetchesUnused: 1, bytesUnused: 10 });
    expect(totalCounters(statistics)).toMatchObject({ prefetchesWasted: 1, bytesWasted: 10 });
  });

  test("an expert demanded while in flight is a late hit and is not read twice", () => {
    const { cache, told, demand } = openCache(80, lruWithPrefetches(key(1, 0)));
    demand(0, 0);
    cache.speculate(10);
    demand(1, 0);
    expect(told).toEqual(["demand 0", "prefetch 4"]);
    expect(cache.awaitingCount).toBe(1);
    cache.completed(key(1, 0));
    expect(cache.awaitingCount).toBe(0);
    expect(cache.statistics().decode).toMatchObject({ lateHits: 1, prefetchesUsed: 1 });
  });

  test("an unused read is protected from other speculative reads until its layer has run", () => {
    const { cache, told, demand } = openCache(20, lruWithPrefetches(key(1, 0), key(1, 1), key(0, 2)));
    demand(0, 0);
    cache.completed(key(0, 0));
    cache.speculate(10);
    cache.completed(key(1, 0));
    // One is pinned, the other protected: no room for key(1, 1).
    expect(cache.speculate(10)).toBe(0);
    demand(1, 3);
    cache.completed(key(1, 3));
    expect(told.slice(2)).toEqual(["evict 0", "demand 7"]);
    expect(cache.speculate(10)).toBe(10);
    expect(told.slice(4)).toEqual(["evict 4", "prefetch 2"]);
    expect(cache.statistics().decode).toMatchObject({ prefetchesWasted: 1, bytesWasted: 10, evictionsForPrefetch: 1 });
  });

  test("a demand read may evict a protected one", () => {
    const { cache, told, demand } = openCache(20, lruWithPrefetches(key(1, 0)));
    demand(0, 0);
    cache.completed(key(0, 0));
    cache.speculate(10);
    cache.completed(key(1, 0));
    demand(0, 0, 1);
    expect(told.slice(2)).toEqual(["evict 4", "demand 1"]);
  });

  test("a miss that finds only speculative reads in flight is read when one of them ends", () => {
    const { cache, told, demand } = openCache(20, lruWithPrefetches(key(1, 0), key(0, 3)));
    demand(0, 0);
    cache.completed(key(0, 0));
    cache.speculate(10);
    demand(1, 1, 2);
    // One slot is the old expert's, the other is in flight and not wanted.
    expect(told.slice(2)).toEqual(["evict 0", "demand 5"]);
    expect(cache.awaitingCount).toBe(2);
    expect(cache.speculate(10)).toBe(0);
    cache.completed(key(1, 0));
    expect(told.slice(4)).toEqual(["evict 4", "demand 6"]);
    cache.completed(key(1, 1));
    cache.completed(key(1, 2));
    expect(cache.awaitingCount).toBe(0);
  });

  test("does not take room that a miss is waiting for", () => {
    const reads: string[] = [];
    const uneven: ModelShape = { layers: 2, experts: 4, expertsUsed: 1, expertBytes: [10, 30] };
    const cache = new ExpertCache(uneven, 40, lruWithPrefetches(key(0, 1), key(0, 2), key(0, 3)), {
      evict: (victim) => void reads.push(`evict ${victim}`),
      load: (incoming, kind) => void reads.push(`${kind} ${incoming}`),
    });
    cache.routed(routerEvent(routing(uneven, 0, [[0]])));
    cache.completed(key(0, 0));
    cache.speculate(20);
    // 20 of 40 bytes are in flight: too little is left for the miss, enough for one more speculative read.
    cache.routed(routerEvent(routing(uneven, 1, [[0]])));
    expect(cache.speculate(10)).toBe(0);
    cache.completed(key(0, 1));
    expect(reads).toEqual(["demand 0", "prefetch 1", "prefetch 2", "evict 0", "evict 1", "demand 4"]);
  });

  test("a cancelled read frees its room", () => {
    const { cache, told, demand } = openCache(20, lruWithPrefetches(key(1, 0)));
    demand(0, 0);
    cache.completed(key(0, 0));
    cache.speculate(10);
    demand(1, 1, 2);
    cache.cancelled(key(1, 0));
    expect(told.slice(4)).toEqual(["demand 6"]);
    expect(cache.statistics().decode).toMatchObject({ prefetchesCancelled: 1, bytesCancelled: 10 });
  });

  test("a policy that prefetches a resident is named", () => {
    const { cache, demand } = openCache(40, { ...noPolicy(), prefetch: () => key(0, 0) });
    demand(0, 0);
    expect(() => cache.speculate(10)).toThrow(PolicyDecisionError);
  });
});

describe("with random routing, timing and speculation", () => {
  for (const base of [lru, nextUse])
    test(`${base().name} keeps every invariant`, () => {
      fc.assert(
        fc.property(generatedRuns(), fc.integer(), (run, seed) => {
          const { statistics, evictions } = runWithRandomTiming(run, base(), seed);
          const total = totalCounters(statistics);
          const lookUps = run.iterations.flatMap(({ stops }) => stops).reduce((sum, s) => sum + s.distinct.length, 0);
          expect(total.hits + total.lateHits + total.misses).toBe(lookUps);
          expect(total.prefetchesIssued).toBe(
            total.prefetchesUsed + total.prefetchesWasted + total.prefetchesCancelled,
          );
          expect(evictionsOf(total)).toBe(evictions);
        }),
        { numRuns: 300 },
      );
    });

  test("nothing is evicted and the second pass only hits when everything fits", () => {
    fc.assert(
      fc.property(generatedRuns(), (run) => {
        const everything = run.shape.expertBytes.reduce((sum, bytes) => sum + bytes * run.shape.experts, 0);
        const once = replay(run.shape, run.iterations, everything, lru());
        const twice = replay(run.shape, [...run.iterations, ...run.iterations], everything, lru());
        expect(totalCounters(twice).misses).toBe(totalCounters(once).misses);
        expect(evictionsOf(totalCounters(twice))).toBe(0);
      }),
    );
  });
});

test("a hit rate without look-ups is 0", () => {
  expect(hitRate(openCache(40).cache.statistics().prefill)).toBe(0);
});

function noPolicy(): Policy {
  return {
    name: "none",
    needs: NEEDS_NOTHING,
    begin() {},
    iteration() {},
    routed() {},
    prefetch: () => NO_EXPERT,
    victim: () => NO_EXPERT,
    end() {},
  };
}

/**
 * A run whose reads end in random order and late, with random speculation and cancelling, watched from the sink: the
 * sink keeps its own books and compares.
 */
function runWithRandomTiming(
  { shape, iterations, budgetBytes }: GeneratedRun,
  base: Policy,
  seed: number,
): { statistics: CacheStatistics; evictions: number } {
  const random = randomNumbers(seed);
  const anyExpert = () => Math.floor(random() * shape.layers * shape.experts) as ExpertKey;
  const sizeOf = (k: ExpertKey) => shape.expertBytes[Math.floor(k / shape.experts)] as number;
  const inFlight = new Map<ExpertKey, string>();
  const complete = new Set<ExpertKey>();
  const unused = new Set<number>();
  let pinned = new Set<number>();
  let evictions = 0;
  let cache: ExpertCache;
  const policy: Policy = Object.assign(Object.create(base) as Policy, {
    begin: base.begin.bind(base),
    iteration: base.iteration.bind(base),
    routed: base.routed.bind(base),
    loading: base.loading?.bind(base),
    end: base.end.bind(base),
    prefetch(link: LinkState) {
      const wanted = anyExpert();
      return random() < 0.7 && !link.residents.has(wanted) ? wanted : NO_EXPERT;
    },
    victim(candidates: Residents, reason: EvictionReason, incoming: ExpertKey) {
      return reason === "prefetch" && random() < 0.2 ? NO_EXPERT : base.victim(candidates, reason, incoming);
    },
  });
  const check = () => {
    let used = 0;
    for (const k of complete) used += sizeOf(k);
    for (const k of inFlight.keys()) used += sizeOf(k);
    expect(used).toBe(cache.usedBytes);
    expect(used).toBeLessThanOrEqual(budgetBytes);
    const listed = new Set(Array.from({ length: cache.count }, (_, i) => cache.at(i)));
    expect(listed).toEqual(new Set([...complete, ...inFlight.keys()]));
    expect(cache.statistics().prefetchesUnused).toBe(unused.size);
  };
  cache = new ExpertCache(shape, budgetBytes, policy, {
    evict(k) {
      expect(complete.delete(k)).toBe(true);
      expect(pinned.has(k)).toBe(false);
      unused.delete(k);
      evictions++;
    },
    load(k, kind) {
      expect(complete.has(k) || inFlight.has(k)).toBe(false);
      inFlight.set(k, kind);
      if (kind === "prefetch") unused.add(k);
      check();
    },
  });
  const finishOne = () => {
    const k = [...inFlight.keys()][Math.floor(random() * inFlight.size)] as ExpertKey;
    const cancel = inFlight.get(k) === "prefetch" && !pinned.has(k) && random() < 0.2;
    inFlight.delete(k);
    if (cancel) {
      unused.delete(k);
      cache.cancelled(k);
    } else {
      complete.add(k);
      cache.completed(k);
    }
    check();
  };
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
      pinned = new Set(stop.distinct);
      for (const k of pinned) unused.delete(k);
      cache.routed(routerEvent(stop));
      if (random() < 0.5) cache.speculate(random() * 30);
      while (cache.awaitingCount > 0) finishOne();
      for (const k of stop.distinct) expect(complete.has(k as ExpertKey)).toBe(true);
      if (random() < 0.5) cache.speculate(random() * 30);
      while (inFlight.size > 0 && random() < 0.5) finishOne();
    }
  });
  cache.releaseAll();
  return { statistics: cache.statistics(), evictions };
}
