/**
 * What a tuned gate does to the routing of captured inputs, against the gate that it replaces: locality gained, and how far the
 * router strays. Teacher-forced: the inputs are those of the model they were captured from. Cheap enough for a whole curve
 * of interpolated gates, since logits interpolate as gates do.
 */
import { lruCurve, makeStackScratch } from "../locality/stack-curves.ts";
import { expertDistribution } from "./objective/distribution.ts";
import { chooseExperts, type RouterRule } from "./router-forward.ts";

export interface GateMetrics {
  readonly tokens: number;
  /** Expert overlap ratio: mean over pairs of neighbours of |E_t and E_t-1| / K. */
  readonly eor: number;
  /** Mean KL(P || P_base), nats per token. */
  readonly trustKl: number;
  /** Mean over tokens of the base's probability of the chosen experts over that of the base's own choice. */
  readonly retainedMass: number;
  /** Share of the base's choices that are chosen again. */
  readonly agreement: number;
  /** Standard deviation over mean of the experts' uses. */
  readonly loadCv: number;
  /** Uses of the least used expert over those of a uniform use. */
  readonly leastUse: number;
  /** Mean over pieces of 2,048 tokens (or all, where there are fewer) of the experts that are used. */
  readonly distinctExperts: number;
  /**
   * Set-level LRU hit rate by cache size: [C - 1] is that of C experts; caches start empty with each document and first uses
   * miss.
   */
  readonly lruHits: Float64Array;
}

/** Which tokens of which documents; see `LayerInputs`. */
export interface MeasuredTokens {
  readonly tokens: number;
  readonly documents: Int32Array;
}

const DISTINCT_TOKENS = 2048;

/**
 * @param z logits of the gate, its bias added, `[tokens][experts]`
 * @param zBase logits of the gate that it was tuned from
 */
export function gateMetrics(
  z: Float32Array,
  zBase: Float32Array,
  { tokens, documents }: MeasuredTokens,
  rule: RouterRule,
): GateMetrics {
  const { experts, used } = rule;
  const ids = chooseExperts(z, tokens, rule);
  const baseIds = chooseExperts(zBase, tokens, rule);
  let base = distributionOf(zBase, 0, tokens, rule);
  const uses = new Float64Array(experts);
  const marks = new Int32Array(experts).fill(-1);
  const baseMarks = new Int32Array(experts).fill(-1);
  const sums = { overlap: 0, pairs: 0, agreement: 0, mass: 0 };
  for (let t = 0; t < tokens; t++) {
    const paired = t > 0 && documents[t] === documents[t - 1];
    if (paired) sums.pairs++;
    const row = (t % PIECE_TOKENS) * experts;
    if (row === 0 && t > 0) base = distributionOf(zBase, t, tokens, rule);
    let kept = 0;
    let whole = 0;
    for (let i = t * used; i < (t + 1) * used; i++) {
      whole += base.probabilities[row + baseIds[i]];
      baseMarks[baseIds[i]] = t;
    }
    for (let i = t * used; i < (t + 1) * used; i++) {
      const expert = ids[i];
      if (paired && marks[expert] === t - 1) sums.overlap++;
      if (baseMarks[expert] === t) sums.agreement++;
      kept += base.probabilities[row + expert];
      uses[expert]++;
      marks[expert] = t;
    }
    sums.mass += kept / whole;
  }
  const mean = (tokens * used) / experts;
  return {
    tokens,
    eor: sums.overlap / (used * Math.max(1, sums.pairs)),
    trustKl: meanTrustKl(z, zBase, tokens, rule),
    retainedMass: sums.mass / tokens,
    agreement: sums.agreement / (used * tokens),
    loadCv: variationOf(uses),
    leastUse: Math.min(...uses) / mean,
    distinctExperts: meanDistinct(ids, tokens, rule),
    lruHits: lruHitRates(ids, documents, rule),
  };
}

/** Mean KL(P || P_base), nats per token. */
export function meanTrustKl(z: Float32Array, zBase: Float32Array, tokens: number, rule: RouterRule): number {
  let sum = 0;
  for (let from = 0; from < tokens; from += PIECE_TOKENS) {
    const own = distributionOf(z, from, tokens, rule);
    const base = distributionOf(zBase, from, tokens, rule);
    for (let i = 0; i < own.probabilities.length; i++)
      sum += own.probabilities[i] * (own.logProbabilities[i] - base.logProbabilities[i]);
  }
  return sum / tokens;
}

/** Of a piece of the tokens: those of all would take more memory than the logits do. */
function distributionOf(z: Float32Array, from: number, tokens: number, { experts, scoring }: RouterRule) {
  const count = Math.min(PIECE_TOKENS, tokens - from);
  return expertDistribution(z.subarray(from * experts, (from + count) * experts), count, experts, scoring);
}

const PIECE_TOKENS = 4096;

/** Base and tuned gates' logits mixed: those of W0 + alpha (W - W0). */
export function interpolatedLogits(zBase: Float32Array, z: Float32Array, alpha: number): Float32Array {
  return zBase.map((base, i) => base + alpha * (z[i] - base));
}

/** Rows of the tokens that count, such as those that were generated. @param phases PREFILL or DECODE */
export function rowsOfPhase(phases: Uint8Array, phase: number): Int32Array {
  return Int32Array.from([...phases.keys()].filter((t) => phases[t] === phase));
}

/** What a collapse is told by. */
export type CollapseFigures = Pick<GateMetrics, "leastUse" | "loadCv" | "distinctExperts">;

/** What looks like a collapse of the routing, one sentence each; none is good. */
export function collapseFindings(tuned: CollapseFigures, base: CollapseFigures): string[] {
  const findings: string[] = [];
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  if (tuned.leastUse < LEAST_USE && tuned.leastUse < base.leastUse)
    findings.push(
      `The least used expert has ${percent(tuned.leastUse)} of an even share (base ${percent(base.leastUse)}).`,
    );
  if (tuned.loadCv > collapsedCv(base))
    findings.push(`The load varies by ${tuned.loadCv.toFixed(2)} of its mean (base ${base.loadCv.toFixed(2)}).`);
  if (tuned.distinctExperts < LEAST_DISTINCT * base.distinctExperts)
    findings.push(
      `${tuned.distinctExperts.toFixed(1)} different experts are used where the base uses ${base.distinctExperts.toFixed(1)}.`,
    );
  return findings;
}

/** Standard deviation over mean; 0 of nothing. */
export function variationOf(values: Float32Array | Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return mean === 0 ? 0 : Math.sqrt(squares / values.length) / mean;
}

/** A load CV from which on it is a collapse; a base that is uneven by itself is none. */
export function collapsedCv(base: Pick<CollapseFigures, "loadCv">): number {
  return Math.max(MOST_CV, MOST_CV_RISE * base.loadCv);
}

/** A load CV up to which routers may ship. */
export function shippableCv(base: Pick<CollapseFigures, "loadCv">): number {
  return Math.max(MOST_CV, SHIPPABLE_CV_RISE * base.loadCv);
}

/** Of an even share; arXiv 2608.18261 stops there. */
const LEAST_USE = 0.01;
const MOST_CV = 0.5;
const MOST_CV_RISE = 1.5;
const SHIPPABLE_CV_RISE = 1.1;
const LEAST_DISTINCT = 0.9;

function meanDistinct(ids: Int32Array, tokens: number, { experts, used }: RouterRule): number {
  let distinct = 0;
  let pieces = 0;
  for (let from = 0; from === 0 || from + DISTINCT_TOKENS <= tokens; from += DISTINCT_TOKENS) {
    const seen = new Uint8Array(experts);
    for (let i = from * used; i < Math.min(tokens, from + DISTINCT_TOKENS) * used; i++) seen[ids[i]] = 1;
    distinct += seen.reduce((sum, one) => sum + one, 0);
    pieces++;
  }
  return distinct / pieces;
}

function lruHitRates(ids: Int32Array, documents: Int32Array, { experts, used }: RouterRule): Float64Array {
  const scratch = makeStackScratch(experts);
  const hitsAt = new Int32Array(experts + 1);
  const { length: tokens } = documents;
  for (let from = 0; from < tokens; ) {
    let to = from + 1;
    while (to < tokens && documents[to] === documents[from]) to++;
    const starts = Int32Array.from({ length: to - from + 1 }, (_, t) => t * used);
    const own = Uint16Array.from(ids.subarray(from * used, to * used));
    lruCurve({ experts, tokens: to - from, ids: own, starts }, hitsAt, "miss", scratch);
    from = to;
  }
  const rates = new Float64Array(experts);
  for (let size = 0, hits = 0; size < experts; size++) {
    hits += hitsAt[size];
    rates[size] = hits / Math.max(1, tokens * used);
  }
  return rates;
}
