import { expect, test } from "vitest";
import { analyzeLocality } from "./analysis.ts";
import { madeTrace } from "./traces.test-data.ts";

const quick = { segmentLengths: [2], bootstrapReplicas: 0 };

test("overlap and distances of a sample counted by hand", async () => {
  const tokens = [
    [0, 1],
    [1, 2],
    [1, 2],
    [0, 3],
  ];
  const source = madeTrace({ experts: 5, expertsUsed: 2, samples: [{ length: 4, route: (_, t) => tokens[t] }] });
  const { reuse } = (await analyzeLocality(source, quick)).phases[0];
  // Shared with the token before: 1 of 2, 2 of 2, 0 of 2.
  expect(reuse.overlap).toBeCloseTo(0.5, 12);
  expect(reuse.firstUses).toBe(4);
  // Expert 1 after one token, twice; expert 2 after one; expert 0 after three.
  expect(reuse.distances.slice(0, 4)).toEqual([3, 0, 1, 0]);
  expect(reuse.medianDistance).toBe(1);
  expect(reuse.layerMedianDistance).toEqual([1]);
});

test("a single token has no token before", async () => {
  const source = madeTrace({ experts: 3, expertsUsed: 1, samples: [{ length: 1, route: () => [2] }] });
  const { reuse } = (await analyzeLocality(source, { ...quick, segmentLengths: [1] })).phases[0];
  expect(reuse).toMatchObject({ overlap: null, layerOverlap: [null], medianDistance: null, firstUses: 1 });
});

test("samples do not join", async () => {
  const samples = [0, 0].map(() => ({ length: 1, route: () => [2] }));
  const { reuse } = (
    await analyzeLocality(madeTrace({ experts: 3, expertsUsed: 1, samples }), {
      ...quick,
      segmentLengths: [1],
    })
  ).phases[0];
  expect(reuse).toMatchObject({ overlap: null, firstUses: 2 });
});
