import fc from "fast-check";
import { expect, test } from "vitest";
import { residency } from "./residency.ts";

const shape = (tokens: number, documents = new Int32Array(tokens)) => ({ tokens, experts: 4, used: 2, documents });
const rows = (values: Float32Array) =>
  Array.from({ length: values.length / 4 }, (_, t) => [...values.subarray(4 * t, 4 * t + 4)]);

test("the previous token's experts, from each document's second token on", () => {
  const ids = Int32Array.of(0, 1, 1, 2, 3, 0, 2, 3);
  expect(rows(residency(ids, shape(4, Int32Array.of(0, 0, 1, 1)), { kind: "previous" }))).toEqual([
    ...[
      [0, 0, 0, 0],
      [1, 1, 0, 0],
      [0, 0, 0, 0],
      [1, 0, 0, 1],
    ],
  ]);
});

test("an LRU cache holds what was used last; hits are touched before misses come in", () => {
  const ids = Int32Array.of(0, 1, 2, 1, 3, 2, 0, 1);
  expect(rows(residency(ids, shape(4), { kind: "lru", capacity: 3 }))).toEqual([
    ...[
      [0, 0, 0, 0],
      [1, 1, 0, 0],
      [1, 1, 1, 0],
      [0, 1, 1, 1],
    ],
  ]);
});

/** Cache order [1 (oldest), 0], then token {2, 1}: one after the other, 2 would throw out 1 just before 1 is wanted. */
test("a cache of as many experts as a token uses is the previous token's experts", () => {
  fc.assert(
    fc.property(
      fc.array(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 2, maxLength: 2 }), { minLength: 2 }),
      (chosen) => {
        const ids = Int32Array.from(chosen.flat());
        const of = (target: Parameters<typeof residency>[2]) => residency(ids, shape(chosen.length), target);
        expect(of({ kind: "lru", capacity: 2 })).toEqual(of({ kind: "previous" }));
      },
    ),
  );
});

test("a soft cache sums to its capacity while nobody is sure to be in it", () => {
  const ids = Int32Array.of(0, 1, 1, 2, 3, 0);
  const soft = residency(ids, shape(3), { kind: "soft-cache", capacity: 1, decay: 0.5 });
  const [, second, third] = rows(soft);
  for (const [e, share] of [0.5, 0.5, 0, 0].entries()) expect(second[e]).toBeCloseTo(share, 6);
  for (const [e, share] of [1 / 6, 1 / 2, 1 / 3, 0].entries()) expect(third[e]).toBeCloseTo(share, 6);
  const full = rows(residency(ids, shape(3), { kind: "soft-cache", capacity: 4, decay: 0.5 }));
  expect(Math.max(...full.flat())).toBe(1);
});

test("what stands for no expert is none", () => {
  const ids = Int32Array.of(0, -1, 0xffff, 1, 2, 3);
  expect(rows(residency(ids, shape(3), { kind: "lru", capacity: 3 }))[2]).toEqual([1, 1, 0, 0]);
  expect(rows(residency(ids, shape(3), { kind: "previous" }))[1]).toEqual([1, 0, 0, 0]);
});
