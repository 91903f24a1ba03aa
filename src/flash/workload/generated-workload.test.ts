import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createEventBatch, DELETE, GET, SET } from "./event-batch.ts";
import { GeneratedWorkload, type WorkloadSpec } from "./generated-workload.ts";
import { isFresh, writeKey } from "./key-bytes.ts";
import type { PopulationSpec } from "./population.ts";
import { describeWorkload } from "./stats.test-data.ts";

const SIZES = {
  key: { kind: "fixed", bytes: 20 },
  measured: "object",
  bytes: { kind: "log-normal", mean: 246, sigma: 0.9, min: 20, max: 2048 },
} as const;
const one: PopulationSpec = { name: "one", keys: 50_000, alpha: 1, freshShare: 0, weight: 1, sizes: SIZES };
const specOf = (population: Partial<PopulationSpec> = {}, more: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  name: "test",
  populations: [{ ...one, ...population }],
  ...more,
});

/** The first events of a workload, one string each. */
function events(spec: WorkloadSpec, count: number, batchSize = 1000): string[] {
  const workload = new GeneratedWorkload(spec);
  const batch = createEventBatch(batchSize);
  const all: string[] = [];
  while (all.length < count) {
    const filled = workload.next(batch);
    for (let i = 0; i < filled; i++)
      all.push(
        [batch.idHigh, batch.idLow, batch.operation, batch.keyBytes, batch.objectBytes].map((of) => of[i]).join(),
      );
  }
  return all.slice(0, count);
}

/** Ids of keys by rank, as events would have them. */
function keysByRank(workload: GeneratedWorkload, keys: number): Int32Array {
  return Int32Array.from({ length: keys }, (_, rank) => workload.populations[0].keyAt(rank));
}

const changed = (before: Int32Array, after: Int32Array) => before.filter((key, rank) => key !== after[rank]).length;

describe("a generated workload", () => {
  test("is the same for the same seed, in batches of any size", () => {
    const all = specOf(
      { freshShare: 0.2, operations: { get: 6, set: 3, delete: 1 } },
      {
        drift: { share: 0.01, everyOperations: 700 },
        churn: { share: 0.02, everyOperations: 500 },
        phaseOperations: 2000,
      },
    );
    const first = events(all, 6000);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), (batchSize) => {
        expect(events(all, 6000, batchSize)).toEqual(first);
      }),
      { numRuns: 10 },
    );
    expect(events({ ...all, seed: 1 }, 6000)).not.toEqual(first);
  });

  test.each([0.7, 1, 1.2, 1.3])("has the exponent %s by rank and frequency", async (alpha) => {
    const { alpha: fit } = await describeWorkload(new GeneratedWorkload(specOf({ alpha })), { events: 1e6 });
    expect(Math.abs((fit as number) - alpha)).toBeLessThan(0.02);
  });

  test("has the mean size, the working set and one size for each key", async () => {
    // Nearly even: every key comes.
    const spec = specOf({ keys: 20_000, alpha: 0.01 });
    const figures = await describeWorkload(new GeneratedWorkload(spec), { events: 400_000 });
    expect(figures.keys).toBe(20_000);
    expect(Math.abs(figures.meanObjectBytes / 246 - 1)).toBeLessThan(0.02);
    expect(Math.abs(figures.workingSetBytes / (20_000 * 246) - 1)).toBeLessThan(0.02);
    expect(figures.meanKeyBytes).toBe(20);
    const sizes = new Map<string, string>();
    for (const event of events(spec, 50_000)) {
      const [high, low, , , bytes] = event.split(",");
      expect(sizes.get(`${high} ${low}`) ?? bytes).toBe(bytes);
      sizes.set(`${high} ${low}`, bytes);
    }
  });

  test("sends its share of events to keys that come once", async () => {
    const figures = await describeWorkload(new GeneratedWorkload(specOf({ keys: 1000, freshShare: 0.1936 })), {
      events: 500_000,
    });
    expect(figures.oneHitEvents).toBeCloseTo(0.1936, 2.5);
    expect(figures.keys).toBe(1000 + Math.round(figures.oneHitEvents * 500_000));
    expect(Math.abs(figures.meanObjectBytes / 246 - 1)).toBeLessThan(0.02);
  });

  test("can have keys that come once alone", () => {
    const batch = createEventBatch(10_000);
    new GeneratedWorkload(specOf({ freshShare: 1 })).next(batch);
    expect(batch.idHigh.every(isFresh)).toBe(true);
    expect(new Set(batch.idLow).size).toBe(10_000);
  });

  test("mixes operations, and never deletes a key that comes once", () => {
    const operations = { get: 0.65, set: 0.13, delete: 0.22 };
    const workload = new GeneratedWorkload(specOf({ freshShare: 0.3, operations }));
    const batch = createEventBatch(200_000);
    workload.next(batch);
    const share = (operation: number) => batch.operation.filter((one) => one === operation).length / 200_000;
    expect(share(GET)).toBeCloseTo(0.65, 2);
    expect(share(SET)).toBeCloseTo(0.13, 2);
    expect(share(DELETE)).toBeCloseTo(0.22, 2);
    const fresh = batch.idHigh.map((high, i) => (isFresh(high) ? 1 + batch.operation[i] : 0));
    expect(fresh.filter((of) => of > 0).length / 200_000).toBeCloseTo(0.3, 2);
    expect(fresh).not.toContain(1 + DELETE);
  });

  test("draws populations by their weights, with keys of their own", () => {
    const populations = [3, 1, 2].map((weight) => ({ ...one, weight, keys: 10, sizes: SIZES }));
    const batch = createEventBatch(120_000);
    new GeneratedWorkload({ name: "three", populations }).next(batch);
    for (const [number, weight] of [3, 1, 2].entries())
      expect(batch.idHigh.filter((high) => high === number << 24).length / 120_000).toBeCloseTo(weight / 6, 2);
    const ids = new Set(batch.idLow.map((low, i) => low + 16 * (batch.idHigh[i] >>> 24)));
    expect(ids.size).toBe(30);
  });

  test("drifts: exactly the share of ranks gets other keys at each step", () => {
    const keys = 50_000;
    const workload = new GeneratedWorkload(specOf({ keys }, { drift: { share: 0.01, everyOperations: 100 } }));
    const batch = createEventBatch(100);
    const start = keysByRank(workload, keys);
    workload.next(batch);
    // The step comes before the event after the hundredth.
    expect(changed(start, keysByRank(workload, keys))).toBe(0);
    let before = start;
    for (let step = 1; step <= 100; step++) {
      workload.next(batch);
      const after = keysByRank(workload, keys);
      expect(changed(before, after)).toBe(500);
      if (step % 25 === 0) expect([...after].sort((a, b) => a - b).every((key, i) => key === i)).toBe(true);
      before = after;
    }
    // A hundred steps of one in a hundred: every rank was changed, once.
    expect(changed(start, before)).toBe(keys);
  });

  test("drifts where thousandths are not whole numbers", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2000, max: 9000 }), fc.integer({ min: 1, max: 50 }), (keys, steps) => {
        const spec = specOf({ keys }, { drift: { share: 0.003, everyOperations: 1 } });
        const workload = new GeneratedWorkload(spec);
        workload.next(createEventBatch(1 + steps));
        const now = keysByRank(workload, keys);
        expect(new Set(now).size).toBe(keys);
        expect(
          Math.abs(changed(keysByRank(new GeneratedWorkload(spec), keys), now) - 0.003 * steps * keys),
        ).toBeLessThan(3 * steps);
      }),
      { numRuns: 20 },
    );
  });

  test("churns: the share of keys is replaced by new ones, of the same popularity", () => {
    const spec = specOf({ keys: 5000, alpha: 0.01 }, { churn: { share: 0.1, everyOperations: 100_000 } });
    const workload = new GeneratedWorkload(spec);
    const batch = createEventBatch(100_000);
    const idsOf = () => new Set(batch.idLow.map((low, i) => low + 8192 * batch.idHigh[i]));
    workload.next(batch);
    const first = idsOf();
    workload.next(batch);
    const second = idsOf();
    expect([first.size, second.size]).toEqual([5000, 5000]);
    expect([...second].filter((id) => !first.has(id))).toHaveLength(500);
  });

  test("changes every rank at a new phase, and nothing within one", () => {
    const workload = new GeneratedWorkload(specOf({}, { phaseOperations: 1000 }));
    const batch = createEventBatch(1000);
    const before = keysByRank(workload, 50_000);
    workload.next(batch);
    expect(keysByRank(workload, 50_000)).toEqual(before);
    workload.next(batch);
    // A random order leaves one in place, in the mean.
    expect(changed(before, keysByRank(workload, 50_000))).toBeGreaterThan(49_980);
  });

  test("has 1e9 keys that no table holds", () => {
    const workload = new GeneratedWorkload(specOf({ keys: 1e9, alpha: 0.5 }));
    const batch = createEventBatch(100_000);
    workload.next(batch);
    expect(new Set(batch.idLow).size).toBeGreaterThan(99_000);
    const tenths = new Float64Array(10);
    for (const low of batch.idLow) tenths[Math.floor(low / 1e8)]++;
    // Ranks are skewed, keys are not: 9 degrees of freedom.
    expect(tenths.reduce((sum, keys) => sum + (keys - 1e4) ** 2 / 1e4, 0)).toBeLessThan(27.9);
  });

  test("refuses what cannot be drawn", () => {
    const of = (population: Partial<PopulationSpec>, more?: Partial<WorkloadSpec>) => () =>
      new GeneratedWorkload(specOf(population, more));
    expect(() => new GeneratedWorkload({ name: "none", populations: [] })).toThrow("populations");
    expect(of({ weight: 0 })).toThrow("weight");
    expect(of({ freshShare: 1.01 })).toThrow("fresh");
    expect(of({ freshShare: -0.1 })).toThrow("fresh");
    expect(of({ freshShare: 0.5, operations: { get: 0.4, set: 0, delete: 0.6 } })).toThrow("fresh");
    expect(of({ operations: { get: 0, set: 0, delete: 1 } })).toThrow("gets or sets");
    expect(of({ operations: { get: 1, set: -1, delete: 0 } })).toThrow("weights");
    expect(of({}, { phaseOperations: 0 })).toThrow("phase");
    expect(of({}, { drift: { share: 0.0005, everyOperations: 1 } })).toThrow("0.001");
    expect(of({}, { churn: { share: 0.01, everyOperations: 0 } })).toThrow("events between");
    expect(of({ keys: 1999 }, { drift: { share: 0.01, everyOperations: 9 } })).toThrow("2000 keys");
  });
});

describe("bytes of a key", () => {
  test("tell ids apart and fill the length", () => {
    const [a, b] = [new Uint8Array(20), new Uint8Array(20)];
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), fc.nat(2 ** 32 - 1), (low, high) => {
        writeKey(a, low, high);
        const view = new DataView(a.buffer);
        expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([low, high]);
      }),
    );
    writeKey(a, 1, 2);
    b.fill(7);
    writeKey(b, 1, 2);
    expect(b).toEqual(a);
  });
});
