import fc from "fast-check";
import { expect, test } from "vitest";
import { median, quantile } from "./quantile.ts";

test("medians and outer quantiles of small samples", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
  expect(quantile([1, 2, 3, 4, 5], 0.95)).toBeCloseTo(4.8);
});

test("a quantile lies between the smallest and the largest value and grows with q", () => {
  const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 });
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(values, share, share, (sample, a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)].map((q) => quantile(sample, q));
      expect(low).toBeGreaterThanOrEqual(Math.min(...sample));
      expect(high).toBeLessThanOrEqual(Math.max(...sample));
      expect(low).toBeLessThanOrEqual(high + 1e-9);
    }),
  );
});
