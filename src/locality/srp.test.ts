import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { goldenCases, workedExample } from "./golden.test-data.ts";
import published from "./published.json" with { type: "json" };
import { memorylessScore, segmentScore, srpGain } from "./srp.ts";
import { histogram } from "./srp-histograms.test-data.ts";

describe.each(goldenCases)("golden case $name", ({ sequence, srp }) => {
  test.each(Object.entries(srp))("SRP for m = %s", (m, golden) => {
    const { total } = histogram(sequence, Number(m));
    expect([...total]).toEqual(golden.hist);
    const score = segmentScore(total, Number(m));
    expect(score.srp).toBeCloseTo(golden.F1, 12);
    expect(score.threshold).toBe(golden.alpha);
    expect(score.idealCacheRatio).toBeCloseTo(golden.rho, 12);
    expect(score.activationRate).toBeCloseTo(golden.act_r, 12);
  });
});

test("the example worked by hand", () => {
  const { total } = histogram(workedExample, 2);
  expect([...total]).toEqual([6, 8, 1]);
  expect(segmentScore(total, 2)).toEqual({
    srp: 20 / 28,
    threshold: 1,
    idealCacheRatio: 1.8,
    activationRate: expect.closeTo(1 / 3, 12),
  });
});

test("of equal scores the smallest threshold", () => {
  expect(segmentScore([1, 0, 1], 2)).toMatchObject({ srp: 1, threshold: 1 });
  // Nobody is inactive, so saying yes to all is saying yes to the active.
  expect(segmentScore([0, 2, 1], 2)).toMatchObject({ srp: 0.8, threshold: 0 });
});

test("an expert that is never used scores 0 and holds nothing", () => {
  expect(segmentScore([7, 0, 0], 2)).toEqual({ srp: 0, threshold: 0, idealCacheRatio: 0, activationRate: 0 });
});

const histograms = fc
  .integer({ min: 1, max: 12 })
  .chain((m) => fc.array(fc.integer({ min: 0, max: 50 }), { minLength: m + 1, maxLength: m + 1 }))
  .filter((counts) => counts.some((count, c) => c > 0 && count > 0));

test("never below always saying yes, never above 1", () => {
  fc.assert(
    fc.property(histograms, (counts) => {
      const { srp, activationRate, idealCacheRatio, threshold } = segmentScore(counts, counts.length - 1);
      expect(srp).toBeGreaterThanOrEqual((2 * activationRate) / (1 + activationRate) - 1e-12);
      expect(srp).toBeLessThanOrEqual(1);
      expect(idealCacheRatio).toBeGreaterThan(0);
      // At the optimum an expert belongs to the group if it is active in more than SRP / 2 of the window.
      expect(threshold).toBeLessThanOrEqual(Math.ceil(((counts.length - 1) * srp) / 2 + 1e-9));
    }),
  );
});

test("as the definition has it: the best F1 over all thresholds", () => {
  fc.assert(
    fc.property(histograms, (counts) => {
      const m = counts.length - 1;
      const f1 = (a: number) => {
        const hit = counts.reduce((sum, count, f) => (f >= a ? sum + f * count : sum), 0);
        const size = counts.reduce((sum, count, f) => sum + count * ((f >= a ? m : 0) + f), 0);
        return (2 * hit) / size;
      };
      const all = counts.map((_, a) => f1(a));
      const best = Math.max(...all);
      expect(segmentScore(counts, m)).toMatchObject({ srp: expect.closeTo(best, 12), threshold: all.indexOf(best) });
    }),
  );
});

test.each([
  [64, 8, 16, 0.3214],
  [8, 2, 16, 0.452],
  [16, 4, 16, 0.452],
  [128, 8, 16, 0.2374],
  [64, 6, 16, 0.281],
  [64, 8, 4, 0.464],
  [64, 8, 256, 0.2294],
])("a memoryless router of %i experts, %i used, over %i tokens scores %f", (experts, used, m, srp) => {
  expect(memorylessScore([used / experts], m).srp).toBeCloseTo(srp, 4);
});

const publishedBaselines = [...published.models, ...published.toyModels].flatMap(({ key, experts, topK, srp }) =>
  Object.entries(srp).map(([m, { iid, iidRhoHat }]) => ({ key, share: topK / experts, m: Number(m), iid, iidRhoHat })),
);

test.each(publishedBaselines)("published baseline of $key for m = $m", ({ share, m, iid, iidRhoHat }) => {
  const score = memorylessScore([share], m);
  expect(Math.abs(score.srp - iid)).toBeLessThanOrEqual(1e-4);
  expect(Math.abs(score.idealCacheRatio - iidRhoHat)).toBeLessThanOrEqual(1e-3);
});

test("experts of unequal load raise what a memoryless router scores", () => {
  expect(memorylessScore([0.5, 0.5], 16).srp).toBeLessThan(memorylessScore([0.9, 0.1], 16).srp);
  expect(memorylessScore([1, 0], 16)).toMatchObject({ srp: 1, idealCacheRatio: 1 });
});

test("the gain is 0 at the baseline and 1 at perfection", () => {
  expect(srpGain(0.3, 0.3)).toBe(0);
  expect(srpGain(1, 0.3)).toBe(1);
  expect(srpGain(1, 1)).toBe(0);
});
