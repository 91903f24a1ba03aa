import fc from "fast-check";
import { expect, test } from "vitest";
import { Randomness } from "../predict/randomness.ts";
import { collapseFindings, type GateMetrics, gateMetrics, interpolatedLogits, rowsOfPhase } from "./gate-metrics.ts";
import type { RouterRule } from "./router-forward.ts";

const rule = (experts: number, used: number): RouterRule => ({
  ...{ experts, used, scoring: "softmax", selectionBias: undefined, groups: undefined },
  ...{ normalizeWeights: true, weightScale: 1 },
});
/** Logits whose best experts are these, in order. */
const logitsOf = (experts: number, ...tokens: number[][]) =>
  Float32Array.from(
    tokens.flatMap((ids) => Array.from({ length: experts }, (_, e) => (ids.includes(e) ? 9 - ids.indexOf(e) : 0))),
  );

test("known answer: overlaps of 1/2 and 1, and half of the look-ups hit at C = 2", () => {
  const z = logitsOf(3, [0, 1], [1, 2], [1, 2]);
  const metrics = gateMetrics(z, z, { tokens: 3, documents: new Int32Array(3) }, rule(3, 2));
  expect(metrics.eor).toBe(0.75);
  expect(metrics.lruHits[1]).toBe(0.5);
  expect([metrics.trustKl, metrics.retainedMass, metrics.agreement]).toEqual([0, 1, 1]);
  expect(metrics.distinctExperts).toBe(3);
  expect(metrics.leastUse).toBe(0.5);
  expect(metrics.loadCv).toBeCloseTo(Math.sqrt(2 / 3) / 2, 10);
});

test("hits before misses: token {2, 1} in a cache of [1, 0] misses once", () => {
  const z = logitsOf(3, [1, 0], [2, 1]);
  const { lruHits } = gateMetrics(z, z, { tokens: 2, documents: new Int32Array(2) }, rule(3, 2));
  expect(4 * (1 - lruHits[1]) - 2).toBe(1);
});

test("at C = K the hit rate is EOR (T - 1) / T in each document; larger caches never hit less", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 2, max: 12 }), (seed, length) => {
      const random = new Randomness(seed);
      const tokens = 3 * length;
      const z = Float32Array.from({ length: tokens * 6 }, () => random.normal());
      const documents = Int32Array.from({ length: tokens }, (_, t) => Math.floor(t / length));
      const { eor, lruHits } = gateMetrics(z, z, { tokens, documents }, rule(6, 2));
      expect(lruHits[1]).toBeCloseTo((eor * (length - 1)) / length, 10);
      // Fetches per token are at most K (1 - EOR) + K / T from C = K on.
      expect(2 * (1 - lruHits[2])).toBeLessThanOrEqual(2 * (1 - eor) + 2 / length + 1e-9);
      for (let size = 2; size < 6; size++) expect(lruHits[size]).toBeGreaterThanOrEqual(lruHits[size - 1]);
    }),
  );
});

test("tells how far another gate strays", () => {
  const zBase = Float32Array.from([0.4, 0.3, 0.2, 0.1], Math.log);
  const z = Float32Array.from([0.1, 0.4, 0.3, 0.2], Math.log);
  const { trustKl, retainedMass, agreement } = gateMetrics(
    z,
    zBase,
    { tokens: 1, documents: new Int32Array(1) },
    rule(4, 2),
  );
  const kl = [0.1, 0.4, 0.3, 0.2].reduce((sum, p, i) => sum + p * Math.log(p / [0.4, 0.3, 0.2, 0.1][i]), 0);
  expect(trustKl).toBeCloseTo(kl, 6);
  expect(retainedMass).toBeCloseTo(0.5 / 0.7, 6);
  expect(agreement).toBe(0.5);
  expect(interpolatedLogits(zBase, z, 0)).toEqual(zBase);
  for (const [i, value] of interpolatedLogits(zBase, z, 1).entries()) expect(value).toBeCloseTo(z[i], 6);
});

test("metrics do not depend on how many tokens are looked at at once", () => {
  const random = new Randomness(1);
  const make = (tokens: number) => Float32Array.from({ length: tokens * 4 }, () => random.normal());
  const [z, zBase, tokens] = [make(5000), make(5000), 5000];
  const documents = Int32Array.from({ length: tokens }, (_, t) => Math.floor(t / 50));
  const whole = gateMetrics(z, zBase, { tokens, documents }, rule(4, 2));
  const parts = [0, 1, 2, 3, 4].map((part) => {
    const piece = (values: Float32Array) => values.subarray(part * 4000, (part + 1) * 4000);
    const own = documents.subarray(part * 1000, (part + 1) * 1000);
    return gateMetrics(piece(z), piece(zBase), { tokens: 1000, documents: own }, rule(4, 2));
  });
  for (const name of ["eor", "trustKl", "retainedMass", "agreement"] as const)
    expect(whole[name]).toBeCloseTo(parts.reduce((sum, part) => sum + part[name], 0) / 5, 6);
});

test("finds a collapse, and none in a base that is uneven by itself", () => {
  const good: GateMetrics = {
    ...{ tokens: 1, eor: 0.3, trustKl: 0, retainedMass: 1, agreement: 1, loadCv: 0.4, leastUse: 0.5 },
    ...{ distinctExperts: 32, lruHits: new Float64Array(4) },
  };
  expect(collapseFindings(good, good)).toEqual([]);
  expect(collapseFindings({ ...good, loadCv: 0.7, leastUse: 0.001, distinctExperts: 20 }, good)).toHaveLength(3);
  const uneven = { ...good, loadCv: 0.8, leastUse: 0, distinctExperts: 20 };
  expect(collapseFindings(uneven, uneven)).toEqual([]);
  expect([...rowsOfPhase(Uint8Array.of(0, 1, 1, 0), 1)]).toEqual([1, 2]);
});
