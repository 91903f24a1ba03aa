import { expect, test } from "vitest";
import { basicInterval, drawWeights } from "./bootstrap.ts";
import { mean, sampleDeviation } from "./correlation.ts";
import { randomNumbers } from "./traces.test-data.ts";

const weightsOf = (sample: number, replicas: number) => {
  const weights = new Uint8Array(replicas);
  drawWeights(weights, sample);
  return Array.from(weights);
};

test("weights are Poisson of mean 1, and a sample's own", () => {
  const all = Array.from({ length: 200 }, (_, sample) => weightsOf(sample, 500)).flat();
  expect(mean(all)).toBeCloseTo(1, 2);
  expect(sampleDeviation(all) ** 2).toBeCloseTo(1, 1);
  expect(all.filter((weight) => weight === 0).length / all.length).toBeCloseTo(Math.exp(-1), 2);
  expect(weightsOf(7, 50)).toEqual(weightsOf(7, 50));
  expect(weightsOf(7, 50)).not.toEqual(weightsOf(8, 50));
  // More replicas do not change the first ones.
  expect(weightsOf(7, 80).slice(0, 50)).toEqual(weightsOf(7, 50));
});

test("replicas of neighbouring samples have nothing to do with each other", () => {
  const lists = Array.from({ length: 40 }, (_, sample) => weightsOf(sample, 1000));
  const sums = lists[0].map((_, replica) => lists.reduce((sum, list) => sum + list[replica], 0));
  // The variance of the sum of 40 independent ones.
  expect(sampleDeviation(sums) ** 2 / 40).toBeCloseTo(1, 0);
});

test("the basic interval mirrors the replicas' quantiles at the value", () => {
  const replicas = Array.from({ length: 200 }, (_, i) => (i * 37) % 200);
  // Sorted: 0 to 199; five of them are cut off at each end.
  expect(basicInterval(100, replicas)).toEqual([200 - 195, 200 - 5]);
  expect(basicInterval(1, [])).toBeNull();
  expect(basicInterval(1, [1, 2, 3])).toBeNull();
});

test("intervals are as wide as those of resampling with replacement", () => {
  const random = randomNumbers(3);
  const values = Array.from({ length: 120 }, () => random() ** 2);
  const width = (interval: readonly [number, number] | null) => (interval === null ? 0 : interval[1] - interval[0]);
  const weights = values.map((_, sample) => weightsOf(sample, 1000));
  const poisson = Array.from({ length: 1000 }, (_, b) => {
    const total = weights.reduce((sum, list) => sum + list[b], 0);
    return values.reduce((sum, value, i) => sum + value * weights[i][b], 0) / total;
  });
  const classic = Array.from({ length: 1000 }, () =>
    mean(values.map(() => values[Math.floor(values.length * random())])),
  );
  const value = mean(values);
  expect(width(basicInterval(value, poisson)) / width(basicInterval(value, classic))).toBeCloseTo(1, 0.5);
  expect(basicInterval(value, poisson)?.[0]).toBeLessThan(value);
  expect(basicInterval(value, poisson)?.[1]).toBeGreaterThan(value);
});
