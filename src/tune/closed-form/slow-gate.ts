/**
 * The slow router: of all gates near the given one, that whose logits change least from token to token. It weighs down what
 * differs between neighbours (which token it is) and keeps what lasts (what the text is about); one linear system, no steps.
 */
import { TuneError } from "../errors.ts";
import { cholesky, solveCholesky } from "./cholesky.ts";
import type { InputStatistics } from "./covariances.ts";

export interface SlowGateOptions {
  /** How much nearness to the given gate counts against slowness; large keeps the gate. */
  readonly mu: number;
  /**
   * "keep": inputs as they are, so that the mean's share of the logits counts as slow; the formula of the specification.
   * "fix": the mean input keeps its logits, and only what varies about it is tuned. @default "fix"
   */
  readonly mean?: "keep" | "fix";
  /** Added to the second moment's diagonal, as a share of the mean of it. @default 1e-4 */
  readonly ridge?: number;
  /** Scale the result so that logits vary as much as before. @default true */
  readonly rescale?: boolean;
}

export interface Gate {
  /** `[experts][width]` */
  readonly weights: Float32Array;
  /** `[experts]` */
  readonly bias: Float32Array | undefined;
}

/**
 * min over W of E|W (h_t - h_t-d)|^2 + mu E|(W - W0) h|^2, then scaled.
 * @throws TuneError `too-little-data` when the inputs do not even span what a ridge can mend
 */
export function slowGate(
  { weights, bias }: Gate,
  { width, mean, secondMoment, difference }: InputStatistics,
  { mu, mean: treatment = "fix", ridge = 1e-4, rescale = true }: SlowGateOptions,
): Gate {
  const experts = weights.length / width;
  const fixed = treatment === "fix";
  const moment = secondMoment.slice();
  if (fixed) for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) moment[i * width + j] -= mean[i] * mean[j];
  let trace = 0;
  for (let i = 0; i < width; i++) trace += moment[i * width + i];
  for (let i = 0; i < width; i++) moment[i * width + i] += (ridge * trace) / width;
  const lower = cholesky(
    moment.map((value, i) => mu * value + difference[i]),
    width,
  );
  if (lower === undefined)
    throw new TuneError("too-little-data", "The router inputs are too few or too much alike. Capture more tokens.");
  const solved = new Float64Array(weights.length);
  let before = 0;
  let after = 0;
  for (let e = 0; e < experts; e++) {
    const own = Float64Array.from(weights.subarray(e * width, (e + 1) * width));
    const row = multiply(moment, own);
    before += dot(own, row);
    for (let i = 0; i < width; i++) row[i] *= mu;
    solveCholesky(lower, width, row);
    after += dot(row, multiply(moment, row));
    solved.set(row, e * width);
  }
  const scale = rescale && after > 0 ? Math.sqrt(before / after) : 1;
  for (let i = 0; i < solved.length; i++) solved[i] *= scale;
  const slow = { weights: solved, bias: bias && Float64Array.from(bias) };
  if (fixed) keepMeanLogits(slow, weights, mean, lower, width);
  return { weights: Float32Array.from(slow.weights), bias: slow.bias && Float32Array.from(slow.bias) };
}

/**
 * Gives the mean input its old logits back: by the bias where there is one, else along the direction that disturbs the rest
 * least in the measure of the problem itself.
 */
function keepMeanLogits(
  slow: { readonly weights: Float64Array; readonly bias: Float64Array | undefined },
  base: Float32Array,
  mean: Float64Array,
  lower: Float64Array,
  width: number,
): void {
  const direction = mean.slice();
  solveCholesky(lower, width, direction);
  const length = dot(direction, mean);
  if (length === 0) return;
  for (let e = 0; e < slow.weights.length / width; e++) {
    let missing = 0;
    for (let i = 0, at = e * width; i < width; i++) missing += (base[at + i] - slow.weights[at + i]) * mean[i];
    if (slow.bias !== undefined) slow.bias[e] += missing;
    else for (let i = 0, at = e * width; i < width; i++) slow.weights[at + i] += (missing / length) * direction[i];
  }
}

/** A symmetric matrix times a vector. */
function multiply(matrix: Float64Array, vector: Float64Array): Float64Array {
  const { length } = vector;
  const product = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    let sum = 0;
    for (let j = 0, at = i * length; j < length; j++) sum += matrix[at + j] * vector[j];
    product[i] = sum;
  }
  return product;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
