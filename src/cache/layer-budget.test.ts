import { describe, expect, test } from "vitest";
import { largestMicroBatch, smallestBudgetBytes } from "./layer-budget.ts";
import type { ModelShape } from "./shape.ts";

const shape: ModelShape = { layers: 3, experts: 8, expertsUsed: 2, expertBytes: [100, 300, 200] };

describe("what one layer can need at once", () => {
  test("is k experts of the largest layer per token, until the layer is complete", () => {
    expect(smallestBudgetBytes(shape, 1)).toBe(600);
    expect(smallestBudgetBytes(shape, 3)).toBe(1800);
    expect(smallestBudgetBytes(shape, 4)).toBe(2400);
    expect(smallestBudgetBytes(shape, 512)).toBe(2400);
  });

  test("bounds the micro-batch", () => {
    expect(largestMicroBatch(shape, 599)).toBe(0);
    expect(largestMicroBatch(shape, 600)).toBe(1);
    expect(largestMicroBatch(shape, 1799)).toBe(2);
    expect(largestMicroBatch(shape, 2399)).toBe(3);
    expect(largestMicroBatch(shape, 2400)).toBe(Number.POSITIVE_INFINITY);
  });

  test("is a whole layer where a policy brings in whole layers", () => {
    const demand = { wholeLayers: true };
    expect(smallestBudgetBytes(shape, 1, demand)).toBe(2400);
    expect(largestMicroBatch(shape, 2399, demand)).toBe(0);
    expect(largestMicroBatch(shape, 2400, demand)).toBe(Number.POSITIVE_INFINITY);
  });

  test("the largest micro-batch fits the budget and one more token does not", () => {
    for (let budget = 600; budget < 2400; budget += 37) {
      const tokens = largestMicroBatch(shape, budget);
      expect(smallestBudgetBytes(shape, tokens)).toBeLessThanOrEqual(budget);
      expect(smallestBudgetBytes(shape, tokens + 1)).toBeGreaterThan(budget);
    }
  });
});
