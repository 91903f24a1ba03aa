import { expect, it } from "vitest";
import type { DriftFigures, LocalityFigures } from "./figures.ts";
import { type JudgedVariant, judgeGates, missesOfCachePrior } from "./ship-gates.ts";

const exactly = (value: number) => ({ value, interval: null });

interface Figures {
  readonly kl?: number;
  readonly misses?: number;
  readonly perplexityChange?: number;
  readonly generatedChange?: number;
  readonly loadCv?: number;
  readonly leastUse?: number;
  readonly distinctExperts?: number;
}

function variant(figures: Figures): JudgedVariant {
  const { kl = 0, misses = 10, perplexityChange = 0, loadCv = 0.3, leastUse = 0.2, distinctExperts = 30 } = figures;
  const cell = { scope: "layer", policy: "lru", accounting: "set", expertsPerLayer: 8 } as const;
  const forced = {
    ...{ eor: exactly(0.3), loadCv, leastUse, distinctExperts },
    caches: [{ ...cell, hitRate: exactly(0.5), missesPerToken: exactly(misses), bytesPerToken: 0, missesChange: null }],
  } as unknown as LocalityFigures;
  const drift = {
    ...{ meanKl: exactly(kl), p99Kl: 10 * kl, perplexityChange: exactly(perplexityChange) },
  } as unknown as DriftFigures;
  const { generatedChange } = figures;
  return {
    ...{ forced, drift },
    generated: generatedChange === undefined ? null : { ...forced, eorChange: exactly(generatedChange) },
  };
}

const base = variant({});
const sweep = [variant({ kl: 0.04, misses: 4 }), variant({ kl: 0.01, misses: 8 })];
const passed = (own: JudgedVariant, prior = sweep) =>
  Object.fromEntries(judgeGates(own, base, prior, 8).map((gate) => [gate.name, gate.passed]));

it("reads the misses of cache-prior routing off the line through its lambdas", () => {
  expect(missesOfCachePrior(0, base, sweep, 8)).toBe(10);
  expect(missesOfCachePrior(0.005, base, sweep, 8)).toBeCloseTo(9, 12);
  expect(missesOfCachePrior(0.02, base, sweep, 8)).toBeCloseTo(8 - 4 / 3, 12);
  expect(missesOfCachePrior(0.05, base, sweep, 8)).toBeNull();
});

it("wants 5 % fewer misses than that, and leaves it open where nothing was measured", () => {
  const name = "misses at 8 experts a layer";
  expect(passed(variant({ kl: 0.01, misses: 7.6 }))[name]).toBe(true);
  expect(passed(variant({ kl: 0.01, misses: 7.7 }))[name]).toBe(false);
  expect(passed(variant({ kl: 0.05, misses: 1 }))[name]).toBeNull();
  expect(passed(variant({ kl: 0.01, misses: 1 }), [])[name]).toBeNull();
});

it("judges predictions and generated text by their limits", () => {
  expect(passed(variant({ kl: 0.02, perplexityChange: 0.01, generatedChange: 0.08 }))).toMatchObject({
    ...{ perplexity: true, "KL of the logits": true, "overlap of generated text": true, tasks: null },
  });
  expect(passed(variant({ kl: 0.021, perplexityChange: 0.0101, generatedChange: 0.079 }))).toMatchObject({
    ...{ perplexity: false, "KL of the logits": false, "overlap of generated text": false },
  });
  expect(passed(variant({}))["overlap of generated text"]).toBeNull();
});

it("sees a collapse, but not what the base has itself", () => {
  const collapsed = passed(variant({ loadCv: 0.6, leastUse: 0.005, distinctExperts: 26 }));
  expect(collapsed).toMatchObject({
    ...{ "load CV": false, "least used expert": false, "experts used in 2,048 tokens": false },
  });
  const uneven = variant({ loadCv: 0.8, leastUse: 0 });
  const same = judgeGates(variant({ loadCv: 0.85, leastUse: 0 }), uneven, [], 8);
  expect(same.filter(({ passed: met }) => met === false)).toEqual([]);
});
