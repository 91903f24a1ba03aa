import * as fc from "fast-check";
import { expect, test } from "vitest";
import { bestExperts } from "./best-experts.ts";

test("are those that sorting would give", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 1, maxLength: 40 }),
      fc.nat(40),
      (scores, at) => {
        const count = 1 + (at % scores.length);
        const best = new Int32Array(count + 2).fill(-1);
        bestExperts(Float32Array.from(scores), count, best, 1);
        const sorted = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
        expect([...best]).toEqual([-1, ...sorted.slice(0, count), -1]);
      },
    ),
  );
});

test("are as many as asked for whatever the scores are", () => {
  const best = new Int32Array(3);
  bestExperts(Float32Array.of(Number.NaN, 1, Number.NaN, -Infinity, 2), 3, best);
  expect(new Set(best).size).toBe(3);
});
