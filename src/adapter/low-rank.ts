/**
 * A change of a gate as the product of two thin matrices, which is what a LoRA adapter holds: exactly, with one of them the
 * identity, or the nearest product of a smaller rank with what is lost by it.
 */
import { symmetricEigen } from "./symmetric-eigen.ts";

/** `change = b a` */
export interface LowRankFactors {
  readonly rank: number;
  /** `[rank][width]` */
  readonly a: Float32Array;
  /** `[experts][rank]` */
  readonly b: Float32Array;
  /** Of the change, the share that the product leaves out: its norm over the change's (Frobenius), 0 to 1. */
  readonly relativeError: number;
}

/**
 * @param change `[experts][width]`
 * @param rank at most; undefined for an exact product, as is any rank that the change cannot exceed
 */
export function factorChange(change: Float32Array, experts: number, rank?: number): LowRankFactors {
  const width = change.length / experts;
  const full = Math.min(experts, width);
  if (rank === undefined || rank >= full)
    return experts <= width
      ? { rank: experts, a: change, b: identity(experts), relativeError: 0 }
      : { rank: width, a: identity(width), b: change, relativeError: 0 };

  const { values, vectors } = symmetricEigen(gram(change, experts, width), experts);
  const total = values.reduce((sum, value) => sum + Math.max(0, value), 0);
  const lost = values.subarray(rank).reduce((sum, value) => sum + Math.max(0, value), 0);
  const a = new Float32Array(rank * width);
  const b = new Float32Array(experts * rank);
  const row = new Float64Array(width);
  for (let k = 0; k < rank; k++) {
    row.fill(0);
    for (let expert = 0; expert < experts; expert++) {
      const share = vectors[k * experts + expert];
      b[expert * rank + k] = share;
      for (let i = 0; i < width; i++) row[i] += share * change[expert * width + i];
    }
    a.set(row, k * width);
  }
  return { rank, a, b, relativeError: total === 0 ? 0 : Math.sqrt(lost / total) };
}

/** Inner products of all pairs of rows. */
function gram(rows: Float32Array, count: number, width: number): Float64Array {
  const products = new Float64Array(count * count);
  for (let p = 0; p < count; p++)
    for (let q = p; q < count; q++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += rows[p * width + i] * rows[q * width + i];
      products[p * count + q] = sum;
      products[q * count + p] = sum;
    }
  return products;
}

function identity(size: number): Float32Array {
  const values = new Float32Array(size * size);
  for (let i = 0; i < size; i++) values[i * size + i] = 1;
  return values;
}
