/**
 * A smooth stand-in for the overlap of neighbouring tokens' experts: each token has K experts' worth of shares that are
 * near 1 for the chosen and near 0 for the others, and soft only about the last place. Unlike probability mass on the last
 * token's experts, it rewards nothing that does not bring a choice nearer to changing.
 */
import type { Floats } from "./distribution.ts";
import type { RoutedTokens } from "./routing-terms.ts";

/** Newton steps find the threshold to rounding in 5 or 6; a step out of its bracket is replaced by halving it. */
const MOST_ROUNDS = 40;
/** Of the shares' sum over K. */
const SMALLEST_EXCESS = 1e-11;

export interface OverlapLosses {
  /** 1 - mean over pairs of neighbours of <s_t, s_t-1> / K. Both sides of a pair move. */
  readonly overlap: number;
  /**
   * E / K x mean over tokens of <s_t, p> / K, with p the share of recent tokens that chose each expert: 1 for an even load, and
   * 1 + CV^2 where s is chosen as p says. Overlap is also to be had by choosing the same few experts everywhere; this takes the
   * reward for that away. 0 without p.
   */
  readonly balance: number;
}

/**
 * s = sigmoid((z - tau) / temperature), with tau such that s sums to K: the chance that an expert is chosen when logits have
 * noise of that size.
 * @param z logits `[tokens][experts]`
 * @param popularity p, `[experts]`, constant to the gradient
 * @param gradient of the logits themselves, `[tokens][experts]`, to which the weighted ones are added
 */
export function overlapTerms(
  z: Floats,
  { temperature, popularity }: { readonly temperature: number; readonly popularity: ArrayLike<number> | undefined },
  { tokens, experts, used, documents, tokenWeights }: RoutedTokens,
  weights: OverlapLosses,
  gradient: Float64Array,
): OverlapLosses {
  if (used >= experts) return { overlap: 0, balance: 0 };
  const shares = new Float64Array(tokens * experts);
  for (let t = 0; t < tokens; t++) chosenShares(z, t * experts, experts, used, temperature, shares);
  let count = 0;
  for (let t = 1; t < tokens; t++) if (documents[t] === documents[t - 1]) count += tokenWeights?.[t] ?? 1;
  if (count === 0) return { overlap: 0, balance: 0 };
  let overlap = 0;
  let balance = 0;
  const slope = new Float64Array(tokens * experts);
  for (let t = 1; t < tokens; t++) {
    if (documents[t] !== documents[t - 1]) continue;
    const share = (tokenWeights?.[t] ?? 1) / (count * used);
    for (let i = t * experts, j = i - experts; i < (t + 1) * experts; i++, j++) {
      overlap += share * shares[i] * shares[j];
      slope[i] -= weights.overlap * share * shares[j];
      slope[j] -= weights.overlap * share * shares[i];
    }
    if (popularity === undefined) continue;
    for (let e = 0; e < experts; e++) {
      const popular = ((share * experts) / used) * popularity[e];
      balance += popular * shares[t * experts + e];
      slope[t * experts + e] += weights.balance * popular;
    }
  }
  if (weights.overlap !== 0 || weights.balance !== 0)
    for (let first = 0; first < slope.length; first += experts) {
      // tau moves with the logits so that the sum stays: what all experts near the threshold want alike has no effect.
      let mean = 0;
      let softness = 0;
      for (let i = first; i < first + experts; i++) {
        const soft = shares[i] * (1 - shares[i]);
        mean += soft * slope[i];
        softness += soft;
      }
      if (softness === 0) continue;
      mean /= softness;
      for (let i = first; i < first + experts; i++)
        gradient[i] += (shares[i] * (1 - shares[i]) * (slope[i] - mean)) / temperature;
    }
  return { overlap: 1 - overlap, balance };
}

function chosenShares(
  z: Floats,
  first: number,
  experts: number,
  used: number,
  temperature: number,
  shares: Float64Array,
): void {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = first; i < first + experts; i++) {
    low = Math.min(low, z[i]);
    high = Math.max(high, z[i]);
  }
  // At these thresholds the sum is above and below K.
  const reach = temperature * Math.log(experts);
  low -= reach;
  high += reach;
  let threshold = 0.5 * (low + high);
  for (let round = 0; round < MOST_ROUNDS; round++) {
    let sum = 0;
    let softness = 0;
    for (let i = first; i < first + experts; i++) {
      const share = 1 / (1 + Math.exp((threshold - z[i]) / temperature));
      shares[i] = share;
      sum += share;
      softness += share * (1 - share);
    }
    const excess = sum - used;
    if (Math.abs(excess) < SMALLEST_EXCESS) return;
    if (excess > 0) low = threshold;
    else high = threshold;
    const next = threshold + (excess * temperature) / softness;
    threshold = next > low && next < high ? next : 0.5 * (low + high);
  }
}
