/** What the bench of curves and the process of one run say to each other. */
import type { RouterOption } from "../../engine/router-override.ts";
import type { CacheBias } from "../../routing/cache-bias.ts";
import type { ForcedText } from "../../routing/measure-drift.ts";

export interface ForcedJob {
  /** Untuned and all in memory: whose predictions are the reference. */
  readonly baseModel: string;
  /** What runs: the same model, or its inflated form, whose logits are equal to the last bit (`inflate-plan.ts`). */
  readonly model: string;
  readonly router: RouterOption | undefined;
  readonly cacheBias: CacheBias | undefined;
  readonly policy: string;
  /** Expert memory as a share of all experts. */
  readonly cacheShare: number;
  readonly threads: number;
  /** The same in all runs: a smaller one changes the rounding of prompts. */
  readonly microBatchTokens: number;
  readonly texts: readonly ForcedText[];
}

/** Of tokens that were forced one by one. */
export interface ForcedFigures {
  readonly tokens: number;
  /** KL(base || variant) of the next token's distribution, nats. */
  readonly meanKl: number;
  readonly p99Kl: number;
  readonly top1Agreement: number;
  readonly perplexity: number;
  /** perplexity / basePerplexity - 1. */
  readonly perplexityChange: number;
  /** Standard error of ln(perplexity / basePerplexity). */
  readonly perplexityError: number;
  readonly hitRate: number;
  readonly missesPerToken: number;
  /** Demanded and read ahead. */
  readonly bytesPerToken: number;
  /** Mean over the tokens: what one waits for. */
  readonly msPerToken: number;
  /** Share of choices that the cache bias swapped; null without one. */
  readonly swapRate: number | null;
}
