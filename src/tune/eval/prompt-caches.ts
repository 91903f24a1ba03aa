/**
 * Expert caches of one document, one for each layer, without a byte in them: what cache-prior routing takes for resident when a
 * whole model is in memory. Least recently used leaves; a token's experts are touched together, hits before misses.
 */
import type { ExpertKey } from "../../cache/shape.ts";

export class PromptCaches {
  readonly #experts: number;
  readonly #capacity: number;
  /** `[layers][experts]` time of the last use; 0: not in the cache. */
  readonly #lastUse: Float64Array;
  readonly #held: Int32Array;
  #clock = 0;

  /** @param capacity experts of each layer */
  constructor(layers: number, experts: number, capacity: number) {
    this.#experts = experts;
    this.#capacity = capacity;
    this.#lastUse = new Float64Array(layers * experts);
    this.#held = new Int32Array(layers);
  }

  has(key: ExpertKey): boolean {
    return this.#lastUse[key] > 0;
  }

  clear(): void {
    this.#lastUse.fill(0);
    this.#held.fill(0);
    this.#clock = 0;
  }

  /** @param chosen a token's experts in this layer; the last one counts as used last, as in `locality` */
  use(layer: number, chosen: Int32Array): void {
    const first = layer * this.#experts;
    for (const expert of chosen) {
      const key = first + expert;
      if (this.#lastUse[key] === 0) this.#held[layer]++;
      this.#lastUse[key] = ++this.#clock;
    }
    for (; this.#held[layer] > this.#capacity; this.#held[layer]--) {
      let oldest = -1;
      for (let key = first; key < first + this.#experts; key++)
        if (this.#lastUse[key] > 0 && (oldest < 0 || this.#lastUse[key] < this.#lastUse[oldest])) oldest = key;
      this.#lastUse[oldest] = 0;
    }
  }
}
