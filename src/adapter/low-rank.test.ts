import fc from "fast-check";
import { expect, test } from "vitest";
import { factorChange } from "./low-rank.ts";
import { symmetricEigen } from "./symmetric-eigen.ts";

function product(b: Float32Array, a: Float32Array, experts: number, rank: number, width: number): Float64Array {
  const result = new Float64Array(experts * width);
  for (let e = 0; e < experts; e++)
    for (let k = 0; k < rank; k++)
      for (let i = 0; i < width; i++) result[e * width + i] += b[e * rank + k] * a[k * width + i];
  return result;
}

const norm = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, value) => sum + value * value, 0));

const matrices = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })).chain(([rows, columns]) =>
  fc.record({
    rows: fc.constant(rows),
    values: fc
      .array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: rows * columns, maxLength: rows * columns })
      .map((values) => Float32Array.from(values)),
  }),
);

test("without a rank the product is the change, bit for bit", () => {
  fc.assert(
    fc.property(matrices, ({ rows, values }) => {
      const width = values.length / rows;
      const { a, b, rank, relativeError } = factorChange(values, rows);
      expect(rank).toBe(Math.min(rows, width));
      expect(relativeError).toBe(0);
      expect([...product(b, a, rows, rank, width)].map((value) => value + 0)).toEqual(
        [...values].map((value) => value + 0),
      );
    }),
  );
});

test("a smaller rank loses what it says, and no more than the smallest directions", () => {
  fc.assert(
    fc.property(matrices, fc.integer({ min: 1, max: 8 }), ({ rows, values }, wanted) => {
      const width = values.length / rows;
      const { a, b, rank, relativeError } = factorChange(values, rows, wanted);
      const back = product(b, a, rows, rank, width);
      const lost = norm(values.map((value, i) => value - back[i]));
      expect(lost).toBeCloseTo(relativeError * norm(values), 4);
      // Nothing of rank r is nearer than leaving whole rows out.
      const rowNorms = Array.from({ length: rows }, (_, e) => norm(values.subarray(e * width, (e + 1) * width)));
      const byRows = norm(rowNorms.sort((x, y) => y - x).slice(rank));
      expect(lost).toBeLessThanOrEqual(byRows + 1e-4);
    }),
  );
});

test("a change of rank 3 is kept by rank 3 and by no less", () => {
  const [experts, width] = [24, 40];
  const left = Float32Array.from({ length: experts * 3 }, (_, i) => Math.sin(i * i + 0.3 * i));
  const right = Float32Array.from({ length: 3 * width }, (_, i) => Math.cos(2 * i * i + i));
  const change = Float32Array.from(product(left, right, experts, 3, width));
  expect(factorChange(change, experts, 3).relativeError).toBeLessThan(1e-6);
  expect(factorChange(change, experts, 2).relativeError).toBeGreaterThan(0.01);
});

test("no change at all is no change at any rank", () => {
  const { a, relativeError } = factorChange(new Float32Array(12), 3, 2);
  expect(relativeError).toBe(0);
  expect([...a].every((value) => value === 0)).toBe(true);
});

test("eigenvectors are orthonormal and give the matrix back", () => {
  const size = 48;
  const entry = (i: number, j: number) => Math.sin(Math.min(i, j) * 3.7 + Math.max(i, j)) / (1 + Math.abs(i - j));
  const matrix = Float64Array.from({ length: size * size }, (_, at) => entry(Math.floor(at / size), at % size));
  const { values, vectors } = symmetricEigen(matrix.slice(), size);
  expect([...values]).toEqual([...values].sort((a, b) => b - a));
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      let [dot, back] = [0, 0];
      for (let k = 0; k < size; k++) {
        dot += vectors[i * size + k] * vectors[j * size + k];
        back += values[k] * vectors[k * size + i] * vectors[k * size + j];
      }
      expect(Math.abs(dot - (i === j ? 1 : 0))).toBeLessThan(1e-12);
      expect(Math.abs(back - matrix[i * size + j])).toBeLessThan(1e-8);
    }
});
