import { expect, test } from "vitest";
import { adamStep, KernelMemory, padded } from "./kernels.ts";
import { Randomness } from "./randomness.ts";

/** A memory with the matrices in it, filled with normal numbers. */
function filled(random: Randomness, ...sizes: readonly number[]) {
  const memory = new KernelMemory();
  const addresses = sizes.map((size) => memory.allocate(size));
  const views = addresses.map((address, i) => memory.floats(address, sizes[i]));
  for (const view of views) for (let i = 0; i < view.length; i++) view[i] = random.normal();
  return { memory, addresses, views };
}

test("products of rows are those of a plain loop", () => {
  const random = new Randomness(1);
  for (const [m, n, k] of [
    [2, 4, 8],
    [6, 12, 24],
    [128, 32, 264],
    [2, 8, 2056],
  ] as const) {
    const { memory, addresses, views } = filled(random, m * k, n * k, m * n, n);
    const [a, b, c, y] = views;
    memory.kernels.multiply(addresses[0], addresses[1], addresses[2], m, n, 4 * k);
    memory.kernels.multiplyRow(addresses[0], addresses[1], addresses[3], n, 4 * k);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let expected = 0;
        for (let l = 0; l < k; l++) expected += a[i * k + l] * b[j * k + l];
        expect(c[i * n + j]).toBeCloseTo(expected, 3);
        if (i === 0) expect(y[j]).toBeCloseTo(expected, 3);
      }
  }
});

test("Adam steps as its paper says, and leaves weights without a gradient alone", () => {
  const { memory, addresses, views } = filled(new Randomness(2), 8, 8, 8, 8);
  const [weights, gradient, mean, variance] = views;
  mean.fill(0);
  variance.fill(0);
  gradient.fill(0, 4);
  const expected = Float64Array.from(weights);
  const m = new Float64Array(8);
  const v = new Float64Array(8);
  for (let step = 1; step <= 3; step++) {
    const { rate, varianceScale } = adamStep(0.01, step);
    memory.kernels.adam(addresses[0], addresses[1], addresses[2], addresses[3], 32, rate, varianceScale);
    for (let i = 0; i < 8; i++) {
      m[i] = 0.9 * m[i] + 0.1 * gradient[i];
      v[i] = 0.999 * v[i] + 0.001 * gradient[i] ** 2;
      expected[i] -= (0.01 * (m[i] / (1 - 0.9 ** step))) / (Math.sqrt(v[i] / (1 - 0.999 ** step)) + 1e-8);
    }
  }
  for (let i = 0; i < 8; i++) expect(weights[i]).toBeCloseTo(expected[i], 5);
  expect([...weights.subarray(4)]).toEqual([...Float32Array.from(expected).subarray(4)]);
});

test("rows are padded to what the kernels take", () => {
  expect([1, 8, 9, 257].map(padded)).toEqual([8, 8, 16, 264]);
});
