/**
 * Experts that a forecast expects and nobody has read yet. An expert's priority is its forecast probability over the
 * layers that are left until its own, so the order changes whenever a layer's router has run; entries whose layer has
 * passed, or which came into memory otherwise, fall out. It says what would be read next and reads nothing.
 */
import type { Residents } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";

export interface QueueCounters {
  /** Experts that a forecast put in line, or put in line anew. */
  queued: number;
  /** A later forecast replaced the probability of one that was in line. */
  overwritten: number;
  /** Times that the running layer moved on under a line of two or more, so that priorities changed. */
  resorts: number;
  /** Fell out because their layer had run. */
  passed: number;
  /** Fell out because a new iteration had begun. */
  outdated: number;
  /** Fell out because they were in memory, or on their way. */
  resident: number;
}

export class PrefetchQueue {
  readonly counters: QueueCounters = { queued: 0, overwritten: 0, resorts: 0, passed: 0, outdated: 0, resident: 0 };
  readonly #experts: number;
  /** Layer whose router ran last; -1 before the first. */
  #now = -1;
  /** Per key: forecast probability, only for those in line. */
  readonly #probability: Float64Array;
  /** In line, dense, in no order; `#place` is the inverse, -1 for those not in line. */
  readonly #keys: Int32Array;
  readonly #place: Int32Array;
  #count = 0;

  constructor(shape: ModelShape) {
    const total = shape.layers * shape.experts;
    this.#experts = shape.experts;
    this.#probability = new Float64Array(total);
    this.#keys = new Int32Array(total);
    this.#place = new Int32Array(total).fill(-1);
  }

  get length(): number {
    return this.#count;
  }

  /** A new iteration: what was forecast for the one before is void. */
  restart(): void {
    this.counters.outdated += this.#count;
    while (this.#count > 0) this.remove(this.#keys[this.#count - 1] as ExpertKey);
    this.#now = -1;
  }

  /** The router of this layer has run. */
  advance(layer: number): void {
    if (layer !== this.#now && this.#count > 1) this.counters.resorts++;
    this.#now = layer;
    for (let i = this.#count - 1; i >= 0; i--) {
      const key = this.#keys[i] as ExpertKey;
      if (this.#layerOf(key) > layer) continue;
      this.counters.passed++;
      this.remove(key);
    }
  }

  /** Puts an expert of a layer still to come in line; a later forecast replaces an earlier one. */
  add(key: ExpertKey, probability: number): void {
    this.counters.queued++;
    this.#probability[key] = probability;
    if (this.#place[key] >= 0) {
      this.counters.overwritten++;
      return;
    }
    this.#place[key] = this.#count;
    this.#keys[this.#count++] = key;
  }

  remove(key: ExpertKey): void {
    const place = this.#place[key];
    if (place < 0) return;
    const moved = this.#keys[--this.#count];
    this.#keys[place] = moved;
    this.#place[moved] = place;
    this.#place[key] = -1;
  }

  /** The forecast probability of an expert in line. */
  probabilityOf(key: ExpertKey): number {
    return this.#probability[key];
  }

  priorityOf(key: ExpertKey): number {
    return this.#probability[key] / (this.#layerOf(key) - this.#now);
  }

  /**
   * The expert of the highest priority that is not in memory and for which `admits` holds, or NO_EXPERT. Between equals
   * the sooner layer, and the lower index: both are the lower key. It stays in line until it is removed.
   */
  best(residents: Residents, admits?: (key: ExpertKey) => boolean): ExpertKey {
    let best = NO_EXPERT;
    let highest = 0;
    for (let i = this.#count - 1; i >= 0; i--) {
      const key = this.#keys[i] as ExpertKey;
      if (residents.has(key)) {
        this.counters.resident++;
        this.remove(key);
        continue;
      }
      const priority = this.priorityOf(key);
      if (best !== NO_EXPERT && (priority < highest || (priority === highest && key > best))) continue;
      if (admits !== undefined && !admits(key)) continue;
      best = key;
      highest = priority;
    }
    return best;
  }

  #layerOf(key: ExpertKey): number {
    return Math.floor(key / this.#experts);
  }
}
