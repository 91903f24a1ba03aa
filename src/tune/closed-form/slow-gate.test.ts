import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { cholesky, solveCholesky } from "./cholesky.ts";
import { CovarianceGatherer, type InputStatistics } from "./covariances.ts";
import { slowGate } from "./slow-gate.ts";

const exact = { mean: "keep", ridge: 0 } as const;
const diagonal = (...values: number[]) =>
  Float64Array.from({ length: values.length ** 2 }, (_, i) =>
    i % (values.length + 1) === 0 ? values[i % values.length] : 0,
  );

/** Of random documents; the width is no multiple of anything. */
function randomStatistics(seed: number, width = 5) {
  const random = new Randomness(seed);
  const lags = [
    { lag: 1, weight: 1 },
    { lag: 3, weight: 0.5 },
  ];
  const gatherer = new CovarianceGatherer(width, lags);
  const documents = [700, 2, 1, 40].map((tokens) => {
    const state = new Float64Array(width);
    const hidden = Float32Array.from({ length: tokens * width }, (_, i) => {
      state[i % width] = 0.2 * (i % width) * state[i % width] + random.normal();
      return state[i % width] + 1;
    });
    gatherer.add(hidden, tokens);
    return { hidden, tokens };
  });
  return { documents, lags, width, statistics: gatherer.finish(), random };
}

test("the statistics are those of a sum over tokens and over pairs", () => {
  const { documents, lags, width, statistics } = randomStatistics(1);
  const moment = new Float64Array(width * width);
  const difference = new Float64Array(width * width);
  let tokens = 0;
  let pairs = 0;
  for (const { hidden, tokens: count } of documents) {
    tokens += count;
    for (let t = 0; t < count; t++)
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) {
          const at = (u: number, k: number) => hidden[u * width + k];
          moment[i * width + j] += at(t, i) * at(t, j);
          for (const { lag, weight } of lags)
            if (t >= lag)
              difference[i * width + j] += weight * (at(t, i) - at(t - lag, i)) * (at(t, j) - at(t - lag, j));
        }
    for (const { lag, weight } of lags) pairs += weight * Math.max(0, count - lag);
  }
  expect(statistics.tokens).toBe(tokens);
  for (let i = 0; i < width * width; i++) {
    expect(statistics.secondMoment[i]).toBeCloseTo(moment[i] / tokens, 4);
    expect(statistics.difference[i]).toBeCloseTo(difference[i] / pairs, 4);
  }
});

test("a factorisation solves, and refuses what is not positive definite", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = new Randomness(seed);
      const root = Float64Array.from({ length: 16 }, () => random.normal());
      const matrix = diagonal(0.1, 0.1, 0.1, 0.1);
      for (let i = 0; i < 4; i++)
        for (let j = 0; j < 4; j++) for (let k = 0; k < 4; k++) matrix[i * 4 + j] += root[i * 4 + k] * root[j * 4 + k];
      const x = Float64Array.from({ length: 4 }, () => random.normal());
      const b = x.map((_, i) => x.reduce((sum, value, j) => sum + matrix[i * 4 + j] * value, 0));
      solveCholesky(cholesky(matrix, 4)!, 4, b);
      for (let i = 0; i < 4; i++) expect(b[i]).toBeCloseTo(x[i], 6);
    }),
  );
  expect(cholesky(diagonal(1, -1), 2)).toBeUndefined();
});

describe("known answers", () => {
  test("a fast direction is weighed down, and the scale given back", () => {
    const statistics: InputStatistics = {
      ...{ width: 2, tokens: 9, mean: new Float64Array(2) },
      ...{ secondMoment: diagonal(1, 1), difference: diagonal(2, 0) },
    };
    const base = { weights: Float32Array.of(1, 1), bias: undefined };
    const plain = slowGate(base, statistics, { ...exact, mu: 2, rescale: false }).weights;
    expect([...plain]).toEqual([0.5, 1]);
    const scaled = slowGate(base, statistics, { ...exact, mu: 2 }).weights;
    expect(scaled[0]).toBeCloseTo(0.632, 3);
    expect(scaled[1]).toBeCloseTo(1.265, 3);
  });

  test("independent inputs give the gate back, and so does a large mu", () => {
    const { statistics, random, width } = randomStatistics(2);
    const base = { weights: Float32Array.from({ length: 3 * width }, () => random.normal()), bias: undefined };
    const independent = { ...statistics, difference: statistics.secondMoment.map((value) => 2 * value) };
    for (const mean of ["keep", "fix"] as const) {
      const far = slowGate(base, statistics, { mu: 1e9, mean }).weights;
      for (const [i, value] of base.weights.entries()) expect(far[i]).toBeCloseTo(value, 5);
    }
    const same = slowGate(base, independent, { ...exact, mu: 3 }).weights;
    for (const [i, value] of base.weights.entries()) expect(same[i]).toBeCloseTo(value, 5);
  });
});

test("it is the minimum, and a fixed mean keeps its logits with and without a bias", () => {
  const { statistics, random, width } = randomStatistics(3);
  const base = { weights: Float32Array.from({ length: width }, () => random.normal()), bias: undefined };
  const square = (matrix: Float64Array, w: Float64Array) =>
    w.reduce((sum, a, i) => sum + w.reduce((own, b, j) => own + a * b * matrix[i * width + j], 0), 0);
  const objective = (w: Float64Array) =>
    square(statistics.difference, w) +
    0.7 *
      square(
        statistics.secondMoment,
        w.map((value, i) => value - base.weights[i]),
      );
  const best = Float64Array.from(slowGate(base, statistics, { ...exact, mu: 0.7, rescale: false }).weights);
  for (let trial = 0; trial < 50; trial++)
    expect(objective(best.map((value) => value + 0.01 * random.normal()))).toBeGreaterThan(objective(best));

  const logit = (weights: Float32Array, bias: number) =>
    weights.reduce((sum, w, i) => sum + w * statistics.mean[i], bias);
  const before = logit(base.weights, 0);
  const fixed = slowGate(base, statistics, { mu: 0.5 });
  expect(logit(fixed.weights, 0)).toBeCloseTo(before, 4);
  expect(logit(slowGate(base, statistics, { mu: 0.5, mean: "keep" }).weights, 0)).not.toBeCloseTo(before, 2);
  const biased = slowGate({ ...base, bias: Float32Array.of(3) }, statistics, { mu: 0.5 });
  expect(logit(biased.weights, biased.bias![0])).toBeCloseTo(before + 3, 4);
});
