import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitAlpha } from "./alpha-fit.test-data.ts";
import { DELETE, type EventSource, GET, SET } from "./event-batch.ts";
import { GeneratedWorkload } from "./generated-workload.ts";
import { KeyCounts } from "./key-counts.test-data.ts";
import { presetWorkload } from "./presets.ts";
import { describeWorkload } from "./stats.test-data.ts";

/** Rows of key, operation, key bytes, object bytes; a few at a time, as a file gives them. */
function listed(rows: readonly (readonly [number, number, number, number])[]): EventSource {
  let at = 0;
  return {
    name: "listed",
    async next(batch) {
      const some = rows.slice(at, at + Math.min(3, batch.capacity));
      at += some.length;
      for (const [i, [key, operation, keyBytes, objectBytes]] of some.entries()) {
        batch.idLow[i] = key;
        batch.operation[i] = operation;
        batch.keyBytes[i] = keyBytes;
        batch.objectBytes[i] = objectBytes;
      }
      return some.length;
    },
  };
}

describe("figures of a workload", () => {
  const rows = [
    ...([[1, GET, 10, 110] as const, [1, GET, 10, 110] as const, [2, SET, 20, 220] as const] as const),
    ...([[3, DELETE, 8, 8] as const, [1, GET, 10, 110] as const] as const),
  ];

  test("by hand", async () => {
    expect(await describeWorkload(listed(rows))).toEqual({
      ...{ name: "listed", events: 5, gets: 0.6, sets: 0.2, deletes: 0.2, keys: 3 },
      ...{ meanKeyBytes: 58 / 5, meanValueBytes: 500 / 5, meanObjectBytes: 338 / 3, workingSetBytes: 338 },
      ...{ alpha: undefined, oneHitEvents: 0.4, oneHitKeys: 2 / 3 },
    });
  });

  test("of no more events than asked for, and of none", async () => {
    expect(await describeWorkload(listed(rows), { events: 4 })).toMatchObject({ events: 4, deletes: 0.25 });
    const workload = new GeneratedWorkload(presetWorkload("etc"));
    expect(await describeWorkload(workload, { events: 10_001 })).toMatchObject({ events: 10_001 });
    expect(await describeWorkload(listed([]))).toMatchObject({ events: 0, gets: 0, meanObjectBytes: 0, oneHitKeys: 0 });
  });

  test("stop at a signal", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(describeWorkload(listed(rows), { signal })).rejects.toThrow("enough");
  });
});

test("counts of keys are those of a map", () => {
  const ids = fc.array(fc.tuple(fc.nat(300), fc.nat(3), fc.nat(5000)), { maxLength: 2000 });
  fc.assert(
    fc.property(ids, fc.boolean(), (events, isWide) => {
      const counts = new KeyCounts();
      const map = new Map<string, { count: number; bytes: number }>();
      for (const [low, high, bytes] of events) {
        const spread = isWide ? Math.imul(low, 0x9e3779b1) >>> 0 : low;
        counts.add(spread, high, bytes);
        map.set(`${low} ${high}`, { count: (map.get(`${low} ${high}`)?.count ?? 0) + 1, bytes });
      }
      expect(counts.keys).toBe(map.size);
      expect([...counts.counts()].sort()).toEqual([...map.values()].map(({ count }) => count).sort());
      expect(counts.totalBytes()).toBe([...map.values()].reduce((sum, { bytes }) => sum + bytes, 0));
    }),
  );
});

test("counts of keys grow", () => {
  const counts = new KeyCounts();
  for (let round = 0; round < 2; round++) for (let i = 0; i < 200_000; i++) counts.add(i, i % 7, 10);
  expect(counts.keys).toBe(200_000);
  expect(counts.counts().every((count) => count === 2)).toBe(true);
  expect(counts.totalBytes()).toBe(2e6);
});

describe("the exponent", () => {
  test.each([0.5, 1, 1.3])("of counts that follow %s to the digit", (alpha) => {
    const counts = Uint32Array.from({ length: 5000 }, (_, i) => 1e8 * (i + 1) ** -alpha);
    expect(fitAlpha(counts.reverse())).toBeCloseTo(alpha, 2);
  });

  test("of even counts is 0, and of few there is none", () => {
    expect(fitAlpha(new Uint32Array(100).fill(50))).toBeCloseTo(0);
    expect(fitAlpha(new Uint32Array(100_000).fill(24))).toBeUndefined();
    expect(fitAlpha(new Uint32Array(4).fill(1000))).toBeUndefined();
  });
});
