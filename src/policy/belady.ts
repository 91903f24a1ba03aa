/**
 * Belady's rule: gives up the expert that is needed again last. It needs the future, a recorded run, so it is a yardstick
 * for replays and not a policy to run with. With experts of equal size and reads on demand no policy misses less; with
 * unequal sizes it is very close to the best, but not proven to be.
 */
import { NEEDS_NOTHING, type Policy, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { ColdestOfLayer } from "./coldest.ts";
import { type RecordedFuture, type RecordedStop, recordedFuture } from "./recorded-future.ts";

/** `future` has all router stops of the run to come, in order. */
export function belady(future: RecordedFuture | readonly RecordedStop[]): Belady {
  return new Belady("stops" in future ? future : recordedFuture(future));
}

export class Belady implements Policy {
  readonly name = "belady";
  readonly needs = NEEDS_NOTHING;
  readonly #future: RecordedFuture;
  #stop = 0;
  /** Per key, minus the stop of its next use: the last needed has the lowest score. */
  #score!: Float64Array;
  #coldest!: ColdestOfLayer;

  constructor(future: RecordedFuture) {
    this.#future = future;
  }

  begin(shape: ModelShape): void {
    const { stops, keys, firstDemand } = this.#future;
    this.#score = new Float64Array(shape.layers * shape.experts).fill(-stops);
    for (let stop = stops - 1; stop >= 0; stop--)
      for (let i = firstDemand[stop] as number; i < (firstDemand[stop + 1] as number); i++)
        this.#score[keys[i] as number] = -stop;
    this.#coldest = new ColdestOfLayer(shape, this.#score);
  }

  iteration(): void {}

  /** Throws when the run is not the recorded one. */
  routed(event: RouterEvent): void {
    const { stops, layers, firstDemand, keys, nextStop } = this.#future;
    const stop = this.#stop++;
    const first = firstDemand[stop] as number;
    if (
      stop >= stops ||
      layers[stop] !== event.layer ||
      (firstDemand[stop + 1] as number) - first !== event.distinctCount
    )
      throw new Error(
        `router stop ${stop} is not the one that ${this.name} was given; replay the run it was recorded from`,
      );
    for (let i = first; i < first + event.distinctCount; i++) this.#score[keys[i] as number] = -(nextStop[i] as number);
    this.#coldest.rescored(event.layer);
  }

  /** The router stop at which the expert is needed next, counted from the run's start; the number of stops for never. */
  nextUse(key: ExpertKey): number {
    return -(this.#score[key] as number);
  }

  /** Router stops so far. */
  get stopsSeen(): number {
    return this.#stop;
  }

  loading(key: ExpertKey): void {
    this.#coldest.added(key);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    const victim = this.#coldest.ofAll(candidates);
    if (victim !== NO_EXPERT) this.#coldest.removed(victim);
    return victim;
  }

  end(): void {}
}
