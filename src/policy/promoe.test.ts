import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExpertCache } from "../cache/expert-cache.ts";
import type { LoadKind } from "../cache/policy.ts";
import { generatedRuns, routerEvent, routing } from "../cache/replay.test-data.ts";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import { PredictorError } from "../predict/errors.ts";
import { headPlaces, type RouterPredictor } from "../predict/router-predictor.ts";
import { untrainedPredictor } from "../predict/teacher-trace.test-data.ts";
import { policyByName } from "./by-name.ts";
import { type ProMoeOptions, proMoe } from "./promoe.ts";

const shape: ModelShape = { layers: 4, experts: 6, expertsUsed: 2, expertBytes: [10, 10, 10, 10], hiddenSize: 6 };

/** Inputs have a number for each expert, and the scores of all later layers are these numbers. */
function transparent(reach: { stride?: number; window?: number } = {}): RouterPredictor {
  const { stride = 0, window = 1 } = reach;
  const { layers, experts, expertsUsed } = shape;
  const predictor = untrainedPredictor({ layers, experts, expertsUsed, hiddenSize: 6 }, { stride, window });
  const identity = Float32Array.from({ length: experts * 7 }, (_, i) => (i % 7 === Math.floor(i / 7) ? 1 : 0));
  const heads = headPlaces(layers, { stride, window }).map((place) => ({
    ...place,
    inner: undefined,
    outer: identity,
  }));
  return { ...predictor, heads };
}

function open(budgetBytes: number, options: Partial<ProMoeOptions> = {}) {
  const told: string[] = [];
  const pending: ExpertKey[] = [];
  const policy = proMoe({ predictor: transparent(), ...options });
  const cache = new ExpertCache(shape, budgetBytes, policy, {
    evict: (key) => void told.push(`evict ${key}`),
    load(key, kind: LoadKind) {
      told.push(`${kind} ${key}`);
      pending.push(key);
    },
  });
  const iteration = () =>
    cache.iteration({
      ...{ phase: "decode", iteration: 0, request: 0, nowMs: 0, tokens: 1 },
      tokenIds: new Int32Array(1),
      embeddings: undefined,
    });
  const arrive = () => {
    for (const key of pending.splice(0)) cache.completed(key);
  };
  /** A layer's choice, its reads done, then so many bytes to speculate with. Inputs are by token and expert. */
  const stop = (layer: number, tokens: number[][], inputs: number[], spareBytes: number): string[] => {
    cache.routed({ ...routerEvent(routing(shape, layer, tokens)), hidden: Float32Array.from(inputs) });
    arrive();
    told.length = 0;
    cache.speculate(spareBytes);
    return [...told];
  };
  iteration();
  return { cache, policy, stop, arrive, iteration, told };
}

describe("promoe", () => {
  test("reads the likeliest experts of the next layer ahead", () => {
    const { stop } = open(240);
    expect(stop(0, [[0, 1]], [0, 3, 0, 5, 4, 0], 100)).toEqual(["prefetch 9", "prefetch 10"]);
  });

  test("skips layers with a stride, and looks at several with a window, the nearest first", () => {
    const predictor = transparent({ window: 3 });
    const inputs = [0, 3, 0, 5, 4, 0];
    expect(open(240, { predictor, stride: 1 }).stop(0, [[0, 1]], inputs, 100)).toEqual(["prefetch 15", "prefetch 16"]);
    const all = ["prefetch 9", "prefetch 10", "prefetch 15", "prefetch 16", "prefetch 21", "prefetch 22"];
    expect(open(240, { predictor }).stop(0, [[0, 1]], inputs, 100)).toEqual(all);
    expect(open(240, { predictor, k: 1 }).stop(0, [[0, 1]], inputs, 100)).toEqual([all[0], all[2], all[4]]);
  });

  test("a later prediction of a layer replaces the one before", () => {
    const { stop } = open(240, { predictor: transparent({ window: 2 }) });
    expect(stop(0, [[0, 1]], [0, 3, 0, 5, 4, 0], 20)).toEqual(["prefetch 9", "prefetch 10"]);
    // Of layer 2 experts 3 and 4 were predicted; now 0 and 1 are.
    expect(stop(1, [[3, 4]], [9, 8, 0, 0, 0, 0], 20)).toEqual(["prefetch 12", "prefetch 13"]);
  });

  test("of several tokens takes every one's first choice, then the second ones", () => {
    const { stop } = open(240);
    const inputs = [9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9];
    const tokens = [
      [0, 1],
      [2, 3],
    ];
    expect(stop(0, tokens, inputs, 100)).toEqual([6, 11, 7, 10].map((key) => `prefetch ${key}`));
    expect(open(240, { tokens: 1 }).stop(0, tokens, inputs, 100)).toEqual([]);
  });

  test("gives up a layer's own least recently used, and a prediction counts as a use", () => {
    const run = (touch: boolean) => {
      // Three experts in each of four layers.
      const { stop, arrive, iteration, cache, told } = open(120, { touch });
      for (const chosen of [
        [0, 1],
        [1, 2],
      ]) {
        for (let layer = 0; layer < 4; layer++) stop(layer, [chosen], [0, 0, 0, 0, 0, 0], 0);
        arrive();
        iteration();
      }
      expect(cache.count).toBe(12);
      // Expert 0 of layer 1 is the oldest there; it is predicted, with 5.
      stop(0, [[1, 2]], [9, 0, 0, 0, 0, 8], 0);
      told.length = 0;
      // Layer 1 chose otherwise: 1 and 4.
      cache.routed(routerEvent(routing(shape, 1, [[1, 4]])));
      return [...told];
    };
    expect(run(true)).toEqual(["evict 8", "demand 10"]);
    expect(run(false)).toEqual(["evict 6", "demand 10"]);
  });

  test("keeps the same number of experts in each layer", () => {
    const { stop, cache, iteration, arrive } = open(80);
    for (let token = 0; token < 12; token++) {
      for (let layer = 0; layer < 4; layer++)
        stop(layer, [[(token + layer) % 6, (token + 3) % 6]], [1, 2, 3, 4, 5, 6], 0);
      arrive();
      iteration();
    }
    const held = [0, 0, 0, 0];
    for (let i = 0; i < cache.count; i++) held[Math.floor(cache.at(i) / 6)]++;
    expect(held).toEqual([2, 2, 2, 2]);
  });

  test("counts what was predicted, what was right, and what of that had arrived", () => {
    let ms = 0;
    const { stop, cache, policy, arrive } = open(240, { stopwatch: () => ms++ });
    stop(0, [[0, 1]], [0, 3, 0, 5, 4, 0], 100);
    arrive();
    // 3 and 4 of layer 1 are there: 3 was right, 4 was wrong.
    stop(1, [[3, 0]], [9, 8, 0, 0, 0, 0], 100);
    // 0 and 1 of layer 2 are on their way: both right, neither in time.
    cache.routed(routerEvent(routing(shape, 2, [[1, 0]])));
    expect(policy.figures?.()).toMatchObject({
      predictions: 2,
      predictionMs: 2,
      predictedLayers: 2,
      predictedExperts: 4,
      rightExperts: 3,
      rightInTime: 1,
      chosenExperts: 4,
      accuracy: 3 / 4,
      fetchRate: 1 / 3,
      goodPred: 1 / 4,
    });
  });

  test("refuses to begin without a predictor, or with one of another model", () => {
    expect(() => open(240, { predictor: undefined })).toThrow(/train one with warmset train-predictor/);
    expect(() => open(240, { predictor: untrainedPredictor() })).toThrow(PredictorError);
    expect(() => open(240, { predictor: untrainedPredictor() })).toThrow(/3 layers of 12 experts/);
  });

  test("refuses switches that its predictor does not reach, and takes them by name", () => {
    const predictor = transparent({ stride: 1, window: 2 });
    expect(() => policyByName("promoe:stride=0", { predictor })).toThrow(/looks 2 to 3 layers ahead, not 1 to 1/);
    expect(() => policyByName("promoe:window=3", { predictor })).toThrow(/not 2 to 4/);
    expect(policyByName("promoe:stride=2,k=3,touch=off,tokens=1", { predictor }).needs.hidden).toBe(true);
    expect(() => policyByName("promoe:width=3", { predictor })).toThrow(/it has stride, window, k, touch, tokens/);
  });

  test("keeps the cache's rules on any run", () => {
    fc.assert(
      fc.property(generatedRuns(), fc.integer({ min: 1, max: 3 }), ({ shape: of, iterations, budgetBytes }, window) => {
        if (of.layers < 2) return;
        const { layers, experts, expertsUsed } = of;
        const predictor = untrainedPredictor({ layers, experts, expertsUsed, hiddenSize: 4 }, { window, width: 3 });
        const reads: ExpertKey[] = [];
        const load = (key: ExpertKey) => void reads.push(key);
        const cache = new ExpertCache(of, budgetBytes, proMoe({ predictor }), { evict() {}, load });
        let calls = 0;
        for (const [iteration, { phase, stops }] of iterations.entries()) {
          const tokens = stops[0]?.tokens ?? 0;
          const tokenIds = new Int32Array(tokens);
          cache.iteration({ phase, iteration, request: 0, nowMs: 0, tokens, tokenIds, embeddings: undefined });
          for (const made of stops) {
            const hidden = Float32Array.from({ length: 4 * made.tokens }, () => Math.sin(++calls));
            cache.routed({ ...routerEvent(made), hidden });
            cache.speculate(50);
            while (cache.awaitingCount > 0) cache.completed(reads.shift() as ExpertKey);
            expect(cache.usedBytes).toBeLessThanOrEqual(budgetBytes);
            if (calls % 3 === 0) for (const key of reads.splice(0)) cache.completed(key);
          }
        }
        cache.close();
      }),
    );
  });
});
