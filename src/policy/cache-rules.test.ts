/**
 * Whatever a policy is told and whenever its reads arrive, fail or are called off, it keeps the cache's rules: the cache
 * itself throws when a policy breaks one, and what it holds is checked against its budget after every step.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExpertCache } from "../cache/expert-cache.ts";
import type { LoadKind, RouterEvent } from "../cache/policy.ts";
import { type GeneratedRun, generatedRuns, randomNumbers, routerEvent } from "../cache/replay.test-data.ts";
import type { ExpertKey } from "../cache/shape.ts";
import { totalCounters } from "../cache/statistics.ts";
import { policyByName } from "./by-name.ts";

const NAMES = [
  "on-demand",
  "lru",
  "lfu",
  "moe-infinity-shipped",
  "slru",
  "slru:protected=0.3",
  "least-stale",
  "least-stale:order=layer",
  "least-stale+next-gate",
  "mixtral-offload",
  "mixtral-offload:speculate=1,buffers=1",
  "mixtral-offload:speculate=0",
  "mixtral-offload+next-gate",
  "moe-infinity",
  "moe-infinity:eamc=2,match=sum",
  "moe-infinity:eamc=2,replace=least-accessed",
  "deepspeed",
  "deepspeed:cache=off",
  "layer-stream",
  "layer-stream:cache=off",
  "warmset",
  "warmset:gate=off,confidence=0.2",
  "warmset:token=off,preference=off,learn=off",
  "warmset:prefetch=off",
];

/** A run in which everything that may happen to a read happens at random. */
function stormyRun(name: string, { shape, iterations, budgetBytes: fitting }: GeneratedRun, seed: number) {
  const random = randomNumbers(seed);
  const policy = policyByName(name);
  const { wholeLayers, nextGate } = policy.needs;
  const budgetBytes = wholeLayers ? Math.max(fitting, shape.experts * Math.max(...shape.expertBytes)) : fitting;
  const inFlight = new Map<ExpertKey, LoadKind>();
  const cache = new ExpertCache(shape, budgetBytes, policy, {
    evict() {},
    load: (key, kind) => void inFlight.set(key, kind),
  });
  const arrive = (key: ExpertKey) => {
    inFlight.delete(key);
    cache.completed(key);
  };
  const happen = () => {
    for (const [key, kind] of [...inFlight]) {
      if (random() < 0.5) arrive(key);
      else if (
        kind === "prefetch" &&
        random() < 0.2 &&
        !cache.demanded.subarray(0, cache.demandedCount).includes(key)
      ) {
        inFlight.delete(key);
        cache.cancelled(key);
      }
    }
    const pausing = policy.pausesForDemand === true && cache.awaitingCount > 0;
    if (!pausing) cache.speculate(Math.floor(random() * budgetBytes));
    expect(cache.usedBytes).toBeLessThanOrEqual(budgetBytes);
  };
  let request = 0;
  iterations.forEach(({ phase, stops }, iteration) => {
    const tokens = stops[0]?.tokens ?? 0;
    if (random() < 0.3) request++;
    const tokenIds = new Int32Array(tokens);
    cache.iteration({ phase, iteration, request, nowMs: 0, tokens, tokenIds, embeddings: undefined });
    if (policy.prefetchesAtStart === true) cache.speculate(Math.floor(random() * budgetBytes));
    for (const stop of stops) {
      const scores = Float32Array.from({ length: tokens * shape.experts }, () => random());
      const event = routerEvent(stop, nextGate && stop.layer + 1 < shape.layers ? scores : undefined);
      cache.routed(wholeLayers ? withAll(event, shape.experts) : event);
      happen();
      while (cache.awaitingCount > 0) {
        const [key] = inFlight.keys();
        if (key === undefined) throw new Error("a layer waits for reads that nobody has begun");
        arrive(key);
        if (random() < 0.3) happen();
      }
      happen();
      for (let i = 0; i < cache.demandedCount; i++) expect(cache.isResident(cache.demanded[i] as ExpertKey)).toBe(true);
    }
    cache.releaseAll();
  });
  const { learned } = policy;
  if (learned !== undefined) policyByName(name, { learned: learned.call(policy) }).begin(shape, 1);
  cache.close();
  return cache.statistics();
}

function withAll(event: RouterEvent, experts: number): RouterEvent {
  const all = Array.from({ length: experts }, (_, expert) => event.layer * experts + expert);
  const distinct = Int32Array.from(new Set([...event.distinct, ...all]));
  return { ...event, distinct, distinctCount: distinct.length };
}

describe.each(NAMES)("%s", (name) => {
  test("keeps the cache's rules whatever happens to its reads", () => {
    fc.assert(
      fc.property(generatedRuns(), fc.integer(), (run, seed) => {
        const statistics = stormyRun(name, run, seed);
        const all = totalCounters(statistics);
        const { prefetchesUsed, prefetchesWasted, prefetchesCancelled } = all;
        // `totalCounters` counts what is still unused among the wasted.
        expect(all.prefetchesIssued).toBe(prefetchesUsed + prefetchesWasted + prefetchesCancelled);
        expect(all.hits + all.lateHits + all.misses).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });
});
