/** The caches over all layers: `lru-caches.ts` and `ranked-caches.ts` do the same for different policies. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cacheExpertsOf, cacheSizesOf } from "./cache-sizes.ts";
import type { ExpertSequence } from "./expert-sequence.ts";
import { makeSequence, readAllLayers, readLayer } from "./expert-sequence.ts";
import { goldenCases } from "./golden.test-data.ts";
import { lruCaches, makeLruScratch } from "./lru-caches.ts";
import { makeRankedScratch, rankedCaches } from "./ranked-caches.ts";
import { type ReferencePolicy, referenceHits } from "./reference-caches.test-data.ts";
import { hitCurve, keysFor, POLICIES } from "./stack-curves.test-data.ts";
import { chooseExperts, madeSamples, randomNumbers, sequences } from "./traces.test-data.ts";

function hitsBySize(sequence: ExpertSequence, policy: ReferencePolicy, sizes: readonly number[]): number[] {
  const hitsAt = new Float64Array(sizes.length);
  if (policy === "lru") lruCaches(sequence, sizes, hitsAt, makeLruScratch(sequence.experts));
  else rankedCaches(sequence, keysFor(sequence, policy), sizes, hitsAt, makeRankedScratch(sequence.experts));
  let hits = 0;
  return Array.from(hitsAt, (more) => (hits += more));
}

const cases = sequences({ mostExperts: 40, mostTokens: 60 }).chain((sequence) =>
  fc.record({
    sequence: fc.constant(sequence),
    sizes: fc
      .uniqueArray(fc.integer({ min: 1, max: sequence.experts }), { minLength: 1, maxLength: 6 })
      .map((sizes) => sizes.sort((a, b) => a - b)),
  }),
);

test("several sizes in one pass are a simulation of each", () => {
  fc.assert(
    fc.property(cases, fc.constantFrom(...POLICIES), ({ sequence, sizes }, policy) => {
      expect(hitsBySize(sequence, policy, sizes)).toEqual(sizes.map((size) => referenceHits(sequence, policy, size)));
    }),
    { numRuns: 300 },
  );
});

describe.each(goldenCases)("golden case $name", ({ sequence, E }) => {
  test.each([{ policy: "lru" as const }, { policy: "belady" as const }, { policy: { sch: 16 } }])(
    "$policy as the layer curve has it",
    ({ policy }) => {
      const sizes = Array.from({ length: E }, (_, i) => i + 1);
      expect(hitsBySize(sequence, policy, sizes)).toEqual(hitCurve(sequence, policy));
    },
  );
});

test("LRU of what one token uses hits as much over all layers as in each of them", () => {
  const shape = { layers: 3, experts: 12, expertsUsed: 3 };
  const random = randomNumbers(9);
  const [sample] = madeSamples({
    ...shape,
    samples: [{ length: 80, route: () => chooseExperts(12, 3, () => random() ** 2) }],
  });
  const range = { sample, begin: 0, end: 80 };
  const all = makeSequence(36, 80, 9);
  readAllLayers(all, range, shape);
  const byLayer = [0, 1, 2].map((layer) => {
    const one = makeSequence(12, 80, 3);
    readLayer(one, range, layer, shape);
    return hitCurve(one, "lru")[2];
  });
  expect(hitsBySize(all, "lru", [9])).toEqual([byLayer.reduce((a, b) => a + b)]);
});

test("sizes are ratios of what one token uses, rounded down", () => {
  expect(cacheExpertsOf(1.5, 3, 3)).toBe(13);
  expect(cacheExpertsOf(2.3, 10, 1)).toBe(23);
  expect(cacheSizesOf([0.5, 0.6, 2], 1, 3)).toEqual([1, 6]);
  expect(cacheSizesOf([0.1], 1, 3)).toEqual([]);
});
