import { describe, expect, test } from "vitest";
import { ExpertCache } from "../cache/expert-cache.ts";
import type { LoadKind } from "../cache/policy.ts";
import { routerEvent, routing } from "../cache/replay.test-data.ts";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import { lru } from "./lru.ts";
import { type NextGateOptions, nextGate } from "./next-gate.ts";
import { nextUse } from "./next-use.ts";
import { onDemand } from "./on-demand.ts";

const shape: ModelShape = { layers: 3, experts: 6, expertsUsed: 2, expertBytes: [10, 10, 10] };

function open(budgetBytes: number, options: NextGateOptions = {}, base = lru()) {
  const reads: string[] = [];
  const evicted: number[] = [];
  const pending: ExpertKey[] = [];
  const cache = new ExpertCache(shape, budgetBytes, nextGate(base, { minConfidence: 0.15, ...options }), {
    evict: (key) => void evicted.push(key),
    load(key, kind: LoadKind) {
      reads.push(`${kind} ${key}`);
      pending.push(key);
    },
  });
  const iteration = (tokens: number) =>
    cache.iteration({
      phase: "decode",
      iteration: 0,
      tokens,
      tokenIds: new Int32Array(tokens),
      embeddings: undefined,
      request: 0,
      nowMs: 0,
    });
  /** A stop whose next layer's router gives these scores, rows of six; reads done, then `spareBytes` to speculate. */
  const stop = (layer: number, tokens: number[][], scores: number[], spareBytes: number) => {
    cache.routed(routerEvent(routing(shape, layer, tokens), Float32Array.from(scores)));
    for (const key of pending.splice(0)) cache.completed(key);
    reads.length = 0;
    cache.speculate(spareBytes);
    for (const key of pending.splice(0)) cache.completed(key);
    return [...reads];
  };
  iteration(1);
  return { cache, stop, iteration, evicted };
}

describe("next-gate", () => {
  test("reads the next layer's best experts in the order of their scores", () => {
    const { stop } = open(200);
    expect(stop(0, [[0, 1]], [-3, 1, 0.5, 2, -1, 7], 100)).toEqual(["prefetch 11", "prefetch 9"]);
  });

  test("reads what fits the spare bytes, and the rest when there is more", () => {
    const { stop, cache } = open(200);
    expect(stop(0, [[0, 1]], [-3, 1, 0.5, 7, -1, 2], 15)).toEqual(["prefetch 9"]);
    expect(cache.speculate(15)).toBe(10);
    expect(cache.has(11 as ExpertKey)).toBe(true);
    expect(cache.speculate(15)).toBe(0);
  });

  test("skips what is resident", () => {
    const { stop, iteration } = open(200);
    stop(1, [[3, 0]], [], 0);
    iteration(1);
    expect(stop(0, [[0, 1]], [-3, 1, 0.5, 7, -1, 2], 100)).toEqual(["prefetch 11"]);
  });

  test("width adds ranks", () => {
    const scores = [-3, 1, 0.5, 7, -1, 2];
    const all = ["prefetch 9", "prefetch 11", "prefetch 7"];
    expect(open(200, { width: 1, minConfidence: 0.05 }).stop(0, [[0, 1]], scores, 100)).toEqual(all);
    expect(open(200, { minConfidence: 0.05 }).stop(0, [[0, 1]], scores, 100)).toEqual(all.slice(0, 2));
  });

  test("a long prompt's tokens vote: first what most of them are likely to choose", () => {
    const { stop, iteration } = open(300);
    const rows = [
      [9, 8, 0, 0, 0, 0], // 0 and 1
      [0, 8, 9, 0, 0, 0], // 2 and 1
      [0, 8, 0, 9, 0, 0], // 3 and 1
    ];
    iteration(60);
    const scores = Array.from({ length: 60 }, (_, i) => rows[i % 3]).flat();
    expect(stop(0, Array(60).fill([0, 1]), scores, 100)).toEqual([
      "prefetch 7",
      "prefetch 6",
      "prefetch 8",
      "prefetch 9",
    ]);
  });

  test("a short prompt reads nothing ahead", () => {
    const { stop, iteration } = open(300);
    iteration(3);
    expect(stop(0, Array(3).fill([0, 1]), Array(3).fill([9, 8, 0, 0, 0, 0]).flat(), 100)).toEqual([]);
  });

  test("stops reading at a margin that keeps being wrong, and starts again when it is right", () => {
    const predicting4And5 = [0, 0, 0, 0, 9, 8];
    const { stop, iteration } = open(360, { minConfidence: 0.5 }, onDemand());
    const { stop: fresh } = open(360, { minConfidence: 0.5 }, onDemand());
    const token = (chosen: number[]) => {
      iteration(1);
      stop(0, [[0, 1]], predicting4And5, 1);
      stop(1, [chosen], [], 0);
    };
    expect(fresh(0, [[0, 1]], predicting4And5, 100)).toEqual(["prefetch 10", "prefetch 11"]);
    // The first is always right, the second, with its smaller margin, never.
    for (let i = 0; i < 60; i++) token([4, 0]);
    iteration(1);
    expect(stop(0, [[0, 1]], predicting4And5, 100)).toEqual(["prefetch 10"]);
    for (let i = 0; i < 400; i++) token([4, 5]);
    iteration(1);
    expect(stop(0, [[0, 1]], predicting4And5, 100)).toEqual(["prefetch 10", "prefetch 11"]);
  });

  test("learns nothing from experts that were resident: they need no reading", () => {
    const { stop, iteration } = open(360, { minConfidence: 0.5 });
    stop(1, [[4, 5]], [], 0);
    for (let i = 0; i < 60; i++) {
      iteration(1);
      stop(0, [[0, 1]], [0, 0, 0, 0, 9, 8], 1);
      stop(1, [[2, 3]], [], 0);
    }
    iteration(1);
    expect(stop(0, [[0, 1]], [9, 8, 0, 0, 0, 0], 100)).toEqual(["prefetch 6", "prefetch 7"]);
  });

  test("has nothing to read after the last layer or without scores", () => {
    const { stop, cache } = open(200);
    expect(stop(2, [[0, 1]], [9, 8, 7, 6, 5, 4], 100)).toEqual([]);
    cache.routed(routerEvent(routing(shape, 0, [[0, 1]])));
    expect(cache.speculate(100)).toBe(0);
  });

  test("lets the base choose the victims, which sees what was read ahead", () => {
    const { stop, evicted, iteration } = open(40);
    stop(0, [[0, 1]], [-3, 1, 0.5, 7, -1, 2], 100);
    // Layer 1 decides otherwise: the two useless reads are older than nothing but layer 0's experts.
    stop(1, [[0, 1]], [], 0);
    expect(evicted).toEqual([0, 1]);
    iteration(1);
    stop(2, [[0, 1]], [], 0);
    expect(evicted).toEqual([0, 1, 9, 11]);
  });

  test("composes with any base", () => {
    expect(nextGate(nextUse()).name).toBe("next-use+next-gate");
    expect(nextGate(nextUse()).needs).toMatchObject({ probabilities: true, nextGate: true });
    const { stop, cache } = open(200, {}, onDemand());
    stop(0, [[0, 1]], [-3, 1, 0.5, 7, -1, 2], 100);
    stop(1, [[3, 5]], [], 0);
    expect(cache.statistics().decode).toMatchObject({ hits: 2, discards: 2 });
  });
});
