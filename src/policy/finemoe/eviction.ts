/**
 * What to give up. The paper evicts the highest 1 / (p * freq): the expert whose forecast probability times number of
 * uses is lowest, without recency. The paper leaves open what p is before any forecast, and zeros; here p starts at 1, is
 * uniform from the first prompt on, and neither factor can silence the other.
 */
import type { Residents, RouterEvent } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";

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
  }

  promptStarts(): void {
    this.#probability.fill(1 / this.#experts);
  }

  forecast(layer: number, row: Float32Array): void {
    this.#probability.set(row, layer * this.#experts);
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
  }

  loading(key: ExpertKey): void {
    this.#lastUse[key] = this.#events;
  }

  /** What an expert is worth keeping; above 0 for each with `pfreq`. */
  score(key: ExpertKey): number {
    switch (this.#rule) {
      case "pfreq":
        return Math.max(this.#probability[key], this.#leastProbability) * Math.max(this.#uses[key], 1);
      case "lfu":
        return this.#uses[key];
      case "lru":
        return this.#lastUse[key];
    }
  }

  /** As `score` ranks them; written out, because a number that a call returns is put on the heap, for each resident anew. */
  victim(candidates: Residents): ExpertKey {
    const probability = this.#probability;
    const uses = this.#uses;
    const least = this.#leastProbability;
    const plain = this.#rule === "pfreq" ? undefined : this.#rule === "lfu" ? uses : this.#lastUse;
    let victim = NO_EXPERT;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < candidates.count; i++) {
      const key = candidates.at(i);
      const score = plain === undefined ? Math.max(probability[key], least) * Math.max(uses[key], 1) : plain[key];
      if (score > lowest || (score === lowest && key > victim) || !candidates.evictable(key)) continue;
      victim = key;
      lowest = score;
    }
    return victim;
  }
}
