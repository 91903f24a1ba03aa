import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { cholesky, multiplyPacked, packedLength, quadraticForm, solveCholesky } from "./cholesky.ts";
import { CovarianceGatherer, type InputStatistics } from "./covariances.ts";
import { type Gate, type SlowGateOptions, SlowGateSolver } from "./slow-gate.ts";

const slowGate = (gate: Gate, statistics: InputStatistics, { mu, ...options }: SlowGateOptions & { mu: number }) =>
  new SlowGateSolver(gate, statistics, options).solve(mu);

const exact = { mean: "keep", ridge: 0 } as const;
const diagonal = (...values: number[]) => {
  const matrix = new Float64Array(packedLength(values.length));
  for (const [i, value] of values.entries()) matrix[packedLength(i) + i] = value;
  return matrix;
};

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
  const moment = new Float64Array(packedLength(width));
  const difference = new Float64Array(packedLength(width));
  let tokens = 0;
  let pairs = 0;
  for (const { hidden, tokens: count } of documents) {
    tokens += count;
    for (let t = 0; t < count; t++)
      for (let i = 0; i < width; i++)
        for (let j = 0; j <= i; j++) {
          const at = (u: number, k: number) => hidden[u * width + k];
          moment[packedLength(i) + j] += at(t, i) * at(t, j);
          for (const { lag, weight } of lags)
            if (t >= lag)
              difference[packedLength(i) + j] += weight * (at(t, i) - at(t - lag, i)) * (at(t, j) - at(t - lag, j));
        }
    for (const { lag, weight } of lags) pairs += weight * Math.max(0, count - lag);
  }
  expect(statistics.tokens).toBe(tokens);
  for (let i = 0; i < moment.length; i++) {
    expect(statistics.secondMoment[i]).toBeCloseTo(moment[i] / tokens, 4);
    expect(statistics.difference[i]).toBeCloseTo(difference[i] / pairs, 4);
  }
});

test("a factorisation solves, and refuses what is not positive definite", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 23 }), (seed, size) => {
      const random = new Randomness(seed);
      const root = Float64Array.from({ length: size * size }, () => random.normal());
      const matrix = diagonal(...new Array<number>(size).fill(0.1));
      const square = (i: number, j: number) => matrix[packedLength(Math.max(i, j)) + Math.min(i, j)];
      for (let i = 0; i < size; i++)
        for (let j = 0; j <= i; j++)
          for (let k = 0; k < size; k++) matrix[packedLength(i) + j] += root[i * size + k] * root[j * size + k];
      const x = Float64Array.from({ length: size }, () => random.normal());
      const b = x.map((_, i) => x.reduce((sum, value, j) => sum + square(i, j) * value, 0));
      for (const [i, value] of multiplyPacked(matrix, x).entries()) expect(value).toBeCloseTo(b[i], 8);
      expect(quadraticForm(matrix, x)).toBeCloseTo(
        x.reduce((sum, value, i) => sum + value * b[i], 0),
        8,
      );
      expect(cholesky(matrix, size)).toBe(true);
      solveCholesky(matrix, size, b);
      for (let i = 0; i < size; i++) expect(b[i]).toBeCloseTo(x[i], 4);
    }),
  );
  expect(cholesky(diagonal(1, -1), 2)).toBe(false);
  expect(cholesky(diagonal(1, 1, 1, 1, 1, 1, 0), 7)).toBe(false);
});

test("a gatherer that was used before gathers the same, also in widths of several strips", () => {
  const width = 150;
  const random = new Randomness(4);
  const hidden = Float32Array.from({ length: 30 * width }, () => random.normal());
  const lags = [{ lag: 2, weight: 1 }];
  const used = new CovarianceGatherer(width, lags);
  used.add(
    hidden.map((value) => value + 1),
    30,
  );
  used.finish();
  used.clear();
  used.add(hidden, 30);
  const { mean, secondMoment, difference } = used.finish();
  const fresh = new CovarianceGatherer(width, lags);
  fresh.add(hidden, 30);
  expect({ ...fresh.finish() }).toMatchObject({ mean, secondMoment, difference, tokens: 30 });
  const at = (t: number, i: number) => hidden[t * width + i];
  for (const [i, j] of [
    [149, 149],
    [149, 3],
    [70, 65],
    [64, 63],
    [0, 0],
  ]) {
    let sum = 0;
    for (let t = 2; t < 30; t++) sum += (at(t, i) - at(t - 2, i)) * (at(t, j) - at(t - 2, j));
    expect(difference[packedLength(i) + j]).toBeCloseTo(sum / 28, 4);
  }
});

test("inputs that are always 0 change nothing", () => {
  const { documents, lags, width, statistics, random } = randomStatistics(5);
  const wide = 3 * width;
  const gatherer = new CovarianceGatherer(wide, lags);
  for (const { hidden, tokens } of documents) {
    const padded = new Float32Array(tokens * wide);
    for (let t = 0; t < tokens; t++) padded.set(hidden.subarray(t * width, (t + 1) * width), t * wide);
    gatherer.add(padded, tokens);
  }
  const weights = Float32Array.from({ length: 2 * width }, () => random.normal());
  const padded = new Float32Array(2 * wide);
  for (const e of [0, 1]) padded.set(weights.subarray(e * width, (e + 1) * width), e * wide);
  const narrow = slowGate({ weights, bias: undefined }, statistics, { mu: 2 }).weights;
  const result = slowGate({ weights: padded, bias: undefined }, gatherer.finish(), { mu: 2 }).weights;
  for (const e of [0, 1])
    for (let i = 0; i < wide; i++) expect(result[e * wide + i]).toBeCloseTo(i < width ? narrow[e * width + i] : 0, 6);
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
  const square = (matrix: Float64Array, w: Float64Array) => quadraticForm(matrix, w);
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
