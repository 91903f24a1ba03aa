/**
 * The loss terms of ReMoE on one layer's routing (arXiv 2605.27081; remoe+ replaces the residency weights), each with its
 * gradient towards log P in closed form. Each function returns the unweighted loss and adds `weight` times the gradient.
 * Pairs of tokens from different documents never count.
 */
import type { ExpertDistribution } from "./distribution.ts";

/** A run of tokens that are routed by one layer. Documents lie one after the other. */
export interface RoutedTokens {
  readonly tokens: number;
  readonly experts: number;
  /** K: experts of a token. */
  readonly used: number;
  /** `[tokens]` equal for tokens of one document and only for them. */
  readonly documents: Int32Array;
  /** `[tokens]` how much a token counts in locality terms; undefined: all 1. */
  readonly tokenWeights: Float32Array | undefined;
}

/** Keeps the logarithm finite while no probability lies on resident experts; the paper's constant. */
const REUSE_FLOOR = 1e-8;

/** Mean over tokens of KL(P || P_ref), in nats. */
export function trustTerm(
  { probabilities, logProbabilities }: ExpertDistribution,
  reference: ExpertDistribution,
  { tokens }: RoutedTokens,
  weight: number,
  gradient: Float64Array,
): number {
  let loss = 0;
  const scale = weight / tokens;
  for (let i = 0; i < probabilities.length; i++) {
    const part = probabilities[i] * (logProbabilities[i] - reference.logProbabilities[i]);
    loss += part;
    gradient[i] += scale * part;
  }
  return tokens === 0 ? 0 : loss / tokens;
}

/**
 * -log of the mean mass on resident experts: rho = mean of <P_t, c_t> / K. The first token of a document has no past and
 * is left out; 0 when no other is there.
 * @param residency c, `[tokens][experts]` between 0 and 1, taken as constant
 */
export function reuseTerm(
  { probabilities }: ExpertDistribution,
  residency: Float32Array,
  { tokens, experts, used, documents, tokenWeights }: RoutedTokens,
  weight: number,
  gradient: Float64Array,
): number {
  let mass = 0;
  let count = 0;
  for (let t = 1; t < tokens; t++) {
    if (documents[t] !== documents[t - 1]) continue;
    const counts = tokenWeights?.[t] ?? 1;
    let resident = 0;
    for (let i = t * experts; i < (t + 1) * experts; i++) resident += probabilities[i] * residency[i];
    mass += counts * resident;
    count += counts;
  }
  if (count === 0) return 0;
  const rho = mass / (used * count);
  const scale = -weight / (used * count * (rho + REUSE_FLOOR));
  for (let t = 1; t < tokens; t++) {
    if (documents[t] !== documents[t - 1]) continue;
    const own = scale * (tokenWeights?.[t] ?? 1);
    for (let i = t * experts; i < (t + 1) * experts; i++) gradient[i] += own * probabilities[i] * residency[i];
  }
  return -Math.log(rho + REUSE_FLOOR);
}

/** Mean over pairs `lag` tokens apart of SymKL(P_t, P_t-lag); undefined when no document is longer than that. Both sides move. */
export function symmetricTerm(
  { probabilities, logProbabilities }: ExpertDistribution,
  lag: number,
  { tokens, experts, documents, tokenWeights }: RoutedTokens,
  weight: number,
  gradient: Float64Array,
): number | undefined {
  let count = 0;
  for (let t = lag; t < tokens; t++) if (documents[t] === documents[t - lag]) count += tokenWeights?.[t] ?? 1;
  if (count === 0) return undefined;
  let loss = 0;
  for (let t = lag; t < tokens; t++) {
    if (documents[t] !== documents[t - lag]) continue;
    const share = (0.5 * (tokenWeights?.[t] ?? 1)) / count;
    const scale = weight * share;
    let pair = 0;
    for (let i = t * experts, j = (t - lag) * experts; i < (t + 1) * experts; i++, j++) {
      const a = probabilities[i];
      const b = probabilities[j];
      const difference = logProbabilities[i] - logProbabilities[j];
      pair += (a - b) * difference;
      gradient[i] += scale * (a * difference + a - b);
      gradient[j] += scale * (b - a - b * difference);
    }
    loss += share * pair;
  }
  return loss;
}

/**
 * Mean entropy, in nats, of the mean distribution of blocks of `window` tokens; 0 without a whole block. Blocks start with
 * their document, and what is left at its end is no block: fewer tokens have less entropy by themselves.
 */
export function windowEntropyTerm(
  { probabilities }: ExpertDistribution,
  window: number,
  { tokens, experts, documents, tokenWeights }: RoutedTokens,
  weight: number,
  gradient: Float64Array,
): number {
  const blocks: { readonly from: number; readonly weight: number }[] = [];
  let total = 0;
  for (let from = 0, t = 1; t <= tokens; t++) {
    const inside = t < tokens && documents[t] === documents[t - 1];
    if (t - from === window) {
      let counts = 0;
      for (let i = from; i < t; i++) counts += (tokenWeights?.[i] ?? 1) / window;
      blocks.push({ from, weight: counts });
      total += counts;
      from = t;
    } else if (!inside) from = t;
  }
  let loss = 0;
  const mean = new Float64Array(experts);
  for (const block of blocks) {
    if (block.weight === 0) continue;
    mean.fill(0);
    for (let t = block.from; t < block.from + window; t++)
      for (let e = 0; e < experts; e++) mean[e] += probabilities[t * experts + e] / window;
    const share = block.weight / total;
    for (let e = 0; e < experts; e++) {
      // An expert that nothing falls on has no entropy; its gradient is multiplied by a probability of 0.
      const log = mean[e] > 0 ? Math.log(mean[e]) : 0;
      loss -= share * mean[e] * log;
      mean[e] = log;
    }
    const scale = (-weight * share) / window;
    for (let t = block.from; t < block.from + window; t++)
      for (let e = 0; e < experts; e++) gradient[t * experts + e] += scale * probabilities[t * experts + e] * mean[e];
  }
  return loss;
}
