/**
 * Belady's rule: gives up the expert that is needed again last. It needs the future, a recorded run, so it is a yardstick
 * for replays and not a policy to run with. With experts of equal size and reads on demand no policy misses less; with
 * unequal sizes it is very close to the best, but not proven to be.
 */
import { NEEDS_NOTHING, type Policy, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { ColdestOfLayer } from "./coldest.ts";

/** What one router stop of the recorded run demanded. */
export interface RecordedStop {
  readonly layer: number;
  /** Distinct experts of the micro-batch, as keys. */
  readonly distinct: Int32Array;
}

/** `future` lists all router stops of the run to come, in order. */
export function belady(future: readonly RecordedStop[]): Policy {
  return new Belady(future);
}

class Belady implements Policy {
  readonly name = "belady";
  readonly needs = NEEDS_NOTHING;
  readonly #future: readonly RecordedStop[];
  #shape!: ModelShape;
  /** For the i-th demanded expert of the whole run: the stop at which it is demanded again. */
  #nextStop!: Float64Array;
  #demanded = 0;
  #stop = 0;
  /** Per key, minus the stop of its next use: the last needed has the lowest score. */
  #score!: Float64Array;
  #coldest!: ColdestOfLayer;

  constructor(future: readonly RecordedStop[]) {
    this.#future = future;
  }

  begin(shape: ModelShape): void {
    const never = this.#future.length;
    const next = new Float64Array(shape.layers * shape.experts).fill(never);
    this.#shape = shape;
    this.#nextStop = new Float64Array(this.#future.reduce((sum, stop) => sum + stop.distinct.length, 0));
    let i = this.#nextStop.length;
    for (let stop = this.#future.length - 1; stop >= 0; stop--) {
      const { distinct } = this.#future[stop] as RecordedStop;
      for (let j = distinct.length - 1; j >= 0; j--) {
        const key = distinct[j] as number;
        this.#nextStop[--i] = next[key] as number;
        next[key] = stop;
      }
    }
    this.#score = next.map((stop) => -stop);
    this.#coldest = new ColdestOfLayer(shape, this.#score);
  }

  iteration(): void {}

  /** Throws when the run is not the recorded one. */
  routed(event: RouterEvent): void {
    const recorded = this.#future[this.#stop];
    if (recorded?.layer !== event.layer || recorded.distinct.length !== event.distinctCount)
      throw new Error(
        `router stop ${this.#stop} is not the one that belady was given; replay the run it was recorded from`,
      );
    for (const key of recorded.distinct) this.#score[key] = -(this.#nextStop[this.#demanded++] as number);
    this.#stop++;
    this.#coldest.rescored(event.layer);
  }

  loading(key: ExpertKey): void {
    this.#coldest.added(key);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    let victim = NO_EXPERT;
    for (let layer = 0; layer < this.#shape.layers; layer++) {
      const key = this.#coldest.of(layer, candidates);
      if (key !== NO_EXPERT && (victim === NO_EXPERT || this.#coldest.colder(key, victim))) victim = key;
    }
    if (victim !== NO_EXPERT) this.#coldest.removed(victim);
    return victim;
  }

  end(): void {}
}
