/**
 * One distribution of several neighbours: the mean of their rows, weighted by the softmax of their scores. The paper uses the
 * single best match; one neighbour alone can mislead.
 */

/** Cosines of maps lie close together near 1; a weight falls to 1/e when the score is lower by this. */
export const BLEND_TEMPERATURE = 0.05;

export interface BlendInput {
  /** How many neighbours. */
  readonly matches: number;
  /** `[matches]` */
  readonly scores: Float32Array;
  /** `[matches][targets][experts]`: a forecast's `probabilities`. */
  readonly probabilities: Float32Array;
  readonly targets: number;
  readonly experts: number;
}

/**
 * Writes `experts` values that sum to 1 into `into` from `at` on (all zero without a match).
 * @param target which of the forecast's target layers, 0 .. targets-1
 * @param temperature above 0; towards 0 only the best counts. @default BLEND_TEMPERATURE
 * @returns the weighted mean of the scores
 */
export function blendMatches(
  { matches, scores, probabilities, targets, experts }: BlendInput,
  target: number,
  into: Float32Array,
  at = 0,
  temperature: number = BLEND_TEMPERATURE,
): number {
  into.fill(0, at, at + experts);
  if (matches === 0) return 0;
  // The best comes first, so no exponential is above 1.
  const best = scores[0];
  let sum = 0;
  for (let i = 0; i < matches; i++) sum += Math.exp((scores[i] - best) / temperature);
  let score = 0;
  for (let i = 0; i < matches; i++) {
    const weight = Math.exp((scores[i] - best) / temperature) / sum;
    const from = (i * targets + target) * experts;
    for (let j = 0; j < experts; j++) into[at + j] += weight * probabilities[from + j];
    score += weight * scores[i];
  }
  return score;
}
