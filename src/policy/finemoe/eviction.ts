/**
 * What to give up. The paper evicts the highest 1 / (p * freq): the expert whose forecast probability times number of
 * uses is lowest, without recency. The paper leaves open what p is before any forecast, and zeros; here p starts at 1, is
 * uniform from the first prompt on, and neither factor can silence the other.
 */
import type { Residents, RouterEvent } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { ColdestOfLayer } from "../coldest.ts";

export const EVICTION_RULES = ["pfreq", "lru", "lfu"] as const;
export type EvictionRule = (typeof EVICTION_RULES)[number];

/** How a policy ranks what is in memory. */
export interface EvictionRanking {
  /** A prompt begins: forecasts of what came before it mean nothing. */
  promptStarts(): void;
  /** A forecast of a whole layer: its row `[experts]`, whether or not its experts were selected. */
  forecast(layer: number, row: Float32Array): void;
  routed(event: RouterEvent): void;
  loading(key: ExpertKey): void;
  /** The expert to give up, or NO_EXPERT when nothing is evictable. Between equals the lower key. */
  victim(candidates: Residents): ExpertKey;
}

export interface ProbabilityFrequencyOptions {
  /** @default "pfreq" */
  readonly rule?: EvictionRule;
  /** Tokens after which a use counts half. @default Infinity: a use counts for ever, as in the paper */
  readonly halfLifeTokens?: number;
}

export class ProbabilityFrequency implements EvictionRanking {
  readonly #experts: number;
  readonly #rule: EvictionRule;
  readonly #halfLifeTokens: number;
  /** A forecast of 0 is no promise: a tenth of the uniform probability is the least that one counts as. */
  readonly #leastProbability: number;
  readonly #probability: Float64Array;
  readonly #uses: Float64Array;
  readonly #lastUse: Float64Array;
  /** Per key, what an expert is worth keeping: with `pfreq` above 0, else one of the arrays above. */
  readonly #score: Float64Array;
  readonly #coldest: ColdestOfLayer;
  /** Layers whose routers have decided. */
  #events = 0;

  constructor(
    shape: ModelShape,
    { rule = "pfreq", halfLifeTokens = Number.POSITIVE_INFINITY }: ProbabilityFrequencyOptions = {},
  ) {
    const total = shape.layers * shape.experts;
    this.#experts = shape.experts;
    this.#rule = rule;
    this.#halfLifeTokens = halfLifeTokens;
    this.#leastProbability = 1 / (10 * shape.experts);
    this.#probability = new Float64Array(total).fill(1);
    this.#uses = new Float64Array(total);
    this.#lastUse = new Float64Array(total);
    this.#score = rule === "lfu" ? this.#uses : rule === "lru" ? this.#lastUse : new Float64Array(total).fill(1);
    this.#coldest = new ColdestOfLayer(shape, this.#score);
  }

  promptStarts(): void {
    this.#probability.fill(1 / this.#experts);
    for (let first = 0; first < this.#score.length; first += this.#experts) this.#rescore(first);
  }

  forecast(layer: number, row: Float32Array): void {
    this.#probability.set(row, layer * this.#experts);
    this.#rescore(layer * this.#experts);
  }

  routed(event: RouterEvent): void {
    const first = event.layer * this.#experts;
    this.#events++;
    if (this.#halfLifeTokens !== Number.POSITIVE_INFINITY) {
      const kept = 2 ** (-event.tokens / this.#halfLifeTokens);
      for (let key = first; key < first + this.#experts; key++) this.#uses[key] *= kept;
    }
    for (let i = 0; i < event.distinctCount; i++) {
      this.#uses[event.distinct[i]]++;
      this.#lastUse[event.distinct[i]] = this.#events;
    }
    this.#rescore(first);
  }

  loading(key: ExpertKey): void {
    this.#lastUse[key] = this.#events;
    // A read that was called off may have left it remembered as the coldest, which it is not any more.
    if (this.#rule === "lru") this.#coldest.rescored(Math.floor(key / this.#experts));
    else this.#coldest.added(key);
  }

  score(key: ExpertKey): number {
    return this.#score[key];
  }

  victim(candidates: Residents): ExpertKey {
    const victim = this.#coldest.ofAll(candidates);
    if (victim !== NO_EXPERT) this.#coldest.removed(victim);
    return victim;
  }

  /** The layer whose keys begin at `first`. */
  #rescore(first: number): void {
    const score = this.#score;
    if (this.#rule === "pfreq")
      for (let key = first; key < first + this.#experts; key++)
        score[key] = Math.max(this.#probability[key], this.#leastProbability) * Math.max(this.#uses[key], 1);
    this.#coldest.rescored(first / this.#experts);
  }
}
