/**
 * Gives up the expert whose next use is expected last: the layers until its own comes round, and, should that pass it by,
 * as many whole tokens as its share of uses lets expect. Bytes cancel out: what an expert holds is what it costs to read.
 */
import type { Residents, RouterEvent } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import type { EvictionRanking } from "./eviction.ts";
import type { UseShares } from "./use-shares.ts";

/** A share of 0 would be a wait for ever, and all of those would be equal. */
const LEAST_SHARE = 1e-6;

export class NextUseEviction implements EvictionRanking {
  readonly #shape: ModelShape;
  readonly #shares: UseShares;
  /** Per key: chance of use in the layer's next run as the last forecast has it, -1 without one. */
  readonly #chance: Float64Array;
  #layer = 0;

  constructor(shape: ModelShape, shares: UseShares) {
    this.#shape = shape;
    this.#shares = shares;
    this.#chance = new Float64Array(shape.layers * shape.experts).fill(-1);
  }

  promptStarts(): void {
    this.#chance.fill(-1);
  }

  forecast(layer: number, row: Float32Array): void {
    const { experts, expertsUsed } = this.#shape;
    for (let expert = 0; expert < experts; expert++)
      this.#chance[layer * experts + expert] = Math.min(1, expertsUsed * row[expert]);
  }

  routed({ layer }: RouterEvent): void {
    const { experts } = this.#shape;
    this.#layer = layer;
    this.#chance.fill(-1, layer * experts, (layer + 1) * experts);
  }

  loading(): void {}

  /** Layers until the expert is expected to be used. */
  distance(key: ExpertKey): number {
    const { layers, experts } = this.#shape;
    const share = Math.max(this.#shares.share(key), LEAST_SHARE);
    const ahead = (Math.floor(key / experts) - this.#layer + layers) % layers || layers;
    const forecast = this.#chance[key];
    // A forecast is one voice, the share of uses another: neither is right often enough to silence the other.
    const next = forecast < 0 ? share : (forecast + share) / 2;
    return ahead + ((1 - next) * layers) / share;
  }

  victim(candidates: Residents): ExpertKey {
    let victim = NO_EXPERT;
    let farthest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < candidates.count; i++) {
      const key = candidates.at(i);
      const distance = this.distance(key);
      if (distance < farthest || (distance === farthest && key > victim) || !candidates.evictable(key)) continue;
      victim = key;
      farthest = distance;
    }
    return victim;
  }
}
