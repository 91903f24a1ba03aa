/**
 * Mixtral-Offload (Eliseev and Mazur, arXiv 2312.17238): the k experts used last in each layer stay, the same k in every
 * layer, and the best of what the next layer's router would choose are read ahead into a few buffers that all layers share.
 * A read ahead never takes the room of a cached expert: if it is used it replaces the layer's least lately used one, if not
 * its buffer is free again and no order has changed. What a *used* one replaces is not in the authors' published code.
 *
 * The original loads the experts of a layer one after the other; here a layer's matrix products run as one, so a layer that
 * uses more than k experts (a prompt) holds all of them while it runs, in room borrowed from what was used longest ago.
 */
import {
  type EvictionReason,
  type LinkState,
  type LoadKind,
  NEEDS_NOTHING,
  type Policy,
  type PolicyNeeds,
  type Residents,
  type RouterEvent,
} from "../cache/policy.ts";
import { type ExpertKey, expertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { RecencyOrder } from "./recency-order.ts";

export interface MixtralOffloadOptions {
  /** Experts of the next layer that are read ahead, best first; 0: none. @default 2, the paper reads 1 or 2 */
  readonly speculate?: number;
  /** Buffers for experts read ahead, taken off the budget. @default 4 */
  readonly buffers?: number;
}

export function mixtralOffload(options: MixtralOffloadOptions = {}): Policy {
  return new MixtralOffload(options);
}

class MixtralOffload implements Policy {
  readonly name = "mixtral-offload";
  readonly needs: PolicyNeeds;
  /** As in the paper: the next layer's experts are fetched once this layer's are loaded. */
  readonly pausesForDemand = true;
  readonly #speculate: number;
  #shape!: ModelShape;
  /** Experts that a layer keeps, k. */
  #kept = 1;
  /** One list per layer. */
  #order!: RecencyOrder;
  /** Per layer, the length of its list. */
  #held!: Int32Array;
  /** Per key, the stop at which it was touched. */
  #touchedAt!: Float64Array;
  #stops = 0;
  #layer = 0;
  /** Experts read ahead and not used so far: keys, and per entry 1 once their layer has run without them. */
  readonly #buffers: Int32Array;
  readonly #unwanted: Uint8Array;
  #buffered = 0;
  /** What the next layer's router would choose, best first; `#asked` of them were looked at. */
  readonly #wanted: Int32Array;
  #wantedCount = 0;
  #asked = 0;
  /** Decisions after which nothing was read ahead because the next layer's router could not be asked. */
  #withoutNextGate = 0;

  constructor({ speculate = 2, buffers = 4 }: MixtralOffloadOptions) {
    this.#speculate = speculate;
    this.#buffers = new Int32Array(buffers);
    this.#unwanted = new Uint8Array(buffers);
    this.#wanted = new Int32Array(speculate);
    this.needs = { ...NEEDS_NOTHING, nextGate: speculate > 0 };
  }

  begin(shape: ModelShape, budgetExperts: number): void {
    this.#shape = shape;
    this.#kept = Math.max(1, Math.floor((budgetExperts - this.#buffers.length) / shape.layers));
    this.#order = new RecencyOrder(shape.layers * shape.experts, shape.layers);
    this.#held = new Int32Array(shape.layers);
    this.#touchedAt = new Float64Array(shape.layers * shape.experts);
  }

  iteration(): void {
    this.#forget();
  }

  routed(event: RouterEvent): void {
    const { layer, distinct, distinctCount } = event;
    this.#stops++;
    this.#layer = layer;
    this.#forget();
    for (let i = 0; i < this.#buffered; i++)
      if (this.#layerOf(this.#buffers[i] as number) === layer) this.#unwanted[i] = 1;
    for (let i = 0; i < distinctCount; i++) {
      const key = distinct[i] as number;
      if (this.#order.has(key) || this.#leaveBuffer(key)) this.#touch(key);
    }
    if (event.tokens !== 1 || layer + 1 >= this.#shape.layers || !this.needs.nextGate) return;
    if (event.nextGate === undefined) this.#withoutNextGate++;
    else this.#rank(event.nextGate);
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    if (kind === "demand") {
      this.#touch(key);
      return;
    }
    this.#unwanted[this.#buffered] = 0;
    this.#buffers[this.#buffered++] = key;
  }

  loaded(key: ExpertKey, complete: boolean): void {
    if (complete) return;
    if (this.#order.has(key)) this.#remove(key);
    else this.#leaveBuffer(key);
  }

  prefetch({ residents, spareBytes }: LinkState): ExpertKey {
    if (this.#layer + 1 >= this.#shape.layers) return NO_EXPERT;
    if ((this.#shape.expertBytes[this.#layer + 1] as number) > spareBytes) return NO_EXPERT;
    while (this.#asked < this.#wantedCount && this.#buffered < this.#buffers.length) {
      const key = expertKey(this.#shape, this.#layer + 1, this.#wanted[this.#asked++] as number);
      if (!residents.has(key)) return key;
    }
    return NO_EXPERT;
  }

  /** Gives back buffers whose layer did without them, then what the layer that ran last holds beyond its k. */
  discard(candidates: Residents): ExpertKey {
    for (let i = 0; i < this.#buffered; i++) {
      const key = this.#buffers[i] as ExpertKey;
      if (this.#unwanted[i] === 0 || !candidates.evictable(key)) continue;
      this.#leaveBuffer(key);
      return key;
    }
    return (this.#held[this.#layer] as number) > this.#kept ? this.#takeOldest(candidates, this.#layer) : NO_EXPERT;
  }

  victim(candidates: Residents, reason: EvictionReason, incoming: ExpertKey): ExpertKey {
    if (reason === "prefetch") return NO_EXPERT;
    const own = this.#takeOldest(candidates, this.#layerOf(incoming));
    if (own !== NO_EXPERT) return own;
    for (let i = 0; i < this.#buffered; i++) {
      const key = this.#buffers[i] as ExpertKey;
      if (!candidates.evictable(key)) continue;
      this.#leaveBuffer(key);
      return key;
    }
    return this.#takeOldestOfAll(candidates);
  }

  figures(): Readonly<Record<string, number>> {
    return { layersWithoutNextGate: this.#withoutNextGate };
  }

  end(): void {}

  /** Nothing is wanted of the next layer until its router has been asked. */
  #forget(): void {
    this.#wantedCount = 0;
    this.#asked = 0;
  }

  /** The best `speculate` scores, by insertion: there are one or two. */
  #rank(scores: Float32Array): void {
    for (let expert = 0; expert < this.#shape.experts; expert++) {
      const score = scores[expert] as number;
      let rank = this.#wantedCount;
      while (rank > 0 && score > (scores[this.#wanted[rank - 1] as number] as number)) rank--;
      if (rank === this.#speculate) continue;
      if (this.#wantedCount < this.#speculate) this.#wantedCount++;
      this.#wanted.copyWithin(rank + 1, rank, this.#wantedCount - 1);
      this.#wanted[rank] = expert;
    }
  }

  /** The layer whose oldest was used longest ago gives it up. */
  #takeOldestOfAll(candidates: Residents): ExpertKey {
    let oldestLayer = -1;
    let touchedAt = Number.POSITIVE_INFINITY;
    for (let layer = 0; layer < this.#shape.layers; layer++) {
      let key = this.#order.oldest(layer);
      while (key !== NO_EXPERT && !candidates.evictable(key)) key = this.#order.newerThan(key);
      if (key === NO_EXPERT || (this.#touchedAt[key] as number) >= touchedAt) continue;
      oldestLayer = layer;
      touchedAt = this.#touchedAt[key] as number;
    }
    return oldestLayer < 0 ? NO_EXPERT : this.#takeOldest(candidates, oldestLayer);
  }

  #takeOldest(candidates: Residents, layer: number): ExpertKey {
    const key = this.#order.takeOldest(candidates, layer);
    if (key !== NO_EXPERT) this.#held[layer] = (this.#held[layer] as number) - 1;
    return key;
  }

  #touch(key: number): void {
    const layer = this.#layerOf(key);
    if (!this.#order.has(key)) this.#held[layer] = (this.#held[layer] as number) + 1;
    this.#order.touch(key, layer);
    this.#touchedAt[key] = this.#stops;
  }

  #remove(key: number): void {
    const layer = this.#layerOf(key);
    this.#order.remove(key);
    this.#held[layer] = (this.#held[layer] as number) - 1;
  }

  /** False when it was in no buffer. */
  #leaveBuffer(key: number): boolean {
    for (let i = 0; i < this.#buffered; i++) {
      if (this.#buffers[i] !== key) continue;
      this.#buffered--;
      this.#buffers[i] = this.#buffers[this.#buffered] as number;
      this.#unwanted[i] = this.#unwanted[this.#buffered] as number;
      return true;
    }
    return false;
  }

  #layerOf(key: number): number {
    return Math.floor(key / this.#shape.experts);
  }
}
