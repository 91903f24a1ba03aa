/**
 * All routing losses of one layer and their gradient with respect to the gate's logits: the trust term that holds the gate to
 * the frozen one, and the locality terms. The task's loss, and how a gradient of logits becomes one of weights, are not here.
 */
import type { Scoring } from "../../llama/graph-hook.ts";
import { expertDistribution, type Floats, towardsLogits } from "./distribution.ts";
import { overlapTerms } from "./overlap-term.ts";
import { type ResidencyTarget, residency } from "./residency.ts";
import { type RoutedTokens, reuseTerm, symmetricTerm, trustTerm, windowEntropyTerm } from "./routing-terms.ts";

/** Weights of the terms. A weight of 0 leaves the term out of the gradient, its loss is told all the same. */
export interface RoutingWeights {
  /** lambdaKl */
  readonly trust: number;
  /** lambdaReuse */
  readonly reuse: number;
  /** lambdaSmooth */
  readonly smooth: number;
  /** lambdaLag */
  readonly lag: number;
  /** lambdaWs */
  readonly windowEntropy: number;
  /** Of the smooth overlap, which the paper has not. */
  readonly overlap: number;
  /** Against overlap by choosing the same few experts everywhere. */
  readonly balance: number;
}

/** Where nothing else is known: the specification's start; `trust` is adapted while training. */
export const START_WEIGHTS: RoutingWeights = {
  ...{ trust: 1, reuse: 0.1, smooth: 0.05, lag: 0.05, windowEntropy: 0.01 },
  ...{ overlap: 0, balance: 0 },
};

export interface LocalityOptions {
  readonly weights: RoutingWeights;
  /** alpha_t = min(1, step / warm-up steps): multiplies all weights but that of trust. @default 1 */
  readonly localityScale?: number;
  /** Distances of the lag term. @default the paper's 1, 2, 4, 8, 16 */
  readonly lags?: readonly number[];
  /** The lag term is the mean over lags that any document is long enough for, or their sum. @default "mean" */
  readonly lagReduce?: "mean" | "sum";
  /** Tokens of a block of the window-entropy term. @default 32 */
  readonly window?: number;
  /** Of the overlap term, in units of logits. @default 0.15 */
  readonly temperature?: number;
  /** `[experts]` share of recent tokens that chose each, for the balance term. @default there is no such term */
  readonly popularity?: ArrayLike<number> | undefined;
  /** @default previous token's experts */
  readonly residencyTarget?: ResidencyTarget;
  /** `[tokens]` weights of tokens in the locality terms, such as `promptWeights` makes. @default all 1 */
  readonly tokenWeights?: Float32Array | undefined;
  /** How the gate scores. @default "softmax" */
  readonly scoring?: Scoring;
}

/** Unweighted, in nats. */
export interface RoutingLosses {
  readonly trust: number;
  readonly reuse: number;
  readonly smooth: number;
  readonly lag: number;
  readonly windowEntropy: number;
  /** Shares, not nats; see `OverlapLosses`. */
  readonly overlap: number;
  readonly balance: number;
}

export interface LocalityGradient<F extends Floats = Float32Array> {
  readonly losses: RoutingLosses;
  /** Weighted sum of the losses. */
  readonly total: number;
  /** `[tokens][experts]`: gradient of `total`, in the precision of z. */
  readonly dz: F;
}

export const PAPER_LAGS: readonly number[] = [1, 2, 4, 8, 16];

/**
 * @param z logits of the gate that is trained, `[tokens][experts]`, its bias added
 * @param zRef logits of the frozen gate on the same inputs
 * @param ids `[tokens][used]` experts that the trained gate chose; constant to the gradient
 * @param documents `[tokens]` document of each token; documents lie one after the other, and no pair crosses their borders
 */
export function localityGradient<F extends Floats>(
  z: F,
  zRef: Floats,
  ids: Int32Array,
  shape: { readonly tokens: number; readonly experts: number; readonly used: number },
  documents: Int32Array,
  options: LocalityOptions,
): LocalityGradient<F> {
  const {
    weights,
    localityScale = 1,
    lags = PAPER_LAGS,
    lagReduce = "mean",
    window = 32,
    temperature = 0.15,
  } = options;
  const { residencyTarget = { kind: "previous" }, tokenWeights, scoring = "softmax" } = options;
  const { tokens, experts } = shape;
  const routed: RoutedTokens = { ...shape, documents, tokenWeights };
  const own = expertDistribution(z, tokens, experts, scoring);
  const reference = expertDistribution(zRef, tokens, experts, scoring);
  const gradient = new Float64Array(tokens * experts);
  const local = (weight: number) => localityScale * weight;

  const trust = trustTerm(own, reference, routed, weights.trust, gradient);
  const resident = residency(ids, routed, residencyTarget);
  const reuse = reuseTerm(own, resident, routed, local(weights.reuse), gradient);
  const smooth = symmetricTerm(own, 1, routed, local(weights.smooth), gradient) ?? 0;
  const reached = lags.filter((lag) => hasPair(documents, tokens, lag));
  const lagShare = lagReduce === "mean" ? 1 / Math.max(1, reached.length) : 1;
  let lag = 0;
  for (const distance of reached)
    lag += lagShare * (symmetricTerm(own, distance, routed, local(weights.lag) * lagShare, gradient) ?? 0);
  const windowEntropy = windowEntropyTerm(own, window, routed, local(weights.windowEntropy), gradient);

  towardsLogits(gradient, own, experts);
  const { overlap, balance } = overlapTerms(
    z,
    { temperature, popularity: options.popularity },
    routed,
    { overlap: local(weights.overlap), balance: local(weights.balance) },
    gradient,
  );
  const dz = (z instanceof Float64Array ? gradient : Float32Array.from(gradient)) as F;
  const locality =
    weights.reuse * reuse +
    weights.smooth * smooth +
    weights.lag * lag +
    weights.windowEntropy * windowEntropy +
    weights.overlap * overlap +
    weights.balance * balance;
  return {
    losses: { trust, reuse, smooth, lag, windowEntropy, overlap, balance },
    total: weights.trust * trust + localityScale * locality,
    dz,
  };
}

/** Prompt tokens count less: what is generated is what will be served. @param phases PREFILL or DECODE of each token */
export function promptWeights(phases: Uint8Array, promptWeight = 0.3): Float32Array {
  return Float32Array.from(phases, (phase) => (phase === 0 ? promptWeight : 1));
}

function hasPair(documents: Int32Array, tokens: number, lag: number): boolean {
  for (let t = lag; t < tokens; t++) if (documents[t] === documents[t - lag]) return true;
  return false;
}
