/**
 * Gives up the expert whose next use is expected last. That has two parts: how likely its router is to choose it
 * (averages of past choices and of the router's own preferences) and how soon its layer comes round (layers run in a
 * cycle, so the layer just passed is a whole token away). It has no cliff below one token cycle, and a prompt counts
 * as shares of its tokens, not as hundreds of uses, so it cannot wipe out what decoding has learned.
 */
import { NEEDS_NOTHING, type Policy, type PolicyNeeds, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { averagePreference, averageUse } from "./batch-means.ts";
import { ColdestOfLayer } from "./coldest.ts";

export interface NextUseOptions {
  /**
   * Ask for the router's distribution over all experts: the nearly chosen are likely next. Saves 1 to 4 % of the bytes
   * on the demo model against the weights of the chosen alone, which it takes otherwise. Default true.
   */
  readonly probabilities?: boolean;
}

export function nextUse(options: NextUseOptions = {}): Policy {
  return new NextUse(options);
}

/*
 * Half-lives in tokens. One average must follow the text and another remember the model's favourites; their product
 * (in effect a forgetting curve with a long tail) beats every single half-life on three recorded models and the demo
 * model. Doubling or halving any of them moves decode hits by about half a point.
 */
const RECENT_USE = 4;
const LASTING_USE = 64;
const RECENT_PREFERENCE = 6;
/** Added to an average over its mean, so that one average near 0 does not silence the others. Flat from 0.1 to 0.4. */
const USE_FLOOR = 0.2;
/** The same for preferences; flat from 0.1 to 1. */
const PREFERENCE_FLOOR = 0.5;

class NextUse implements Policy {
  readonly name = "next-use";
  readonly needs: PolicyNeeds;
  #shape!: ModelShape;
  /** Decayed means, per key. Use: share of tokens that chose the expert. Preference: router probability or weight. */
  #recentUse!: Float64Array;
  #lastingUse!: Float64Array;
  #recentPreference!: Float64Array;
  /** Grows with the chance that the expert is chosen when its layer runs next; no probability, only an order. */
  #likelihood!: Float64Array;
  #coldest!: ColdestOfLayer;
  /** Per number of layers ahead, 1..layers: what a likelihood is divided by. */
  #distance!: Float64Array;
  /** Means over the micro-batch in hand, per expert. */
  #use!: Float64Array;
  #preference!: Float64Array;
  #layer = 0;
  /** Decisions of layers for which the weights of the chosen had to stand for the router's distribution. */
  #withoutProbabilities = 0;

  constructor({ probabilities = true }: NextUseOptions) {
    this.needs = { ...NEEDS_NOTHING, probabilities };
  }

  begin(shape: ModelShape): void {
    const { layers, experts, expertsUsed } = shape;
    const total = layers * experts;
    this.#shape = shape;
    this.#recentUse = new Float64Array(total).fill(expertsUsed / experts);
    this.#lastingUse = new Float64Array(total).fill(expertsUsed / experts);
    this.#recentPreference = new Float64Array(total).fill(1 / experts);
    this.#likelihood = new Float64Array(total).fill((1 + USE_FLOOR) ** 2 * (1 + PREFERENCE_FLOOR) ** 2);
    this.#coldest = new ColdestOfLayer(shape, this.#likelihood);
    // A whole cycle away halves the value of a square root of the likelihood, which is on the scale of a probability.
    this.#distance = Float64Array.from({ length: layers + 1 }, (_, ahead) => (1 + ahead / layers) ** 2);
    this.#use = new Float64Array(experts);
    this.#preference = new Float64Array(experts);
  }

  iteration(): void {}

  routed(event: RouterEvent): void {
    const { experts, expertsUsed } = this.#shape;
    if (this.needs.probabilities && event.probabilities === undefined) this.#withoutProbabilities++;
    averageUse(event, this.#use);
    averagePreference(event, this.#preference);
    // A micro-batch is as many tokens, at its mean, as if they had come one by one.
    const recent = 1 - 2 ** (-event.tokens / RECENT_USE);
    const lasting = 1 - 2 ** (-event.tokens / LASTING_USE);
    const preferred = 1 - 2 ** (-event.tokens / RECENT_PREFERENCE);
    const perUse = experts / expertsUsed;
    const first = event.layer * experts;
    for (let expert = 0; expert < experts; expert++) {
      const key = first + expert;
      const use = this.#use[expert] as number;
      const preference = this.#preference[expert] as number;
      const recentUse = approach(this.#recentUse, key, use, recent);
      const lastingUse = approach(this.#lastingUse, key, use, lasting);
      const recentPreference = approach(this.#recentPreference, key, preference, preferred);
      this.#likelihood[key] =
        (recentUse * perUse + USE_FLOOR) *
        (lastingUse * perUse + USE_FLOOR) *
        (preference * experts + PREFERENCE_FLOOR) *
        (recentPreference * experts + PREFERENCE_FLOOR);
    }
    this.#layer = event.layer;
    this.#coldest.rescored(event.layer);
  }

  loading(key: ExpertKey): void {
    this.#coldest.added(key);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    const { layers } = this.#shape;
    let victim = NO_EXPERT;
    let lowest = Number.POSITIVE_INFINITY;
    for (let ahead = 1; ahead <= layers; ahead++) {
      const key = this.#coldest.of((this.#layer + ahead) % layers, candidates);
      if (key === NO_EXPERT) continue;
      const value = (this.#likelihood[key] as number) / (this.#distance[ahead] as number);
      if (value <= lowest) {
        lowest = value;
        victim = key;
      }
    }
    if (victim !== NO_EXPERT) this.#coldest.removed(victim);
    return victim;
  }

  figures(): Readonly<Record<string, number>> {
    return { layersWithoutProbabilities: this.#withoutProbabilities };
  }

  end(): void {}
}

/** Moves `mean[key]` the given share of the way to `value` and returns it. */
function approach(mean: Float64Array, key: number, value: number, share: number): number {
  const before = mean[key] as number;
  const after = before + share * (value - before);
  mean[key] = after;
  return after;
}
