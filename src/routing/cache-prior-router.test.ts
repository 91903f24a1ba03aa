import { describe, expect, test } from "vitest";
import type { CacheBias } from "./cache-bias.ts";
import { CachePriorRouter, type RoutedScores } from "./cache-prior-router.ts";

const SHAPE = { layers: 2, experts: 4, expertsUsed: 2, expertBytes: [1, 1] };

interface Rows {
  /** What the router compares, by token. */
  readonly scores: readonly (readonly number[])[];
  readonly probabilities: readonly (readonly number[])[];
  readonly scoring?: RoutedScores["scoring"];
  readonly layer?: number;
}

function softmax(z: readonly number[]): number[] {
  const shares = z.map(Math.exp);
  const sum = shares.reduce((a, b) => a + b);
  // As the graph has them.
  return shares.map((share) => Math.fround(share / sum));
}

/** A router's stop that can be routed again; its ids are the best of the scores. */
function stopOf({ scores, probabilities, scoring, layer = 0 }: Rows) {
  const ids = scores.map((row) =>
    row
      .map((_, e) => e)
      .sort((a, b) => row[b] - row[a])
      .slice(0, SHAPE.expertsUsed),
  );
  const stop: RoutedScores = {
    layer,
    tokens: scores.length,
    expertsUsed: SHAPE.expertsUsed,
    expert: (token, rank) => ids[token][rank],
    setExpert: (token, rank, expert) => {
      ids[token][rank] = expert;
    },
    scoring,
    hasProbabilities: true,
    readProbabilities: (into) => into.set(probabilities.flat()),
    readSelectionScores: (into) => {
      into.set(scores.flat());
      return true;
    },
  };
  return { stop, ids };
}

const residents = (...keys: readonly number[]) => ({ has: (key: number) => keys.includes(key) });
const routerOf = (bias: CacheBias) =>
  new CachePriorRouter({ bias, shape: SHAPE, expertsPerLayer: 4, microBatchTokens: 8 });
const prior = (lambda: number): CacheBias => ({ rule: { kind: "prior", lambda } });
const Z = [3, 2, 1, 0];

describe("a router that prefers residents", () => {
  test("gives the known answers from probabilities, whose logarithms are the logits but for a constant", () => {
    for (const [lambda, expected] of [
      [0.5, [0, 2]],
      [0.3, [0, 1]],
    ] as const) {
      const p = softmax(Z);
      const { stop, ids } = stopOf({ scores: [p], probabilities: [p], scoring: "softmax" });
      routerOf(prior(lambda)).route(stop, residents(2));
      expect(ids).toEqual([expected]);
    }
  });

  test("takes scores as they are where they are no probabilities", () => {
    // The range of these scores is 0.3: half of it does not lift 0.15 above 0.35.
    const biased = [0.4, 0.35, 0.15, 0.1];
    const kept = stopOf({ scores: [biased], probabilities: [softmax(Z)], scoring: "softmax" });
    routerOf(prior(0.5)).route(kept.stop, residents(2));
    expect(kept.ids).toEqual([[0, 1]]);
    const swapped = stopOf({ scores: [biased], probabilities: [softmax(Z)], scoring: "sigmoid" });
    routerOf(prior(0.7)).route(swapped.stop, residents(2));
    expect(swapped.ids).toEqual([[0, 2]]);
  });

  test("leaves out what the model leaves out, also of the range", () => {
    const p = softmax(Z);
    const masked = [p[0], p[1], Number.NEGATIVE_INFINITY, p[3]];
    const { stop, ids } = stopOf({ scores: [masked], probabilities: [p], scoring: "softmax" });
    routerOf(prior(1)).route(stop, residents(2, 3));
    expect(ids).toEqual([[0, 3]]);
  });

  test("uses the mean range of the layer's tokens so far", () => {
    const router = routerOf(prior(0.5));
    const flat = softmax([0.3, 0.2, 0.1, 0]);
    const steep = softmax([9, 8, 7, 0]);
    // Alone the flat token is worth 0.15, enough for its second; after the steep one its mean is 4.65.
    const first = stopOf({ scores: [flat], probabilities: [flat], scoring: "softmax" });
    router.route(first.stop, residents(3));
    expect(first.ids).toEqual([[0, 1]]);
    const both = stopOf({ scores: [steep, flat], probabilities: [steep, flat], scoring: "softmax" });
    router.route(both.stop, residents(3));
    expect(both.ids).toEqual([
      [0, 1],
      [0, 3],
    ]);
    const other = stopOf({ scores: [flat], probabilities: [flat], scoring: "softmax", layer: 1 });
    router.route(other.stop, residents(4 + 3));
    expect(other.ids).toEqual([[0, 1]]);
  });

  test("counts what it did", () => {
    const router = routerOf(prior(0.5));
    const p = softmax(Z);
    for (const layer of [0, 1]) {
      const { stop } = stopOf({ scores: [p, p], probabilities: [p, p], scoring: "softmax", layer });
      router.route(stop, residents(2));
    }
    router.finish();
    const kl = Math.log(p[0] + p[1]) - Math.log(p[0] + p[2]);
    const statistics = router.statistics();
    expect(statistics).toMatchObject({ tokens: 2, decisions: 4, slots: 8, swaps: 2, swapRate: 0.25, agreement: 0.5 });
    expect(statistics).toMatchObject({ bias: "prior 0.5, best 1 kept", lambda: 0.5, layersUnseen: 0 });
    expect(statistics.routeKlMean).toBeCloseTo(kl / 2, 6);
    expect(statistics.routeKlP99).toBeCloseTo(kl / 2, 6);
  });

  test("refuses what its bound does not allow, and then leaves the token alone", () => {
    const p = softmax(Z);
    const { stop, ids } = stopOf({ scores: [p], probabilities: [p], scoring: "softmax" });
    const router = routerOf({ rule: { kind: "max-rank", ranks: 4 }, routeKlBound: 1e-3 });
    router.route(stop, residents(3));
    expect(ids).toEqual([[0, 1]]);
    expect(router.statistics()).toMatchObject({ swaps: 0, swapsRefused: 1, agreement: 1, routeKlMean: 0 });
  });

  test("leaves alone what it cannot see or read", () => {
    const p = softmax(Z);
    const table = stopOf({ scores: [p], probabilities: [p] });
    const router = routerOf(prior(1));
    router.route({ ...table.stop, readSelectionScores: () => false }, residents(3));
    expect(table.ids).toEqual([[0, 1]]);
    const broken = stopOf({ scores: [[1, Number.NaN, 0, 0.5]], probabilities: [p], layer: 1 });
    const before = structuredClone(broken.ids);
    router.route(broken.stop, residents(4 + 3));
    expect(broken.ids).toEqual(before);
    expect(router.statistics()).toMatchObject({ layersUnseen: 1, decisions: 0 });
  });
});
