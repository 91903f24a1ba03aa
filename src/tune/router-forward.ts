/**
 * What llama.cpp's routers decide, from their logits: which experts a token uses and with which weights (`build_moe_ffn`,
 * llama-graph.cpp:1993). Any kind of router; where the logits come from, and what a loss makes of them, is not here.
 */
import type { Scoring } from "../llama/graph-hook.ts";
import { type Floats, logSigmoid, softplus } from "./objective/distribution.ts";

/** How one layer's router chooses and weighs. */
export interface RouterRule {
  readonly experts: number;
  /** K */
  readonly used: number;
  /** "logits": compared as they are, and the softmax is taken over the chosen ones only (gpt-oss). */
  readonly scoring: Scoring;
  /** Added to the scores for the selection, not for the weights; `[experts]`. */
  readonly selectionBias: Float32Array | undefined;
  /** Only experts of the `used` best of `count` equal groups can be chosen; a group counts as its two best scores together. */
  readonly groups: { readonly count: number; readonly used: number } | undefined;
  /** Weights are divided by their sum (`norm_topk_prob`). */
  readonly normalizeWeights: boolean;
  /** What weights are multiplied with at the end. */
  readonly weightScale: number;
}

/** `[tokens][used]` each, best first. */
export interface Routing {
  readonly ids: Int32Array;
  readonly weights: Float32Array;
}

/** Smallest sum that weights are divided by: the smallest normal number of F16 (llama-graph.cpp:2141). */
export const SMALLEST_SUM = 6.103515625e-5;
/** A group is judged by its two best experts. */
const GROUP_JUDGES = 2;

/** @param z logits with the gate's bias, `[tokens][experts]` */
export function routeTokens(z: Floats, tokens: number, rule: RouterRule): Routing {
  const { experts, used } = rule;
  const ids = new Int32Array(tokens * used);
  const weights = new Float32Array(tokens * used);
  const scores = new Float64Array(experts);
  for (let t = 0; t < tokens; t++) {
    const row = z.subarray(t * experts, (t + 1) * experts);
    routerScores(row, rule.scoring, scores);
    const chosen = ids.subarray(t * used, (t + 1) * used);
    selectExperts(scores, rule, chosen);
    weighExperts(scores, chosen, rule, weights.subarray(t * used, (t + 1) * used));
  }
  return { ids, weights };
}

/** The chosen experts of each token alone, `[tokens][used]`, best first. */
export function chooseExperts(z: Floats, tokens: number, rule: RouterRule): Int32Array {
  const { experts, used } = rule;
  const ids = new Int32Array(tokens * used);
  const scores = new Float64Array(experts);
  for (let t = 0; t < tokens; t++) {
    const row = z.subarray(t * experts, (t + 1) * experts);
    // A softmax changes no order.
    if (rule.selectionBias === undefined && rule.groups === undefined) scores.set(row);
    else routerScores(row, rule.scoring, scores);
    selectExperts(scores, rule, ids.subarray(t * used, (t + 1) * used));
  }
  return ids;
}

/** What the router makes of one token's logits before it chooses; `[experts]`. */
export function routerScores(z: Floats, scoring: Scoring, scores: Float64Array): void {
  switch (scoring) {
    case "logits":
      scores.set(z);
      break;
    case "sigmoid":
      for (let e = 0; e < z.length; e++) scores[e] = Math.exp(logSigmoid(z[e]));
      break;
    case "root of softplus":
      for (let e = 0; e < z.length; e++) scores[e] = Math.sqrt(softplus(z[e]));
      break;
    case "softmax":
      softmax(z, scores);
      break;
    default:
      scoring satisfies never;
  }
}

/** The best of the scores, with what the rule adds and leaves out; the first of equal ones. Fills `chosen`, best first. */
export function selectExperts(
  scores: Float64Array,
  { selectionBias, groups }: Pick<RouterRule, "selectionBias" | "groups">,
  chosen: Int32Array,
): void {
  const selection = scores.slice();
  for (let e = 0; e < selection.length && selectionBias !== undefined; e++) selection[e] += selectionBias[e];
  if (groups !== undefined) {
    const members = selection.length / groups.count;
    const judges = new Int32Array(Math.min(GROUP_JUDGES, members));
    const worth = new Float64Array(groups.count);
    for (let group = 0; group < groups.count; group++) {
      const own = selection.subarray(group * members, (group + 1) * members);
      largest(own, judges);
      for (const judge of judges) worth[group] += own[judge];
    }
    const best = new Int32Array(groups.used);
    largest(worth, best);
    for (let group = 0; group < groups.count; group++)
      if (!best.includes(group)) selection.fill(Number.NEGATIVE_INFINITY, group * members, (group + 1) * members);
  }
  largest(selection, chosen);
}

/** Mixture weights of chosen experts, from the scores without bias. */
export function weighExperts(
  scores: Float64Array,
  chosen: Int32Array,
  { scoring, normalizeWeights, weightScale }: Pick<RouterRule, "scoring" | "normalizeWeights" | "weightScale">,
  weights: Float32Array,
): void {
  const own = Float64Array.from(chosen, (expert) => scores[expert]);
  if (scoring === "logits") softmax(own, own);
  let divisor = 1;
  if (normalizeWeights)
    divisor = Math.max(
      SMALLEST_SUM,
      own.reduce((sum, weight) => sum + weight, 0),
    );
  for (let rank = 0; rank < weights.length; rank++) weights[rank] = (own[rank] / divisor) * weightScale;
}

function softmax(z: Floats, out: Float64Array): void {
  let most = Number.NEGATIVE_INFINITY;
  for (let e = 0; e < z.length; e++) if (z[e] > most) most = z[e];
  let sum = 0;
  for (let e = 0; e < z.length; e++) {
    const share = Math.exp(z[e] - most);
    out[e] = share;
    sum += share;
  }
  for (let e = 0; e < z.length; e++) out[e] /= sum;
}

/** Places of the largest values, the first of equal ones first. `places` is short, so that insertion beats sorting. */
function largest(values: Float64Array, places: Int32Array): void {
  const { length } = places;
  for (let i = 0, held = 0; i < values.length; i++) {
    const value = values[i];
    if (held === length && !(value > values[places[length - 1]])) continue;
    let at = held === length ? length - 1 : held++;
    for (; at > 0 && value > values[places[at - 1]]; at--) places[at] = places[at - 1];
    places[at] = i;
  }
}
