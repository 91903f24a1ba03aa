import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import { EamCollection } from "./eam-collection.ts";

const open = (capacity: number, replace: "similar" | "least-accessed" = "similar") =>
  new EamCollection({ layers: 2, experts: 3, capacity, replace });

/** One whole request. */
function request(collection: EamCollection, counts: readonly number[]): void {
  counts.forEach((count, key) => {
    if (count > 0) collection.add(key, count);
  });
  collection.finish();
}

function alike(collection: EamCollection, counts: readonly number[]): number[] {
  const into = new Int32Array(collection.size);
  counts.forEach((count, key) => {
    if (count > 0) collection.add(key, count);
  });
  return [...into.subarray(0, collection.mostAlike(into))];
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((sum, value, i) => sum + value * (y[i] as number), 0);
  const norms = Math.sqrt(dot(a, a) * dot(b, b));
  return norms === 0 ? 0 : dot(a, b) / norms;
}

describe("cosines", () => {
  test("kept up count by count are those of the whole flattened matrices", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = randomNumbers(seed);
        const counts = () => Array.from({ length: 6 }, () => Math.floor(random() ** 2 * 5));
        const collection = open(4);
        const kept = [0, 1, 2].map(counts).filter((row) => row.some((count) => count > 0));
        for (const row of kept) request(collection, row);
        const running = new Array<number>(6).fill(0);
        for (let step = 0; step < 10; step++) {
          const key = Math.floor(random() * 6);
          const tokens = 1 + Math.floor(random() * 3);
          collection.add(key, tokens);
          running[key] = (running[key] as number) + tokens;
          for (const [i, row] of kept.entries()) expect(collection.similarity(i)).toBeCloseTo(cosine(row, running), 6);
        }
      }),
    );
  });

  test("order the entries, the first of equals first", () => {
    const collection = open(4);
    for (const row of [
      [1, 0, 0, 1, 0, 0],
      [0, 1, 0, 0, 1, 0],
      [1, 0, 0, 1, 0, 0],
      [1, 1, 0, 0, 0, 0],
    ])
      request(collection, row);
    expect(alike(collection, [2, 0, 0, 2, 0, 0])).toEqual([0, 2, 3, 1]);
  });
});

describe("a full collection", () => {
  test("replaces the entry most like the new one", () => {
    const collection = open(2);
    request(collection, [5, 0, 0, 5, 0, 0]);
    request(collection, [0, 5, 0, 0, 5, 0]);
    request(collection, [0, 9, 1, 0, 9, 1]);
    expect([...collection.saved()]).toEqual([5, 0, 0, 5, 0, 0, 0, 9, 1, 0, 9, 1]);
    expect(collection.size).toBe(2);
  });

  test("or the one that predicted least often, when told to", () => {
    const collection = open(2, "least-accessed");
    request(collection, [5, 0, 0, 5, 0, 0]);
    request(collection, [0, 5, 0, 0, 5, 0]);
    collection.accessed(1);
    request(collection, [0, 9, 1, 0, 9, 1]);
    expect([...collection.saved()]).toEqual([0, 9, 1, 0, 9, 1, 0, 5, 0, 0, 5, 0]);
  });
});

test("a request that used nothing is not kept", () => {
  const collection = open(2);
  collection.finish();
  expect(collection.size).toBe(0);
});

test("shares are each layer's counts over their sum, and nothing where there are none", () => {
  const collection = open(2);
  request(collection, [3, 1, 0, 0, 0, 0]);
  const shares = new Float64Array(6);
  collection.addShares(0, 2, shares);
  expect([...shares]).toEqual([1.5, 0.5, 0, 0, 0, 0]);
});
