import { describe, expect, test } from "vitest";
import type { Residents } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { PrefetchQueue } from "./prefetch-queue.ts";

const shape: ModelShape = { layers: 6, experts: 4, expertsUsed: 1, expertBytes: new Array(6).fill(10) };
const key = (layer: number, expert: number) => (layer * 4 + expert) as ExpertKey;

function holding(...keys: ExpertKey[]): Residents {
  return {
    count: keys.length,
    at: (i) => keys[i],
    has: (candidate) => keys.includes(candidate),
    evictable: () => true,
    usedBytes: 0,
    budgetBytes: 0,
  };
}

describe("prefetch queue", () => {
  test("known answer: a sooner layer outweighs a likelier expert", () => {
    const queue = new PrefetchQueue(shape);
    queue.advance(1);
    queue.add(key(3, 0), 0.6);
    queue.add(key(2, 0), 0.4);
    expect(queue.priorityOf(key(3, 0))).toBeCloseTo(0.3);
    expect(queue.priorityOf(key(2, 0))).toBeCloseTo(0.4);
    expect(queue.best(holding())).toBe(key(2, 0));
  });

  test("priorities change order as the running layer moves on", () => {
    const queue = new PrefetchQueue(shape);
    // Before layer 0, layer 1 is two away and layer 3 four: .2 against .225.
    queue.add(key(1, 0), 0.4);
    queue.add(key(3, 0), 0.9);
    expect(queue.best(holding())).toBe(key(3, 0));
    queue.advance(0);
    expect(queue.best(holding())).toBe(key(1, 0));
    expect(queue.counters.resorts).toBe(1);
  });

  test("edge 7: what is of a layer that has run falls out", () => {
    const queue = new PrefetchQueue(shape);
    queue.add(key(1, 0), 0.9);
    queue.add(key(2, 0), 0.1);
    queue.advance(1);
    expect(queue.best(holding())).toBe(key(2, 0));
    expect(queue.counters.passed).toBe(1);
    expect(queue.length).toBe(1);
  });

  test("what is in memory falls out, and a new iteration empties the line", () => {
    const queue = new PrefetchQueue(shape);
    queue.add(key(1, 0), 0.9);
    queue.add(key(1, 1), 0.5);
    expect(queue.best(holding(key(1, 0)))).toBe(key(1, 1));
    expect(queue.counters.resident).toBe(1);
    queue.restart();
    expect(queue.best(holding())).toBe(NO_EXPERT);
    expect(queue.counters.outdated).toBe(1);
  });

  test("a later forecast replaces an earlier one", () => {
    const queue = new PrefetchQueue(shape);
    queue.add(key(1, 0), 0.9);
    queue.add(key(1, 1), 0.5);
    queue.add(key(1, 0), 0.1);
    expect(queue.best(holding())).toBe(key(1, 1));
    expect(queue.counters).toMatchObject({ queued: 3, overwritten: 1 });
  });

  test("edge 14: equal priorities go to the lower index, and it stays in line until removed", () => {
    const queue = new PrefetchQueue(shape);
    queue.add(key(1, 3), 0.5);
    queue.add(key(1, 1), 0.5);
    queue.add(key(3, 0), 1);
    expect(queue.best(holding())).toBe(key(1, 1));
    expect(queue.best(holding())).toBe(key(1, 1));
    queue.remove(key(1, 1));
    expect(queue.best(holding())).toBe(key(1, 3));
    queue.remove(key(1, 3));
    queue.remove(key(1, 3));
    expect(queue.best(holding())).toBe(key(3, 0));
  });

  test("an expert that is not admitted stays in line for later", () => {
    const queue = new PrefetchQueue(shape);
    queue.add(key(1, 0), 0.9);
    queue.add(key(1, 1), 0.5);
    expect(queue.best(holding(), (candidate) => candidate !== key(1, 0))).toBe(key(1, 1));
    expect(queue.length).toBe(2);
  });
});
