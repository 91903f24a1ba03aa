/**
 * Reads ahead what will be needed next, knowing the run to come, and gives up what is needed again last: Belady's rule
 * with foresight of reads as well. How much is read between two layers is decided by the engine as for any other policy,
 * so it is the ceiling of prediction in this engine, for replays only.
 *
 * It looks one token ahead unless told otherwise. Less hides less; more pushes out what is needed soon after, and has to
 * read it again: on a drive that computing just covers (16 layers, half of the experts held) 2, 16 and 64 layers ahead came
 * to 29, 34 and 30 tokens a second, where Belady's rule without reading ahead came to 20.
 */
import {
  type EvictionReason,
  type LinkState,
  NEEDS_NOTHING,
  type Policy,
  type Residents,
  type RouterEvent,
} from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { type Belady, belady } from "./belady.ts";
import { type RecordedFuture, type RecordedStop, recordedFuture } from "./recorded-future.ts";

export interface OraclePrefetchOptions {
  /** Layers ahead whose routing is known, 1 or more. @default a whole token */
  readonly distance?: number | undefined;
}

/** `future` has all router stops of the run to come, in order. */
export function oraclePrefetch(
  future: RecordedFuture | readonly RecordedStop[],
  options: OraclePrefetchOptions = {},
): Policy {
  return new OraclePrefetch("stops" in future ? future : recordedFuture(future), options);
}

class OraclePrefetch implements Policy {
  readonly name = "oracle-prefetch";
  readonly needs = NEEDS_NOTHING;
  readonly #future: RecordedFuture;
  readonly #base: Belady;
  #distance: number;
  #shape!: ModelShape;
  /** All that is demanded from the running stop up to here was there when it was looked at, and was not given up since. */
  #ahead = 0;

  constructor(future: RecordedFuture, { distance = 0 }: OraclePrefetchOptions) {
    this.#distance = distance;
    this.#future = future;
    this.#base = belady(future);
  }

  begin(shape: ModelShape): void {
    this.#shape = shape;
    if (this.#distance === 0) this.#distance = shape.layers;
    this.#base.begin(shape);
  }

  iteration(): void {}

  routed(event: RouterEvent): void {
    this.#base.routed(event);
    this.#ahead = Math.max(this.#ahead, this.#future.firstDemand[this.#base.stopsSeen] as number);
  }

  loading(key: ExpertKey): void {
    this.#base.loading(key);
  }

  prefetch(link: LinkState): ExpertKey {
    const { keys, stops, firstDemand } = this.#future;
    const lastStop = Math.min(this.#base.stopsSeen + this.#distance, stops);
    const end = firstDemand[lastStop] as number;
    while (this.#ahead < end && link.residents.has(keys[this.#ahead] as ExpertKey)) this.#ahead++;
    if (this.#ahead >= end) return NO_EXPERT;
    const key = keys[this.#ahead] as ExpertKey;
    const bytes = this.#shape.expertBytes[Math.floor(key / this.#shape.experts)] as number;
    return bytes <= link.spareBytes ? key : NO_EXPERT;
  }

  victim(candidates: Residents, reason: EvictionReason, incoming: ExpertKey): ExpertKey {
    const victim = this.#base.victim(candidates);
    if (victim === NO_EXPERT) return NO_EXPERT;
    const needed = this.#base.nextUse(victim);
    // Room for what is needed later would have to be read a second time, sooner.
    if (reason === "prefetch" && needed <= this.#base.nextUse(incoming)) return NO_EXPERT;
    // A demanded expert may push out what was looked at already.
    if (needed < this.#future.stops) this.#ahead = Math.min(this.#ahead, this.#future.firstDemand[needed] as number);
    return victim;
  }

  end(): void {}
}
