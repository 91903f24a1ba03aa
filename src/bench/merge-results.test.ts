import { expect, test } from "vitest";
import { mergeResults } from "./merge-results.ts";
import type { BenchResult, ResultRow } from "./results.ts";

const row = (memoryFraction: number, tokensPerSecond: number): ResultRow =>
  ({
    system: "warmset",
    scenario: "limited",
    memoryFraction,
    policy: "lru",
    prefetch: true,
    tokensPerSecond,
  }) as ResultRow;
const result = (rows: ResultRow[], modelBytes = 7): BenchResult =>
  ({
    date: "2026-01-01",
    elapsedMs: 1,
    configuration: { modelFile: "m", modelBytes, threads: 2, readAheadKb: 128, memoryLimit: "v1", decodeTokens: 52 },
    limits: { computeMs: {} },
    rows,
    targets: [],
    notes: [],
  }) as unknown as BenchResult;

test("keeps the older part's cells, and the newer part's where both have one", () => {
  const merged = mergeResults(result([row(0.5, 1), row(0.33, 2)]), result([row(0.33, 3), row(0.2, 4)]), "lru");
  expect(merged.rows.map(({ memoryFraction, tokensPerSecond }) => [memoryFraction, tokensPerSecond])).toEqual([
    [0.5, 1],
    [0.33, 3],
    [0.2, 4],
  ]);
});

test("takes from the older part what the newer one did not measure", () => {
  const older = { ...result([row(0.5, 1)]), device: "probed" } as unknown as BenchResult;
  const cold = result([{ ...row(0.33, 2), scenario: "cold" }]);
  const newer = {
    ...cold,
    configuration: { ...cold.configuration, threads: 2, decodeTokens: null },
    device: undefined,
    limits: { computeMs: {}, deviceBytesPerSecond: null },
  } as unknown as BenchResult;
  const known = { ...older, limits: { computeMs: {}, deviceBytesPerSecond: 3 } } as unknown as BenchResult;
  const merged = mergeResults(known, newer, "lru");
  expect(merged.configuration.decodeTokens).toBe(52);
  expect(merged.device).toBe("probed");
  expect(merged.limits.deviceBytesPerSecond).toBe(3);
  expect(merged.rows.length).toBe(2);
});

test("refuses parts of different models", () => {
  expect(() => mergeResults(result([]), result([], 8), "lru")).toThrow(/modelBytes: 7 and 8/);
});
