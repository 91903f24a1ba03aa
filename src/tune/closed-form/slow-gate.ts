/**
 * The slow router: of all gates near the given one, that whose logits change least from token to token. It weighs down what
 * differs between neighbours (which token it is) and keeps what lasts (what the text is about); one linear system, no steps.
 */
import { TuneError } from "../errors.ts";
import { cholesky, multiplyPacked, packedLength, quadraticForm, solveCholesky } from "./cholesky.ts";
import type { InputStatistics } from "./covariances.ts";

export interface SlowGateOptions {
  /**
   * "keep": inputs as they are, so that the mean's share of the logits counts as slow; the formula of the specification.
   * "fix": the mean input keeps its logits, and only what varies about it is tuned. @default "fix"
   */
  readonly mean?: "keep" | "fix";
  /** Added to the second moment's diagonal, as a share of the mean of it over inputs that are not always 0. @default 1e-4 */
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

/** What is the same for all weights of nearness, and the memory of a factorisation. */
export class SlowGateSolver {
  readonly #gate: Gate;
  readonly #statistics: InputStatistics;
  readonly #factor: Float64Array;
  readonly #rescale: boolean;
  /** What is taken from the second moment: the mean's own share, or nothing. */
  readonly #mean: Float64Array;
  readonly #isFixed: boolean;
  readonly #ridge: number;
  /** The second moment of what is tuned times the given gate, `[experts][width]`. */
  readonly #target: Float64Array;
  /** Variance of the given gate's logits, all experts' together. */
  readonly #variance: number;

  /** @param factor `packedLength(width)` numbers of scratch memory; the system of a layer of width 4096 has 67 MB */
  constructor(
    gate: Gate,
    statistics: InputStatistics,
    { mean: treatment = "fix", ridge = 1e-4, rescale = true }: SlowGateOptions = {},
    factor: Float64Array = new Float64Array(packedLength(statistics.width)),
  ) {
    const { width, mean, secondMoment } = statistics;
    this.#gate = gate;
    this.#statistics = statistics;
    this.#factor = factor;
    this.#rescale = rescale;
    this.#isFixed = treatment === "fix";
    this.#mean = this.#isFixed ? mean : new Float64Array(width);
    let trace = 0;
    let inputs = 0;
    for (let i = 0; i < width; i++) {
      trace += secondMoment[packedLength(i) + i] - this.#mean[i] ** 2;
      if (secondMoment[packedLength(i) + i] > 0) inputs++;
    }
    this.#ridge = (ridge * trace) / Math.max(1, inputs);
    this.#target = new Float64Array(gate.weights.length);
    this.#variance = 0;
    for (let at = 0; at < gate.weights.length; at += width) {
      const own = Float64Array.from(gate.weights.subarray(at, at + width));
      const row = multiplyPacked(secondMoment, own);
      const mean = dot(own, this.#mean);
      for (let i = 0; i < width; i++) row[i] += this.#ridge * own[i] - mean * this.#mean[i];
      this.#variance += dot(own, row);
      this.#target.set(row, at);
    }
  }

  /**
   * min over W of E|W (h_t - h_t-d)|^2 + mu E|(W - W0) h|^2, then scaled.
   * @param mu how much nearness to the given gate counts against slowness; large keeps the gate
   * @throws TuneError `too-little-data` when the inputs do not even span what a ridge can mend
   */
  solve(mu: number): Gate {
    const { width } = this.#statistics;
    this.#factorise(mu);
    const solved = new Float64Array(this.#target.length);
    let after = 0;
    for (let at = 0; at < solved.length; at += width) {
      const row = solved.subarray(at, at + width);
      for (let i = 0; i < width; i++) row[i] = mu * this.#target[at + i];
      solveCholesky(this.#factor, width, row);
      after += this.#varianceOf(row);
    }
    const scale = this.#rescale && after > 0 ? Math.sqrt(this.#variance / after) : 1;
    for (let i = 0; i < solved.length; i++) solved[i] *= scale;
    const { weights, bias } = this.#gate;
    const slow = { weights: solved, bias: bias && Float64Array.from(bias) };
    if (this.#isFixed) keepMeanLogits(slow, weights, this.#mean, this.#factor, width);
    return { weights: Float32Array.from(slow.weights), bias: slow.bias && Float32Array.from(slow.bias) };
  }

  #factorise(mu: number): void {
    const { width, secondMoment, difference } = this.#statistics;
    const mean = this.#mean;
    const factor = this.#factor;
    for (let i = 0, row = 0; i < width; i++, row += i) {
      for (let j = 0; j <= i; j++)
        factor[row + j] = mu * (secondMoment[row + j] - mean[i] * mean[j]) + difference[row + j];
      factor[row + i] += mu * this.#ridge;
    }
    if (!cholesky(factor, width))
      throw new TuneError("too-little-data", "The router inputs are too few or too much alike. Capture more tokens.");
  }

  #varianceOf(row: Float64Array): number {
    return quadraticForm(this.#statistics.secondMoment, row) - dot(row, this.#mean) ** 2 + this.#ridge * dot(row, row);
  }
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

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
