/**
 * A softmax router in float32 as llama.cpp computes it, and the gradient of its mixture weights: from logits to chosen
 * experts and their weights, and back. The products with gate matrices are elsewhere; ids never carry a gradient.
 */

export interface RouterShape {
  readonly experts: number;
  readonly expertsUsed: number;
  readonly normalisedWeights: boolean;
  readonly weightScale: number;
}

/** Of `tokens` rows; all arrays row by row. */
export interface Routing {
  readonly tokens: number;
  /** `[tokens][experts]`, rows sum to 1. */
  readonly probabilities: Float32Array;
  /** `[tokens][expertsUsed]`, best first. */
  readonly ids: Int32Array;
  /** `[tokens][expertsUsed]` */
  readonly weights: Float32Array;
}

/** What llama.cpp clamps the sum of chosen weights to, the smallest normal float16 (src/llama-graph.cpp). */
const SMALLEST_SUM = 6.103515625e-5;

/**
 * @param logits `[tokens][experts]`
 * @param ids choices to keep instead of taking the best @default the best `expertsUsed` of each row
 */
export function route(logits: Float32Array, tokens: number, shape: RouterShape, ids?: Int32Array): Routing {
  const { experts, expertsUsed, normalisedWeights, weightScale } = shape;
  const probabilities = softmaxRows(logits, tokens, experts);
  const chosen = ids ?? bestOfRows(logits, tokens, experts, expertsUsed);
  const weights = new Float32Array(tokens * expertsUsed);
  for (let t = 0; t < tokens; t++) {
    let sum = 0;
    for (let k = 0; k < expertsUsed; k++) {
      const weight = probabilities[t * experts + chosen[t * expertsUsed + k]];
      weights[t * expertsUsed + k] = weight;
      sum += weight;
    }
    const factor = normalisedWeights ? weightScale / Math.max(sum, SMALLEST_SUM) : weightScale;
    for (let k = 0; k < expertsUsed; k++) weights[t * expertsUsed + k] *= factor;
  }
  return { tokens, probabilities, ids: chosen, weights };
}

/**
 * Adds the gradient of the logits to `dz`.
 * @param dw gradient of the mixture weights, `[tokens][expertsUsed]`
 * @param dz `[tokens][experts]`
 */
export function addRouterGradient(routing: Routing, dw: Float32Array, shape: RouterShape, dz: Float32Array): void {
  const { experts, expertsUsed, normalisedWeights, weightScale } = shape;
  const { tokens, probabilities, ids, weights } = routing;
  for (let t = 0; t < tokens; t++) {
    const row = t * experts;
    const slots = t * expertsUsed;
    if (normalisedWeights) {
      // w~ = w / scale sums to 1 over the chosen ones, and depends on their logits alone.
      let mean = 0;
      for (let k = 0; k < expertsUsed; k++) mean += weights[slots + k] * dw[slots + k];
      for (let k = 0; k < expertsUsed; k++)
        dz[row + ids[slots + k]] += weights[slots + k] * dw[slots + k] - (weights[slots + k] / weightScale) * mean;
    } else {
      let mean = 0;
      for (let k = 0; k < expertsUsed; k++) mean += weights[slots + k] * dw[slots + k];
      for (let e = 0; e < experts; e++) dz[row + e] -= probabilities[row + e] * mean;
      for (let k = 0; k < expertsUsed; k++) dz[row + ids[slots + k]] += weights[slots + k] * dw[slots + k];
    }
  }
}

export function softmaxRows(logits: Float32Array, rows: number, columns: number): Float32Array {
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

/** The `count` largest of each row, largest first; of equals the one with the lower index. */
function bestOfRows(values: Float32Array, rows: number, columns: number, count: number): Int32Array {
  const best = new Int32Array(rows * count);
  for (let r = 0; r < rows; r++) {
    const at = r * columns;
    const slots = r * count;
    let filled = 0;
    for (let c = 0; c < columns; c++) {
      const value = values[at + c];
      if (filled === count && !(value > values[at + best[slots + count - 1]])) continue;
      let place = filled < count ? filled++ : count - 1;
      for (; place > 0 && value > values[at + best[slots + place - 1]]; place--)
        best[slots + place] = best[slots + place - 1];
      best[slots + place] = c;
    }
  }
  return best;
}
