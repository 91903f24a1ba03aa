/** Made-up routing has to be like real routing where benches depend on it: valid, repeatable, uneven and local. */
import { expect, test } from "vitest";
import { checkExpertRows } from "../trace/row-check.ts";
import { describeSyntheticTrace, type SyntheticTraceOptions, syntheticSamples } from "./synthetic-trace.ts";

const K = 4;
const OPTIONS = { layers: 3, experts: 24, expertsUsed: K, sampleLength: 100, domains: 2 };

function samples(options: SyntheticTraceOptions = {}) {
  return [...syntheticSamples(450, { ...OPTIONS, ...options })];
}

/** Share of experts that the token before used in the same layer. */
function reuseOf(options: SyntheticTraceOptions): number {
  let hits = 0;
  let uses = 0;
  for (const { experts, length } of samples(options))
    for (let row = OPTIONS.layers; row < length * OPTIONS.layers; row++) {
      const before = experts.subarray((row - OPTIONS.layers) * K, (row - OPTIONS.layers + 1) * K);
      for (const id of experts.subarray(row * K, (row + 1) * K)) {
        hits += before.includes(id) ? 1 : 0;
        uses++;
      }
    }
  return hits / uses;
}

/** Uses of the most popular expert of the first layer and domain over those of the least popular. */
function skewOf(options: SyntheticTraceOptions): number {
  const counts = new Array<number>(OPTIONS.experts).fill(0);
  for (const { domain, experts } of samples(options))
    if (domain === "domain 0")
      for (let at = 0; at < experts.length; at += OPTIONS.layers * K)
        for (const id of experts.subarray(at, at + K)) counts[id]++;
  return Math.max(...counts) / Math.max(1, Math.min(...counts));
}

test("whole samples of valid rows", () => {
  expect(samples().map(({ sample, length, domain }) => [sample, length, domain])).toEqual([
    [0, 100, "domain 0"],
    [1, 100, "domain 1"],
    [2, 100, "domain 0"],
    [3, 100, "domain 1"],
    [4, 50, "domain 0"],
  ]);
  for (const { experts, weights, length } of samples()) {
    expect(experts.length).toBe(length * OPTIONS.layers * K);
    expect(weights?.length).toBe(experts.length);
    expect(checkExpertRows(experts, K, OPTIONS.experts)).toEqual({ fault: undefined, ragged: false });
  }
  expect(describeSyntheticTrace(OPTIONS).model).toMatchObject({ moeBlocks: [0, 1, 2], experts: 24, expertsUsed: K });
});

test("equal options, equal samples", () => {
  expect(samples()).toEqual(samples());
  expect(samples({ seed: 2 })).not.toEqual(samples());
});

test("as local and as uneven as wanted", () => {
  const chance = K / OPTIONS.experts;
  expect(reuseOf({ reuse: 0, skew: 0 })).toBeCloseTo(chance, 1);
  expect(reuseOf({ reuse: 0.6, skew: 0 })).toBeGreaterThan(0.55);
  expect(skewOf({ reuse: 0, skew: 0 })).toBeLessThan(2);
  expect(skewOf({ reuse: 0, skew: 1 })).toBeGreaterThan(4);
});
