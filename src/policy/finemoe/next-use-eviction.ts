/**
 * Gives up the expert whose next use is expected last: the layers until its own comes round, and, should that pass it by,
 * as many whole tokens as its share of uses lets expect. Bytes cancel out: what an expert holds is what it costs to read.
 */
import type { Residents, RouterEvent } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { ColdestOfLayer } from "../coldest.ts";
import type { EvictionRanking } from "./eviction.ts";
import type { UseShares } from "./use-shares.ts";

/** A share of 0 would be a wait for ever, and all of those would be equal. */
const LEAST_SHARE = 1e-6;

export class NextUseEviction implements EvictionRanking {
  readonly #shape: ModelShape;
  readonly #shares: UseShares;
  /** Per key: chance of use in the layer's next run as the last forecast has it, -1 without one. */
  readonly #chance: Float64Array;
  /** Per key, minus the layers that pass after its layer has come round until it is expected to be used. */
  readonly #score: Float64Array;
  readonly #coldest: ColdestOfLayer;
  #layer = 0;

  /** @param shares have taken in what a router decided before `routed` tells of it here */
  constructor(shape: ModelShape, shares: UseShares) {
    const total = shape.layers * shape.experts;
    this.#shape = shape;
    this.#shares = shares;
    this.#chance = new Float64Array(total);
    this.#score = new Float64Array(total);
    this.#coldest = new ColdestOfLayer(shape, this.#score);
    this.promptStarts();
  }

  promptStarts(): void {
    this.#chance.fill(-1);
    for (let layer = 0; layer < this.#shape.layers; layer++) this.#rescore(layer);
  }

  forecast(layer: number, row: Float32Array): void {
    const { experts, expertsUsed } = this.#shape;
    for (let expert = 0; expert < experts; expert++)
      this.#chance[layer * experts + expert] = Math.min(1, expertsUsed * row[expert]);
    this.#rescore(layer);
  }

  routed({ layer }: RouterEvent): void {
    const { experts } = this.#shape;
    this.#layer = layer;
    this.#chance.fill(-1, layer * experts, (layer + 1) * experts);
    this.#rescore(layer);
  }

  loading(key: ExpertKey): void {
    this.#coldest.added(key);
  }

  /** What is farthest in each layer, and of those the farthest: within a layer all are equally many layers ahead. */
  victim(candidates: Residents): ExpertKey {
    const { layers } = this.#shape;
    let victim = NO_EXPERT;
    let farthest = Number.NEGATIVE_INFINITY;
    for (let layer = 0; layer < layers; layer++) {
      const key = this.#coldest.of(layer, candidates);
      if (key === NO_EXPERT) continue;
      const ahead = (layer - this.#layer + layers) % layers || layers;
      const distance = ahead - this.#score[key];
      if (distance <= farthest) continue;
      victim = key;
      farthest = distance;
    }
    if (victim !== NO_EXPERT) this.#coldest.removed(victim);
    return victim;
  }

  #rescore(layer: number): void {
    const { layers, experts } = this.#shape;
    for (let key = layer * experts; key < (layer + 1) * experts; key++) {
      const share = Math.max(this.#shares.share(key), LEAST_SHARE);
      const forecast = this.#chance[key];
      // A forecast is one voice, the share of uses another: neither is right often enough to silence the other.
      const next = forecast < 0 ? share : (forecast + share) / 2;
      this.#score[key] = ((next - 1) * layers) / share;
    }
    this.#coldest.rescored(layer);
  }
}
