import { expect, test } from "vitest";
import { distanceBins } from "./reuse.ts";

test("distances are binned by powers of two up to the last that occurs", () => {
  expect(distanceBins([5, 4, 3, 2, 1, 0, 7, 0, 0])).toEqual([
    { from: 1, to: 1, uses: 5 },
    { from: 2, to: 2, uses: 4 },
    { from: 3, to: 4, uses: 5 },
    { from: 5, to: 7, uses: 8 },
  ]);
  expect(distanceBins([0, 0])).toEqual([]);
});
