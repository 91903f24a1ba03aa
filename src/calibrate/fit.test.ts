/** Passes made up from known costs give those costs back. */
import { describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import type { ModelShape } from "../cache/shape.ts";
import { computeMsOf } from "../simulate/compute-model.ts";
import { plainDisk } from "../simulate/disk-model.ts";
import { fitCompute, fitDrive, fitEngine, type ReadWait, readWaits, spreadOf, trimmedMean } from "./fit.ts";
import type { PassTimes } from "./stream-stopwatch.ts";

const shape: ModelShape = { layers: 4, experts: 16, expertsUsed: 2, expertBytes: [1, 1, 1, 1] };
const STOP_MS = 0.05;
const ATTENTION = { ms: 0.6, msPerToken: 0.2 };
const OUTSIDE_MS = 1.5;
const DECISION_MS = 0.1;
/** Of each expert: once, and for every token that uses it. */
const PRODUCTS = [
  { msPerExpert: 0.4, msPerUse: 0.1 },
  { msPerExpert: 0.3, msPerUse: 0.2 },
  { msPerExpert: 0.5, msPerUse: 0.1 },
];

function pass(tokens: number, distinct: number, everyProduct: boolean, factor = 1): PassTimes {
  const uses = tokens * shape.expertsUsed;
  const product = PRODUCTS.map(({ msPerExpert, msPerUse }) => factor * (distinct * msPerExpert + uses * msPerUse));
  const attention = factor * (ATTENTION.ms + tokens * ATTENTION.msPerToken);
  const before = Float64Array.from({ length: 4 }, (_, layer) => attention + STOP_MS + (layer === 0 ? 1 : 0));
  const stops = everyProduct ? 4 * 4 : 4;
  const computeMs = 4 * (attention + product.reduce((a, b) => a + b)) + OUTSIDE_MS + stops * STOP_MS;
  return {
    ...{ tokens, stops, computeMs, wallMs: computeMs },
    misses: new Int32Array(4),
    managementMs: new Float64Array(4).fill(DECISION_MS),
    ...{ firstReadyMs: new Float64Array(4), lastReadyMs: new Float64Array(4) },
    beforeRouterMs: before,
    productMs: Float64Array.from({ length: 12 }, (_, i) => product[i % 3] + STOP_MS),
    afterMs: OUTSIDE_MS - 1 + STOP_MS,
    distinct: new Int32Array(4).fill(distinct),
  };
}

const decode = Array.from({ length: 11 }, () => pass(1, 2, true));
const running = Array.from({ length: 11 }, () => pass(1, 2, false));
const msPerToken = running[0].computeMs - 4 * STOP_MS;

describe("computing", () => {
  const samples = { shape, stages: 3, decode, graphStopMs: STOP_MS, msPerToken };

  test("is found in its pieces, for one token and for prompts", () => {
    const model = fitCompute({ ...samples, prompts: [pass(32, 15, true), pass(32, 16, true)] });
    expect(computeMsOf(model, shape, 1)).toBeCloseTo(msPerToken, 9);
    for (const { beforeRouter, products } of model.layers) {
      expect(beforeRouter.ms).toBeCloseTo(ATTENTION.ms, 6);
      expect(beforeRouter.msPerToken).toBeCloseTo(ATTENTION.msPerToken, 6);
      // One share of all products together, and the sum of each.
      for (const [i, { msPerExpert, msPerUse }] of products.entries())
        expect(msPerExpert + msPerUse).toBeCloseTo(PRODUCTS[i].msPerExpert + PRODUCTS[i].msPerUse, 6);
      const once = products.reduce((sum, product) => sum + product.msPerExpert, 0);
      expect(once).toBeCloseTo(1.2, 6);
    }
    expect(model.outside.ms).toBeCloseTo(OUTSIDE_MS, 6);
  });

  test("of single tokens is exact without prompts", () => {
    const model = fitCompute({ ...samples, prompts: [] });
    expect(computeMsOf(model, shape, 1)).toBeCloseTo(msPerToken, 9);
  });

  test("is not led astray by a few steps in which something else ran", () => {
    const disturbed = decode.map((step, i) => (i % 5 === 0 ? pass(1, 2, true, 6) : step));
    const model = fitCompute({ ...samples, decode: disturbed, prompts: [] });
    const { beforeRouter, products } = model.layers[2];
    expect(beforeRouter.ms + beforeRouter.msPerToken).toBeCloseTo(0.8, 6);
    expect(2 * (products[0].msPerExpert + products[0].msPerUse)).toBeCloseTo(1, 6);
  });
});

describe("the engine's part", () => {
  const requestsOfExpert = [9, 9, 27, 27];
  /** The steps, as if in some layers something had to be read. */
  function reading(steps: readonly PassTimes[], seed: number): PassTimes[] {
    const random = randomNumbers(seed);
    return steps.map((step) => {
      const misses = Int32Array.from({ length: 4 }, () => Math.floor(3 * random()));
      const managementMs = Float64Array.from(misses, (count, layer) =>
        count === 0 ? DECISION_MS : DECISION_MS + 0.4 + 0.02 * count * requestsOfExpert[layer],
      );
      return { ...step, misses, managementMs };
    });
  }

  test("is found from steps that stop more often, and from layers that read more", () => {
    const samples = { stopping: reading(decode, 7), running: reading(running, 8), requestsOfExpert };
    const { graphStopMs, cost } = fitEngine(samples);
    expect(graphStopMs).toBeCloseTo(STOP_MS, 9);
    expect(cost.msPerRequest).toBeCloseTo(0.02, 9);
    expect(cost.msPerHandover).toBeCloseTo(0.4, 9);
    expect(cost.msPerStop).toBeCloseTo(STOP_MS + DECISION_MS, 9);
  });

  test("is not led astray by a few layers in which something else ran", () => {
    const disturbed = reading(running, 9);
    disturbed[3].managementMs[1] += 30;
    const { cost } = fitEngine({ stopping: reading(decode, 7), running: disturbed, requestsOfExpert });
    expect(cost.msPerRequest).toBeCloseTo(0.02, 2);
    expect(cost.msPerHandover).toBeCloseTo(0.4, 1);
  });

  test("is never negative, and a stop never longer than a piece that has one in it", () => {
    const slower = running.map((step) => ({ ...step, computeMs: step.computeMs + 50 }));
    expect(fitEngine({ stopping: decode, running: slower, requestsOfExpert }).graphStopMs).toBe(0);
    const faster = running.map((step) => ({ ...step, computeMs: step.computeMs - 9 }));
    expect(fitEngine({ stopping: decode, running: faster, requestsOfExpert }).graphStopMs).toBeLessThanOrEqual(1.2);
  });

  test("is there without any read", () => {
    expect(fitEngine({ stopping: decode, running, requestsOfExpert }).cost).toEqual({
      msPerStop: expect.closeTo(STOP_MS + DECISION_MS, 9),
      ...{ msPerHandover: 0, msPerRequest: 0 },
    });
  });
});

describe("the drive as the engine got it", () => {
  const probed = { ...plainDisk({ bytesPerSecond: 1000 * 2 ** 20, latencyMs: 0 }), reportsEvery: 1 };
  const cost = { msPerStop: 0, msPerHandover: 0.5, msPerRequest: 0 };
  /** Waits for 1 to 3 experts of 27 requests, of which a third is the first product's; a request takes `ms`. */
  const waiting = (every: number, ms: number, noise = 0) =>
    Array.from({ length: 30 }, (_, i): ReadWait => {
      const requests = 27 * (1 + (i % 3));
      const first = Math.min(requests, Math.ceil(requests / 3 / every) * every);
      const lastReadyMs = 0.5 + requests * ms;
      // Nobody waits a second time for what came with the first.
      return {
        requests,
        firstReadyMs: 0.5 + first * ms + noise * (i % 4),
        lastReadyMs: first < requests ? lastReadyMs : 0,
      };
    });

  test("tells of its reads as the first products could start", () => {
    for (const every of [1, 16, 48, 80]) expect(fitDrive(probed, waiting(every, 1), 3, cost).reportsEvery).toBe(every);
    expect(fitDrive(probed, waiting(48, 1, 1.5), 3, cost).reportsEvery).toBe(48);
  });

  test("is as slow as its reads were", () => {
    for (const ms of [0.7, 1.3]) {
      const { bursts } = fitDrive(probed, waiting(48, ms), 3, cost);
      expect(bursts[0].ms).toBeCloseTo(ms, 2);
    }
  });

  test("is as it was probed when nothing was waited for", () => {
    expect(fitDrive({ ...probed, reportsEvery: 7 }, [], 3, cost)).toEqual({ ...probed, reportsEvery: 7 });
  });

  test("waits are those of layers in which something was missing", () => {
    const pass = {
      ...decode[0],
      misses: Int32Array.from([0, 1, 2, 1]),
      firstReadyMs: Float64Array.from([0, 3, 4, 0]),
      lastReadyMs: Float64Array.from([0, 0, 9, 0]),
    };
    expect(readWaits([pass], [9, 9, 27, 27])).toEqual([
      { requests: 9, firstReadyMs: 3, lastReadyMs: 0 },
      { requests: 54, firstReadyMs: 4, lastReadyMs: 9 },
    ]);
  });
});

test("spread and mean", () => {
  expect(spreadOf([10, 10, 10, 10])).toBe(0);
  expect(spreadOf([8, 10, 10, 12, 100])).toBeCloseTo(0.2);
  expect(trimmedMean([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000])).toBe(5.5);
});
