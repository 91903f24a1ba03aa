import { describe, expect, test } from "vitest";
import type { Residents } from "../../cache/policy.ts";
import { routerEvent, routing } from "../../cache/replay.test-data.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { type EvictionRule, ProbabilityFrequency } from "./eviction.ts";

const shape: ModelShape = { layers: 2, experts: 4, expertsUsed: 1, expertBytes: [10, 10] };

function residents(keys: readonly number[], mayGo: (key: number) => boolean = () => true): Residents {
  return {
    count: keys.length,
    at: (i) => keys[i] as ExpertKey,
    has: (key) => keys.includes(key),
    evictable: (key) => keys.includes(key) && mayGo(key),
    usedBytes: 0,
    budgetBytes: 0,
  };
}

function used(ranking: ProbabilityFrequency, layer: number, expert: number, times: number): void {
  for (let i = 0; i < times; i++) ranking.routed(routerEvent(routing(shape, layer, [[expert]])));
}

describe("eviction by p * freq", () => {
  test("known answer: of (.5, 2), (.1, 5) and (.3, 3) the second goes", () => {
    const ranking = new ProbabilityFrequency(shape);
    ranking.forecast(0, Float32Array.from([0.5, 0.1, 0.3, 0.1]));
    used(ranking, 0, 0, 2);
    used(ranking, 0, 1, 5);
    used(ranking, 0, 2, 3);
    const scores = [0, 1, 2].map((key) => ranking.score(key as ExpertKey));
    expect(scores[0]).toBeCloseTo(1);
    expect(scores[1]).toBeCloseTo(0.5);
    expect(scores[2]).toBeCloseTo(0.9);
    expect(ranking.victim(residents([0, 1, 2]))).toBe(1);
  });

  test("one never forecast and never used has a finite score above 0", () => {
    const ranking = new ProbabilityFrequency(shape);
    expect(ranking.score(7 as ExpertKey)).toBe(1);
    ranking.promptStarts();
    expect(ranking.score(7 as ExpertKey)).toBe(1 / 4);
    ranking.forecast(1, Float32Array.from([1, 0, 0, 0]));
    expect(ranking.score(7 as ExpertKey)).toBe(1 / 40);
  });

  test("one in use is never given up, and none when all are", () => {
    const ranking = new ProbabilityFrequency(shape);
    expect(ranking.victim(residents([3, 5], (key) => key !== 3))).toBe(5);
    expect(ranking.victim(residents([3, 5], () => false))).toBe(NO_EXPERT);
  });

  test("edge 14: equal scores go to the lower index, in whatever order they lie", () => {
    for (const rule of ["pfreq", "lru", "lfu"] satisfies EvictionRule[]) {
      const ranking = new ProbabilityFrequency(shape, { rule });
      expect(ranking.victim(residents([6, 2, 5]))).toBe(2);
      expect(ranking.victim(residents([2, 6, 5]))).toBe(2);
    }
  });

  test("a forecast replaces its layer's whole row and no other", () => {
    const ranking = new ProbabilityFrequency(shape);
    ranking.promptStarts();
    ranking.forecast(0, Float32Array.from([0.7, 0.1, 0.1, 0.1]));
    expect([0, 1, 4].map((key) => ranking.score(key as ExpertKey))).toEqual([Math.fround(0.7), Math.fround(0.1), 0.25]);
  });

  test("uses outlive eviction and decay only when told to", () => {
    const forever = new ProbabilityFrequency(shape);
    const decaying = new ProbabilityFrequency(shape, { halfLifeTokens: 2 });
    for (const ranking of [forever, decaying]) {
      used(ranking, 0, 0, 8);
      used(ranking, 0, 1, 7);
    }
    expect(forever.victim(residents([0, 1]))).toBe(1);
    expect(decaying.victim(residents([0, 1]))).toBe(0);
  });

  test("lru goes by the last use or load, lfu by uses alone", () => {
    const lru = new ProbabilityFrequency(shape, { rule: "lru" });
    const lfu = new ProbabilityFrequency(shape, { rule: "lfu" });
    for (const ranking of [lru, lfu]) {
      ranking.forecast(0, Float32Array.from([1, 0, 0, 0]));
      used(ranking, 0, 0, 3);
      used(ranking, 0, 1, 1);
      ranking.loading(2 as ExpertKey);
    }
    expect(lru.victim(residents([0, 1]))).toBe(0);
    expect(lfu.victim(residents([0, 1]))).toBe(1);
    expect(lfu.victim(residents([0, 1, 2]))).toBe(2);
  });
});
