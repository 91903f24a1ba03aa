import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Scoring } from "../../llama/graph-hook.ts";
import { Randomness } from "../../predict/randomness.ts";
import { chooseExperts } from "../router-forward.ts";
import { type LocalityOptions, localityGradient, promptWeights, type RoutingWeights } from "./locality-gradient.ts";

const NONE: RoutingWeights = { trust: 0, reuse: 0, smooth: 0, lag: 0, windowEntropy: 0, overlap: 0, balance: 0 };
const TERMS = Object.keys(NONE) as (keyof RoutingWeights)[];

interface Case {
  readonly z: Float64Array;
  readonly zRef: Float64Array;
  readonly ids: Int32Array;
  readonly shape: { readonly tokens: number; readonly experts: number; readonly used: number };
  readonly documents: Int32Array;
}

/** Logits of two documents, the first of `border` tokens, so that masks matter. */
function randomCase(seed: number, tokens: number, experts: number, border: number): Case {
  const random = new Randomness(seed);
  const logits = () => Float64Array.from({ length: tokens * experts }, () => 1.5 * random.normal());
  const z = logits();
  const used = 2;
  const rule = { experts, used, scoring: "softmax", normalizeWeights: true, weightScale: 1 } as const;
  return {
    ...{ z, zRef: logits(), shape: { tokens, experts, used } },
    ids: chooseExperts(z, tokens, { ...rule, selectionBias: undefined, groups: undefined }),
    documents: Int32Array.from({ length: tokens }, (_, t) => (t < border ? 7 : 9)),
  };
}

function expectGradient({ z, zRef, ids, shape, documents }: Case, options: LocalityOptions): void {
  const at = (logits: Float64Array) => localityGradient(logits, zRef, ids, shape, documents, options);
  const { dz } = at(z);
  const step = 1e-5;
  let largest = 0;
  for (const value of dz) largest = Math.max(largest, Math.abs(value));
  for (let i = 0; i < z.length; i++) {
    const moved = (by: number) => at(z.with(i, z[i] + by)).total;
    const numeric = (moved(step) - moved(-step)) / (2 * step);
    // Relative to the largest: a slope that happens to be 0 has no relative error.
    expect(Math.abs(dz[i] - numeric)).toBeLessThan(1e-4 * Math.max(Math.abs(numeric), 1e-2 * largest) + 1e-9);
  }
}

const cases = fc
  .record({
    seed: fc.nat(),
    tokens: fc.integer({ min: 3, max: 9 }),
    experts: fc.integer({ min: 3, max: 6 }),
    border: fc.integer({ min: 0, max: 9 }),
  })
  .map(({ seed, tokens, experts, border }) => randomCase(seed, tokens, experts, Math.min(border, tokens)));

describe("gradients are the slopes of the losses", () => {
  const scorings: Scoring[] = ["softmax", "sigmoid", "root of softplus", "logits"];
  test.each(TERMS)("%s", (term) => {
    fc.assert(
      fc.property(cases, fc.constantFrom(...scorings), (one, scoring) => {
        const popularity = Float64Array.from({ length: one.shape.experts }, (_, e) => 0.1 + 0.2 * e);
        expectGradient(one, { weights: { ...NONE, [term]: 0.7 }, scoring, window: 2, lags: [1, 2, 4], popularity });
      }),
      { numRuns: 40 },
    );
  });

  test("all together, with prompts weighing less, a warm-up and a soft cache", () => {
    fc.assert(
      fc.property(cases, (one) => {
        const { tokens } = one.shape;
        expectGradient(one, {
          weights: { trust: 0.5, reuse: 0.4, smooth: 0.3, lag: 0.2, windowEntropy: 0.1, overlap: 0.3, balance: 0.2 },
          ...{ localityScale: 0.6, window: 3, lags: [1, 3], lagReduce: "sum" },
          tokenWeights: promptWeights(Uint8Array.from({ length: tokens }, (_, t) => (t < 2 ? 0 : 1))),
          residencyTarget: { kind: "soft-cache", capacity: 3, decay: 0.9 },
        });
      }),
      { numRuns: 40 },
    );
  });
});

const log = (...p: number[]) => p.map(Math.log);

test("known answers: symmetric KL, reuse mass, window entropy", () => {
  const shape = { tokens: 2, experts: 2, used: 1 };
  const documents = new Int32Array(2);
  const pair = Float64Array.from([...log(0.5, 0.5), ...log(0.25, 0.75)]);
  const { losses } = localityGradient(pair, pair, Int32Array.of(0, 1), shape, documents, {
    ...{ weights: NONE, window: 2, lags: [1, 2, 4] },
  });
  expect(losses.smooth).toBeCloseTo(0.13733, 5);
  expect(losses.lag).toBeCloseTo(0.13733, 5);
  expect(losses.windowEntropy).toBeCloseTo(-0.375 * Math.log(0.375) - 0.625 * Math.log(0.625), 10);

  const reference = Float64Array.from([...log(0.25, 0.75), ...log(0.5, 0.5)]);
  const both = localityGradient(pair, reference, Int32Array.of(0, 1), shape, documents, { weights: NONE });
  expect(both.losses.trust).toBeCloseTo((0.14384 + 0.13081) / 2, 5);

  const routed = Float64Array.from([...log(0.4, 0.4, 0.1, 0.1), ...log(0.1, 0.6, 0.2, 0.1)]);
  const mass = localityGradient(
    routed,
    routed,
    Int32Array.of(0, 1, 1, 2),
    { ...shape, experts: 4, used: 2 },
    documents,
    {
      weights: NONE,
    },
  );
  expect(mass.losses.reuse).toBeCloseTo(1.0498, 4);
});

test("the smooth overlap is the overlap itself where choices are clear, and blind to what all experts share", () => {
  const shape = { tokens: 3, experts: 4, used: 2 };
  const chosen = [
    [9, 9, 0, 0],
    [0, 9, 9, 0],
    [0, 9, 9, 0],
  ];
  const overlapOf = (z: Float64Array, temperature: number) =>
    localityGradient(z, z, new Int32Array(6), shape, new Int32Array(3), {
      ...{ weights: { ...NONE, overlap: 1 }, temperature },
    });
  const z = Float64Array.from(chosen.flat());
  expect(overlapOf(z, 0.1).losses.overlap).toBeCloseTo(1 - (0.5 + 1) / 2, 12);
  // Far too warm, every expert has an even share of K places.
  expect(overlapOf(z, 1e6).losses.overlap).toBeCloseTo(0.5, 4);
  const { losses } = localityGradient(z, z, new Int32Array(6), shape, new Int32Array(3), {
    ...{ weights: NONE, temperature: 0.1, popularity: [0.2, 0.9, 0.6, 0.3] },
  });
  expect(losses.balance).toBeCloseTo((4 / 2) * ((0.9 + 0.6) / 2), 12);
  const { dz } = overlapOf(z, 3);
  for (let t = 0; t < 3; t++) expect(dz.slice(t * 4, t * 4 + 4).reduce((a, b) => a + b)).toBeCloseTo(0, 12);
});

test("an unmoved gate has no trust loss and no gradient of it", () => {
  fc.assert(
    fc.property(cases, ({ z, ids, shape, documents }) => {
      const { losses, dz } = localityGradient(z, z, ids, shape, documents, { weights: { ...NONE, trust: 1 } });
      expect(losses.trust).toBe(0);
      expect(dz.every((value) => value === 0)).toBe(true);
    }),
  );
});

test("the losses of joined documents are the means of their own: no pair crosses a border", () => {
  const [one, two] = [randomCase(1, 6, 4, 6), randomCase(2, 6, 4, 6)];
  const options = { weights: NONE, window: 3, lags: [1, 2] };
  const of = ({ z, zRef, ids, shape, documents }: Case) =>
    localityGradient(z, zRef, ids, shape, documents, options).losses;
  const joined = of({
    z: Float64Array.of(...one.z, ...two.z),
    zRef: Float64Array.of(...one.zRef, ...two.zRef),
    ids: Int32Array.of(...one.ids, ...two.ids),
    shape: { ...one.shape, tokens: 12 },
    documents: Int32Array.from({ length: 12 }, (_, t) => (t < 6 ? 0 : 1)),
  });
  for (const term of ["trust", "smooth", "lag", "windowEntropy", "overlap", "balance"] as const)
    expect(joined[term]).toBeCloseTo((of(one)[term] + of(two)[term]) / 2, 12);
  expect(Math.exp(-joined.reuse)).toBeCloseTo((Math.exp(-of(one).reuse) + Math.exp(-of(two).reuse)) / 2, 6);
});

test("documents of one token have no locality, and far logits give finite numbers", () => {
  const { z, zRef, ids, shape } = randomCase(3, 5, 4, 5);
  const alone = localityGradient(z, zRef, ids, shape, Int32Array.of(0, 1, 2, 3, 4), {
    weights: { ...NONE, reuse: 1, smooth: 1, lag: 1, windowEntropy: 1, overlap: 1, balance: 1 },
  });
  expect(alone.total).toBe(0);
  expect(alone.dz.every((value) => value === 0)).toBe(true);
  for (const scoring of ["softmax", "sigmoid", "root of softplus"] as const) {
    const far = Float32Array.from(z, (value) => 1e3 * value);
    const { dz, total } = localityGradient(far, Float32Array.from(zRef), ids, shape, new Int32Array(5), {
      ...{
        weights: { trust: 1, reuse: 1, smooth: 1, lag: 1, windowEntropy: 1, overlap: 1, balance: 1 },
        window: 2,
        scoring,
      },
    });
    expect(Number.isFinite(total)).toBe(true);
    expect(dz.every(Number.isFinite)).toBe(true);
  }
});

/** One step away from a document's start the previous token's experts have more than half: some expert is used again. */
test("more than half the mass on the last experts forces a reuse", () => {
  fc.assert(
    fc.property(cases, ({ z, ids, shape: { tokens, experts, used } }) => {
      for (let t = 1; t < tokens; t++) {
        const before = [...ids.subarray((t - 1) * used, t * used)];
        const now = ids.subarray(t * used, (t + 1) * used);
        const row = Array.from(z.subarray(t * experts, (t + 1) * experts), Math.exp);
        const mass = before.reduce((sum, e) => sum + row[e], 0) / row.reduce((sum, share) => sum + share, 0);
        if (mass > 0.5) expect(before.some((e) => now.includes(e))).toBe(true);
      }
    }),
  );
});
