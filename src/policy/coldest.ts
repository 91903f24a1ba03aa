/**
 * Finds, layer by layer, the resident with the lowest score without looking at all residents for every victim. A
 * policy's scores change only when their layer runs, so the coldest resident of each layer is remembered until then:
 * a victim costs one look per layer and one search of a single layer, not one of 10,000 residents.
 */
import type { Residents } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";

export class ColdestOfLayer {
  readonly #experts: number;
  readonly #score: Float64Array;
  readonly #tieBreak: Float64Array | undefined;
  /** Per layer: the coldest resident, evictable or not, or NO_EXPERT; meaningless while `#stale`. */
  readonly #coldest: Int32Array;
  readonly #stale: Uint8Array;

  /**
   * Per key, finite: the lowest `score` is given up first, between equals the lowest `tieBreak`, then the lowest key.
   * The policy writes both and calls `rescored`.
   */
  constructor(shape: ModelShape, score: Float64Array, tieBreak?: Float64Array) {
    this.#experts = shape.experts;
    this.#score = score;
    this.#tieBreak = tieBreak;
    this.#coldest = new Int32Array(shape.layers);
    this.#stale = new Uint8Array(shape.layers).fill(1);
  }

  /** Scores of this layer have changed. */
  rescored(layer: number): void {
    this.#stale[layer] = 1;
  }

  /** A resident came in. */
  added(key: ExpertKey): void {
    const layer = Math.floor(key / this.#experts);
    const coldest = this.#coldest[layer] as ExpertKey;
    if (this.#stale[layer] === 0 && (coldest === NO_EXPERT || this.colder(key, coldest))) this.#coldest[layer] = key;
  }

  /** A resident was chosen as a victim. */
  removed(key: ExpertKey): void {
    const layer = Math.floor(key / this.#experts);
    if (this.#coldest[layer] === key) this.#stale[layer] = 1;
  }

  /** The coldest expert of the layer that may be evicted now, or NO_EXPERT. */
  of(layer: number, residents: Residents): ExpertKey {
    if (this.#stale[layer] === 1) {
      this.#coldest[layer] = this.#search(layer, residents, false);
      this.#stale[layer] = 0;
    }
    const key = this.#coldest[layer] as ExpertKey;
    if (key === NO_EXPERT || residents.evictable(key)) return key;
    // Pinned, in flight or protected: rare outside the running layer, and over by itself, so it is not remembered.
    return this.#search(layer, residents, true);
  }

  /** The coldest of all layers that may be evicted now, or NO_EXPERT. */
  ofAll(residents: Residents): ExpertKey {
    let coldest = NO_EXPERT;
    for (let layer = 0; layer < this.#stale.length; layer++) {
      const key = this.of(layer, residents);
      if (key !== NO_EXPERT && (coldest === NO_EXPERT || this.colder(key, coldest))) coldest = key;
    }
    return coldest;
  }

  /** Whether `a` is given up before `b`. */
  colder(a: ExpertKey, b: ExpertKey): boolean {
    const difference = (this.#score[a] as number) - (this.#score[b] as number);
    if (difference !== 0) return difference < 0;
    const tie = this.#tieBreak === undefined ? 0 : (this.#tieBreak[a] as number) - (this.#tieBreak[b] as number);
    return tie !== 0 ? tie < 0 : a < b;
  }

  #search(layer: number, residents: Residents, evictable: boolean): ExpertKey {
    let best = NO_EXPERT;
    const first = layer * this.#experts;
    for (let i = first; i < first + this.#experts; i++) {
      const key = i as ExpertKey;
      if (!(evictable ? residents.evictable(key) : residents.has(key))) continue;
      if (best === NO_EXPERT || this.colder(key, best)) best = key;
    }
    return best;
  }
}
