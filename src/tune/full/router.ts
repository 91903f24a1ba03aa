/**
 * A softmax router as llama.cpp computes it, and the gradient of its mixture weights: from logits to chosen experts and
 * their weights, and back. The products with gate matrices are elsewhere; choices never carry a gradient.
 */
import { chooseExperts, type RouterRule, SMALLEST_SUM } from "../router-forward.ts";

/** What of a `RouterRule` a softmax router without groups, bias or scale has. */
export type RouterShape = Pick<RouterRule, "experts" | "used" | "normalizeWeights">;

/** Of `tokens` rows; all arrays row by row. */
export interface Routing {
  readonly tokens: number;
  /** `[tokens][experts]`, rows sum to 1. */
  readonly probabilities: Float32Array;
  /** `[tokens][used]`, best first. */
  readonly ids: Int32Array;
  /** `[tokens][used]` */
  readonly weights: Float32Array;
}

const PLAIN_SOFTMAX = { scoring: "softmax", selectionBias: undefined, groups: undefined, weightScale: 1 } as const;

/**
 * @param logits `[tokens][experts]`
 * @param ids choices to keep instead of taking the best @default the best `used` of each row
 */
export function route(logits: Float32Array, tokens: number, shape: RouterShape, ids?: Int32Array): Routing {
  const { experts, used, normalizeWeights } = shape;
  const probabilities = softmaxRows(logits, tokens, experts);
  const chosen = ids ?? chooseExperts(logits, tokens, { ...shape, ...PLAIN_SOFTMAX });
  const weights = new Float32Array(tokens * used);
  for (let t = 0; t < tokens; t++) {
    let sum = 0;
    for (let k = 0; k < used; k++) {
      const weight = probabilities[t * experts + chosen[t * used + k]];
      weights[t * used + k] = weight;
      sum += weight;
    }
    if (!normalizeWeights) continue;
    for (let k = 0; k < used; k++) weights[t * used + k] /= Math.max(sum, SMALLEST_SUM);
  }
  return { tokens, probabilities, ids: chosen, weights };
}

/**
 * Adds the gradient of the logits to `dz`.
 * @param dw gradient of the mixture weights, `[tokens][used]`
 * @param dz `[tokens][experts]`
 */
export function addRouterGradient(routing: Routing, dw: Float32Array, shape: RouterShape, dz: Float32Array): void {
  const { experts, used, normalizeWeights } = shape;
  const { tokens, probabilities, ids, weights } = routing;
  for (let t = 0; t < tokens; t++) {
    const row = t * experts;
    const slots = t * used;
    let mean = 0;
    for (let k = 0; k < used; k++) mean += weights[slots + k] * dw[slots + k];
    if (normalizeWeights) {
      // Weights depend on the chosen experts' logits alone, as a softmax over them.
      for (let k = 0; k < used; k++) dz[row + ids[slots + k]] += weights[slots + k] * (dw[slots + k] - mean);
    } else {
      for (let e = 0; e < experts; e++) dz[row + e] -= probabilities[row + e] * mean;
      for (let k = 0; k < used; k++) dz[row + ids[slots + k]] += weights[slots + k] * dw[slots + k];
    }
  }
}

function softmaxRows(logits: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    const at = r * columns;
    let largest = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < columns; c++) if (logits[at + c] > largest) largest = logits[at + c];
    let sum = 0;
    for (let c = 0; c < columns; c++) {
      const value = Math.exp(logits[at + c] - largest);
      result[at + c] = value;
      sum += value;
    }
    for (let c = 0; c < columns; c++) result[at + c] /= sum;
  }
  return result;
}
