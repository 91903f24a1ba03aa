/**
 * How often each expert is used, as a share of tokens: two decayed means, one that follows the text and one that remembers
 * the model's favourites. What several ideas of `finemoe-plus` judge experts by when no forecast speaks of them.
 */
import type { RouterEvent } from "../../cache/policy.ts";
import type { ModelShape } from "../../cache/shape.ts";
import { averageUse } from "../batch-means.ts";

/** Half-lives in tokens; as in `next-use`, whose figures say that half or double of either moves decode hits little. */
const RECENT = 4;
const LASTING = 64;

export class UseShares {
  readonly #experts: number;
  readonly #recent: Float64Array;
  readonly #lasting: Float64Array;
  readonly #use: Float64Array;

  constructor({ layers, experts, expertsUsed }: ModelShape) {
    this.#experts = experts;
    this.#recent = new Float64Array(layers * experts).fill(expertsUsed / experts);
    this.#lasting = new Float64Array(layers * experts).fill(expertsUsed / experts);
    this.#use = new Float64Array(experts);
  }

  routed(event: RouterEvent): void {
    const { layer, tokens } = event;
    const use = this.#use;
    averageUse(event, use);
    const recent = 1 - 2 ** (-tokens / RECENT);
    const lasting = 1 - 2 ** (-tokens / LASTING);
    for (let expert = 0, key = layer * this.#experts; expert < this.#experts; expert++, key++) {
      this.#recent[key] += recent * (use[expert] - this.#recent[key]);
      this.#lasting[key] += lasting * (use[expert] - this.#lasting[key]);
    }
  }

  /** Share of tokens that use an expert, above 0 (it never quite forgets) and at most 1. */
  share(key: number): number {
    return (this.#recent[key] + this.#lasting[key]) / 2;
  }

  lasting(key: number): number {
    return this.#lasting[key];
  }
}
