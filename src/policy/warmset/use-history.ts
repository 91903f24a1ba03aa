/**
 * What routers have done with each expert so far: averages of its uses over four time scales, and how much its router
 * preferred it, now and lately. Their weighted logarithms are the log odds of the expert's value. A prompt counts as shares
 * of its tokens, not as hundreds of uses.
 */
import type { RouterEvent } from "../../cache/policy.ts";
import type { ModelShape } from "../../cache/shape.ts";
import { averagePreference, averageUse } from "../batch-means.ts";

/**
 * Half-lives in tokens. The shortest follows the text, the longest is the model's (or a conversation's) popularity; finer
 * or more of them gained nothing on five recorded traces.
 */
const USE_HALF_LIVES = [4, 16, 64, 512] as const;
const PREFERENCE_HALF_LIFE = 6;
/** Added to an average over its mean before the logarithm. Flat from 0.05 to 0.5. */
const USE_FLOOR = 0.2;
/** The same for preferences; flat from 0.1 to 1. */
const PREFERENCE_FLOOR = 0.5;

/**
 * Weights of the logarithms in the log odds. Equal ones amount to a forgetting curve with a long tail, which beats every
 * single half-life on every trace; around these the hits are flat. Learning them while running (from expected discounted
 * uses) was tried, and was not better than leaving them alone: `docs/policies.md`.
 */
const USE_WEIGHTS = [0.2, 0.4, 0.4, 0.3] as const;
const PREFERENCE_NOW_WEIGHT = 0.3;
const PREFERENCE_WEIGHT = 0.4;

export class UseHistory {
  /** Per key: log odds of its value, see `warmset.ts`; by the history alone. */
  readonly logOdds: Float64Array;
  /** `[averages][layers * experts]`: of use by half-life, then of preference. */
  readonly averages: readonly Float64Array[];
  /** Of the micro-batch in hand, per expert: share of its tokens that chose it. */
  readonly use: Float64Array;
  readonly #preference: Float64Array;
  readonly #approach: Float64Array;
  readonly #shape: ModelShape;
  readonly #preferences: boolean;
  /** Log odds of an expert that is used as often as the mean. */
  readonly #usual: number;

  /** @param preferences false leaves out what routers prefer */
  constructor(shape: ModelShape, preferences: boolean) {
    const { layers, experts, expertsUsed } = shape;
    const total = layers * experts;
    this.#shape = shape;
    this.#preferences = preferences;
    this.#usual = Math.log(expertsUsed / Math.max(experts - expertsUsed, 1));
    this.logOdds = new Float64Array(total);
    this.averages = [
      ...USE_HALF_LIVES.map(() => new Float64Array(total).fill(expertsUsed / experts)),
      new Float64Array(total).fill(1 / experts),
    ];
    this.use = new Float64Array(experts);
    this.#preference = new Float64Array(experts);
    this.#approach = new Float64Array(USE_HALF_LIVES.length + 1);
    this.refresh();
  }

  /** Computes all log odds from the averages, after those were set. */
  refresh(): void {
    const { layers, experts } = this.#shape;
    this.#preference.fill(1 / experts);
    for (let layer = 0; layer < layers; layer++) this.#write(layer * experts);
  }

  /** Takes in a layer's decision. */
  observe(event: RouterEvent): void {
    averageUse(event, this.use);
    averagePreference(event, this.#preference);
    const { experts } = this.#shape;
    const { averages, use } = this;
    const approach = this.#approach;
    const preferences = USE_HALF_LIVES.length;
    for (let i = 0; i < preferences; i++) approach[i] = 1 - 2 ** (-event.tokens / (USE_HALF_LIVES[i] as number));
    approach[preferences] = 1 - 2 ** (-event.tokens / PREFERENCE_HALF_LIFE);
    const first = event.layer * experts;
    for (let i = 0; i <= preferences; i++) {
      const average = averages[i] as Float64Array;
      const values = i < preferences ? use : this.#preference;
      const share = approach[i] as number;
      for (let expert = 0; expert < experts; expert++) {
        const before = average[first + expert] as number;
        average[first + expert] = before + share * ((values[expert] as number) - before);
      }
    }
    this.#write(first);
  }

  /** Share of tokens that chose the expert over about the last 100. */
  lasting(key: number): number {
    return (this.averages[2] as Float64Array)[key] as number;
  }

  /** The log odds of a layer's experts, in their place: a sum kept in a variable would be put on the heap for each. */
  #write(first: number): void {
    const { experts, expertsUsed } = this.#shape;
    const { averages, logOdds } = this;
    const perUse = experts / expertsUsed;
    logOdds.fill(this.#usual, first, first + experts);
    for (let i = 0; i < USE_WEIGHTS.length; i++) {
      const use = averages[i] as Float64Array;
      const weight = USE_WEIGHTS[i] as number;
      for (let key = first; key < first + experts; key++)
        logOdds[key] = (logOdds[key] as number) + weight * Math.log((use[key] as number) * perUse + USE_FLOOR);
    }
    if (!this.#preferences) return;
    const lately = averages[USE_HALF_LIVES.length] as Float64Array;
    for (let expert = 0; expert < experts; expert++) {
      const key = first + expert;
      logOdds[key] =
        (logOdds[key] as number) +
        PREFERENCE_NOW_WEIGHT * Math.log((this.#preference[expert] as number) * experts + PREFERENCE_FLOOR) +
        PREFERENCE_WEIGHT * Math.log((lately[key] as number) * experts + PREFERENCE_FLOOR);
    }
  }
}
