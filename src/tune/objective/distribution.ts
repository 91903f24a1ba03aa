/**
 * The distribution over experts that the routing losses look at, from a gate's logits, and how it moves with them. Softmax
 * gates have their softmax; scores of other gates are normalised to sum to 1. It is not what selects experts: biases and
 * groups are the business of `router-forward.ts`.
 */
import type { Scoring } from "../../llama/graph-hook.ts";

/** Row-major numbers; tests compute in double precision. */
export type Floats = Float32Array | Float64Array;

/** `[tokens][experts]` each. */
export interface ExpertDistribution {
  readonly probabilities: Float64Array;
  readonly logProbabilities: Float64Array;
  /**
   * With G = dL/d(log P), dL/dz = slope * (G - P * sum(G)): f'(z) / f(z) of the score f. Undefined for softmax, where it
   * is 1 everywhere.
   */
  readonly slopes: Float64Array | undefined;
}

/**
 * @param z logits `[tokens][experts]`, with the gate's bias if it has one
 * @param scoring of the gate; "logits" (softmax over the chosen only) has the softmax over all experts here
 */
export function expertDistribution(
  z: Floats,
  tokens: number,
  experts: number,
  scoring: Scoring = "softmax",
): ExpertDistribution {
  const probabilities = new Float64Array(tokens * experts);
  const logProbabilities = new Float64Array(tokens * experts);
  const soft = scoring === "softmax" || scoring === "logits";
  const slopes = soft ? undefined : new Float64Array(tokens * experts);
  for (let first = 0; first < tokens * experts; first += experts) {
    const end = first + experts;
    if (slopes === undefined) logProbabilities.set(z.subarray(first, end), first);
    else
      for (let i = first; i < end; i++) {
        const score = scoring === "sigmoid" ? logSigmoid(z[i]) : 0.5 * Math.log(softplus(z[i]));
        logProbabilities[i] = score;
        const sigmoid = Math.exp(logSigmoid(z[i]));
        slopes[i] = scoring === "sigmoid" ? 1 - sigmoid : sigmoid / (2 * softplus(z[i]));
      }
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = first; i < end; i++) if (logProbabilities[i] > largest) largest = logProbabilities[i];
    let sum = 0;
    for (let i = first; i < end; i++) {
      const share = Math.exp(logProbabilities[i] - largest);
      probabilities[i] = share;
      sum += share;
    }
    const logSum = largest + Math.log(sum);
    for (let i = first; i < end; i++) {
      probabilities[i] /= sum;
      logProbabilities[i] -= logSum;
    }
  }
  return { probabilities, logProbabilities, slopes };
}

/** Turns `gradient` = dL/d(log P) into dL/dz, in place. */
export function towardsLogits(
  gradient: Float64Array,
  { probabilities, slopes }: ExpertDistribution,
  experts: number,
): void {
  for (let first = 0; first < gradient.length; first += experts) {
    const end = first + experts;
    let sum = 0;
    for (let i = first; i < end; i++) sum += gradient[i];
    for (let i = first; i < end; i++) gradient[i] -= probabilities[i] * sum;
    if (slopes !== undefined) for (let i = first; i < end; i++) gradient[i] *= slopes[i];
  }
}

export function logSigmoid(x: number): number {
  return x < 0 ? x - Math.log1p(Math.exp(x)) : -Math.log1p(Math.exp(-x));
}

/** Never 0: the logarithm of it is taken. */
export function softplus(x: number): number {
  return Math.max(Number.MIN_VALUE, x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x)));
}
