import fc from "fast-check";
import { expect, test } from "vitest";
import { spread } from "./line-labels.ts";

test("labels that have room stay where their lines end", () => {
  expect(spread([10, 40, 80], 13, 0, 100)).toEqual([10, 40, 80]);
});

test("labels that clash move apart around their middle", () => {
  expect(spread([50, 50], 10, 0, 100)).toEqual([45, 55]);
});

test("labels keep their order and their distance, and stay inside where there is room", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 8 }), (wanted) => {
      const places = spread(
        wanted.toSorted((a, b) => a - b),
        12,
        0,
        100,
      );
      for (const [i, place] of places.entries()) {
        expect(place).toBeGreaterThanOrEqual(0);
        expect(place).toBeLessThanOrEqual(100);
        if (i > 0) expect(place - places[i - 1]).toBeGreaterThanOrEqual(12 - 1e-9);
      }
    }),
  );
});
