import { expect, test } from "vitest";
import { meanOfKnown, pearson, sampleDeviation } from "./correlation.ts";

test("Pearson's r of known lists", () => {
  expect(pearson([1, 2, 3], [2, 4, 6])).toBe(1);
  expect(pearson([1, 2, 3], [3, 2, 1])).toBe(-1);
  expect(pearson([1, 2, 3, 4], [1, 3, 2, 4])).toBeCloseTo(0.8, 12);
});

test("pairs with a gap are left out", () => {
  expect(pearson([1, null, 2, 3], [2, 9, 4, 6])).toBe(1);
  expect(pearson([1, 2, 3], [2, 4])).toBe(1);
});

test("without spread there is no correlation", () => {
  expect(pearson([0.1 + 0.2, 0.3, 0.3], [1, 2, 3])).toBeNull();
  expect(pearson([1], [1])).toBeNull();
  expect(pearson([], [])).toBeNull();
});

test("means and deviations", () => {
  expect(meanOfKnown([1, null, 3])).toBe(2);
  expect(meanOfKnown([null])).toBeNull();
  expect(sampleDeviation([1, 2, 3, 4])).toBeCloseTo(Math.sqrt(5 / 3), 12);
  expect(sampleDeviation([5])).toBe(0);
});
