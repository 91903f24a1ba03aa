import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExpertSelection, SELECTION_THRESHOLDS, type SelectionThreshold } from "./select-experts.ts";

const SCORES = [0.95, 0.9, 0.8, 0.5, 0.2, 0];
const X = Float32Array.from([51, 32, 15, 10, 8, 6, 4, 2], (share) => share / 128);
const Y = Float32Array.from(
  [
    ...new Array(4).fill(775),
    ...new Array(8).fill(250),
    ...new Array(27).fill(110),
    ...new Array(10).fill(95),
    ...new Array(6).fill(93),
    ...[85, 85, 84, 84, 84],
  ],
  (share) => share / 10000,
);

function counts(rule: SelectionThreshold, row: Float32Array, expertsUsed: number): number[] {
  const selection = new ExpertSelection(row.length, expertsUsed, rule);
  return SCORES.map((score) => selection.select(row, score, 3));
}

describe("selecting experts: the known answers", () => {
  test("the paper's rule", () => {
    expect(counts("paper", X, 2)).toEqual([2, 2, 2, 2, 4, 8]);
    expect(counts("paper", Y, 4)).toEqual([4, 4, 4, 12, 39, 60]);
  });

  test("one short of it: running sums up to the threshold", () => {
    expect(counts("one-short", X, 2)).toEqual([2, 2, 2, 2, 3, 8]);
    const oneShort = counts("one-short", Y, 4);
    expect(oneShort.slice(0, 5)).toEqual([4, 4, 4, 11, 38]);
    // 59 where rounding brings the sum of all above 1.
    expect([59, 60]).toContain(oneShort[5]);
  });

  test("inverted: running sums from the threshold on", () => {
    expect(counts("inverted", X, 2)).toEqual([8, 8, 8, 8, 7, 3]);
    const inverted = counts("inverted", Y, 4);
    expect(inverted.slice(0, 5)).toEqual([60, 60, 60, 53, 26]);
    // 4 where rounding keeps the sum of all below 1.
    expect([4, 5]).toContain(inverted[5]);
  });

  test("coverage: the score itself is the threshold", () => {
    expect(counts("coverage", X, 2)).toEqual([6, 5, 4, 2, 2, 2]);
    expect(counts("coverage", Y, 4)).toEqual([55, 49, 39, 12, 4, 4]);
  });
});

describe("selecting experts", () => {
  test("fixed-k takes K whatever the score, budget what the link can bring", () => {
    expect(counts("fixed-k", X, 2)).toEqual([2, 2, 2, 2, 2, 2]);
    expect(counts("budget", X, 2)).toEqual([3, 3, 3, 3, 3, 3]);
    const budget = new ExpertSelection(8, 2, "budget");
    expect([0, 1, 2, 100].map((affordable) => budget.select(X, 0.9, affordable))).toEqual([1, 1, 2, 8]);
  });

  test("edge 2: a score below 0 asks for all experts, one above 1 for K", () => {
    const selection = new ExpertSelection(8, 2, "paper");
    expect(selection.select(X, -0.3, 0)).toBe(8);
    expect(selection.select(X, 1.0000001, 0)).toBe(2);
  });

  test("edge 14: equal probabilities go to the lower index", () => {
    const selection = new ExpertSelection(6, 3, "paper");
    const count = selection.select(Float32Array.from([0.1, 0.2, 0.2, 0.1, 0.2, 0.2]), 1, 0);
    expect([...selection.experts.subarray(0, count)]).toEqual([1, 2, 4]);
  });

  test("with nothing but zeros the lowest K are taken, and all when no sum can reach the threshold", () => {
    const selection = new ExpertSelection(4, 2, "paper");
    expect(selection.select(new Float32Array(4), 1, 0)).toBe(2);
    expect([...selection.experts.subarray(0, 2)]).toEqual([0, 1]);
    expect(selection.select(new Float32Array(4), 0.5, 0)).toBe(4);
  });

  test("never an expert twice, never fewer than one, best first", () => {
    const rows = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(
        rows,
        fc.integer({ min: 1, max: 8 }),
        fc.double({ min: -1, max: 1, noNaN: true }),
        fc.nat(25),
        (row, k, score, affordable) => {
          for (const rule of SELECTION_THRESHOLDS) {
            const selection = new ExpertSelection(row.length, Math.min(k, row.length), rule);
            const count = selection.select(Float32Array.from(row), score, affordable);
            const chosen = [...selection.experts.subarray(0, count)];
            expect(new Set(chosen).size).toBe(count);
            expect(count).toBeGreaterThanOrEqual(rule === "budget" ? 1 : Math.min(k, row.length));
            for (let i = 1; i < count; i++) expect(row[chosen[i - 1]]).toBeGreaterThanOrEqual(row[chosen[i]]);
          }
        },
      ),
    );
  });
});
