/**
 * The terms of `tune/objective` as the trainer wants them: one sequence of one layer at a time, with the step's strengths.
 * Options only, so that they can be sent to another thread; no mathematics.
 */
import { type LocalityOptions, localityGradient, START_WEIGHTS } from "../objective/index.ts";
import type { RouterTerms } from "./router-terms.ts";

export interface LocalityTermsOptions
  extends Omit<LocalityOptions, "weights" | "localityScale" | "tokenWeights" | "scoring" | "popularity"> {
  /** Weights of the terms; that of trust is moved while a budget is kept. @default START_WEIGHTS */
  readonly weights?: LocalityOptions["weights"];
  /** Weight of a prompt's tokens in all but trust; 1 for those behind it. @default 0.3 */
  readonly promptWeight?: number;
}

export function localityTerms({ promptWeight = 0.3, ...options }: LocalityTermsOptions): RouterTerms {
  const { weights = START_WEIGHTS } = options;
  return ({ layer, logits, referenceLogits, ids, tokens, experts, used, documents, promptTokens, strengths }) => {
    const brake = strengths.brakes?.[layer] ?? 1;
    const { losses, dz } = localityGradient(logits, referenceLogits, ids, { tokens, experts, used }, documents, {
      ...options,
      weights: {
        ...{ trust: strengths.trust, balance: weights.balance },
        ...{ reuse: brake * weights.reuse, smooth: brake * weights.smooth, lag: brake * weights.lag },
        ...{ windowEntropy: brake * weights.windowEntropy, overlap: brake * weights.overlap },
      },
      localityScale: strengths.locality,
      popularity: strengths.popularity?.[layer],
      tokenWeights:
        promptTokens === 0 ? undefined : new Float32Array(tokens).fill(1).fill(promptWeight, 0, promptTokens),
    });
    return { losses: { ...losses }, dz };
  };
}
