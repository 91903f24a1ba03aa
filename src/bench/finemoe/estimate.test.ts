import * as fc from "fast-check";
import { expect, test } from "vitest";
import { medianEstimate, pairedRatio } from "./estimate.ts";

const times = fc.array(fc.double({ min: 1, max: 1000, noNaN: true }), { minLength: 1, maxLength: 30 });

test("the value lies in its interval, and the same figures always give the same one", () => {
  fc.assert(
    fc.property(times, (values) => {
      const { value, low, high } = medianEstimate(values);
      expect(low).toBeLessThanOrEqual(value);
      expect(high).toBeGreaterThanOrEqual(value);
      expect(medianEstimate(values)).toEqual({ value, low, high });
    }),
    { numRuns: 30 },
  );
});

test("one request has no interval", () => {
  expect(medianEstimate([7])).toEqual({ value: 7, low: 7, high: 7 });
});

test("what is slower by the same factor on every prompt is slower by that factor, without doubt", () => {
  const values = [100, 220, 90, 400, 150];
  const { value, low, high } = pairedRatio(
    values.map((ms) => 1.25 * ms),
    values,
  );
  for (const ratio of [value, low, high]) expect(ratio).toBeCloseTo(1.25, 12);
});

test("what is faster on some prompts and slower on others has an interval around 1", () => {
  const { low, high } = pairedRatio([90, 110, 95, 105, 100, 100], [100, 100, 100, 100, 100, 100]);
  expect(low).toBeLessThan(1);
  expect(high).toBeGreaterThan(1);
});
