import { describe, expect, test } from "vitest";
import { createEventBatch, GET } from "./event-batch.ts";
import { GeneratedWorkload } from "./generated-workload.ts";
import { MAX_OBJECT_BYTES, presetWorkload, WORKLOAD_NAMES, workingSetBytesOf } from "./presets.ts";
import { describeWorkload } from "./stats.test-data.ts";

const meanOf = ({ populations }: ReturnType<typeof presetWorkload>) => {
  const weights = populations.reduce((sum, { weight }) => sum + weight, 0);
  return populations.reduce((sum, one) => sum + workingSetBytesOf([{ ...one, keys: 1 }]) * one.weight, 0) / weights;
};

describe("workloads by name", () => {
  // Means of key + value as published; ETC's 36 + 329 less what a cap of 2 KB takes.
  test.each([
    ...([
      ["twitter-14", 510, 36e6] as const,
      ["twitter-34", 355, 33e6] as const,
      ["twitter-52", 293, 48e6] as const,
    ] as const),
    ...([["kvcache-reg", 172 + 135.5, 10.48e6] as const, ["graph-leader-assocs", 152, 27.9e6] as const] as const),
    ...([["graph-leader-fbobj", 353, 30.6e6] as const, ["graph-follower-fbobj", 389, 30.6e6] as const] as const),
    ...([["nemo-mix", 246, 166e6] as const, ["nemo-mix-updates", 246, 166e6] as const] as const),
  ])("%s: objects of %s bytes, %s keys", (name, mean, keys) => {
    const spec = presetWorkload(name);
    expect(Math.abs(meanOf(spec) / mean - 1)).toBeLessThan(0.005);
    expect(spec.populations.reduce((sum, one) => sum + one.keys, 0)).toBe(keys);
  });

  test.each(WORKLOAD_NAMES)("%s: scaled by objects or by bytes, no object above the limit", (name) => {
    const keys = (spec: ReturnType<typeof presetWorkload>) => spec.populations.reduce((sum, one) => sum + one.keys, 0);
    expect(Math.abs(keys(presetWorkload(name, { objects: 1e6 })) - 1e6)).toBeLessThan(4);
    const spec = presetWorkload(name, { workingSetBytes: 2 ** 30 });
    expect(Math.abs(workingSetBytesOf(spec.populations) / 2 ** 30 - 1)).toBeLessThan(1e-5);
    const batch = createEventBatch(50_000);
    expect(new GeneratedWorkload(spec).next(batch)).toBe(50_000);
    expect(Math.max(...batch.objectBytes)).toBeLessThanOrEqual(MAX_OBJECT_BYTES);
    expect(batch.objectBytes.every((bytes, i) => bytes >= batch.keyBytes[i])).toBe(true);
  });

  test("the Nemo mix as it is drawn: gets, rates, sizes, one-hit share", async () => {
    const spec = presetWorkload("nemo-mix", { objects: 20_000 });
    const figures = await describeWorkload(new GeneratedWorkload(spec), { events: 1e6 });
    expect(figures.gets).toBe(1);
    expect(Math.abs(figures.meanObjectBytes / 246 - 1)).toBeLessThan(0.02);
    // .1094, .2304, .0026 and .1936 by 5.81, 10.73, 3.4 and 24.25 thousand a second; some rare keys come once by chance.
    expect(figures.oneHitEvents).toBeGreaterThan(0.175);
    expect(figures.oneHitEvents).toBeLessThan(0.185);

    const batch = createEventBatch(200_000);
    new GeneratedWorkload(spec).next(batch);
    const shares = [5.81, 10.73, 3.4, 24.25].map((rate) => rate / 44.19);
    for (const [i, share] of shares.entries())
      expect(batch.idHigh.filter((high) => ((high >>> 24) & 0x7f) === i).length / 200_000).toBeCloseTo(share, 2);
  });

  test("the variant with updates writes and deletes", async () => {
    const figures = await describeWorkload(new GeneratedWorkload(presetWorkload("nemo-mix-updates")), {
      events: 300_000,
    });
    expect(figures.sets).toBeCloseTo(
      (0.13 * 5.81 + (0.13 / 0.99) * 10.73 + 0.06 * 3.4 + (0.06 / 0.99) * 24.25) / 44.19,
      2,
    );
    expect(figures.deletes).toBeCloseTo((0.22 * 5.81) / 44.19, 2);
  });

  test("cannot be scaled two ways, or to nothing", () => {
    expect(() => presetWorkload("etc", { objects: 5, workingSetBytes: 5 })).toThrow("not both");
    expect(() => presetWorkload("etc", { objects: 0 })).toThrow("working set of 0");
  });

  test("Twitter's own mix of operations, where the cluster stands alone", () => {
    const batch = createEventBatch(100_000);
    new GeneratedWorkload(presetWorkload("twitter-34")).next(batch);
    expect(batch.operation.filter((operation) => operation === GET).length / 1e5).toBeCloseTo(0.94, 2);
  });
});
