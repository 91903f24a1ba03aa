/**
 * Segmented LRU: an expert that was used once is on probation, a second use while it is there makes it protected, and
 * only those on probation are given up while there are any. What was used a single time cannot push out what is used
 * again and again. The segments span all layers; where the protected one is full its oldest goes back on probation.
 */
import { type LoadKind, NEEDS_NOTHING, type Policy, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { RecencyOrder } from "./recency-order.ts";

export interface SlruOptions {
  /** Share of the budget that can be protected, 0..1. @default 0.8, the usual choice for the segmented LRU of disks */
  readonly protectedShare?: number;
}

export function slru(options: SlruOptions = {}): Policy {
  return new Slru(options);
}

const PROBATION = 0;
const PROTECTED = 1;
/** On probation and not used yet: a speculative read, whose first use is a first use. */
const READ_AHEAD = 2;

class Slru implements Policy {
  readonly name = "slru";
  readonly needs = NEEDS_NOTHING;
  readonly #share: number;
  #order = new RecencyOrder(0, 2);
  #segment = new Uint8Array(0);
  #protected = 0;
  #room = 0;

  constructor({ protectedShare = 0.8 }: SlruOptions) {
    this.#share = protectedShare;
  }

  begin(shape: ModelShape, budgetExperts: number): void {
    this.#order = new RecencyOrder(shape.layers * shape.experts, 2);
    this.#segment = new Uint8Array(shape.layers * shape.experts);
    this.#room = Math.floor(this.#share * budgetExperts);
  }

  iteration(): void {}

  routed(event: RouterEvent): void {
    for (let i = 0; i < event.distinctCount; i++) {
      const key = event.distinct[i] as number;
      if (!this.#order.has(key)) continue;
      if (this.#segment[key] === READ_AHEAD) this.#enter(key, PROBATION);
      else this.#enter(key, PROTECTED);
    }
    while (this.#protected > this.#room) this.#enter(this.#order.oldest(PROTECTED), PROBATION);
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    this.#enter(key, kind === "prefetch" ? READ_AHEAD : PROBATION);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    const victim = this.#order.takeOldest(candidates, PROBATION);
    if (victim !== NO_EXPERT) return victim;
    const proven = this.#order.takeOldest(candidates, PROTECTED);
    if (proven !== NO_EXPERT) this.#leave(proven);
    return proven;
  }

  end(): void {}

  #enter(key: number, segment: number): void {
    this.#leave(key);
    this.#segment[key] = segment;
    if (segment === PROTECTED) this.#protected++;
    this.#order.touch(key, segment === PROTECTED ? PROTECTED : PROBATION);
  }

  #leave(key: number): void {
    if (this.#segment[key] === PROTECTED) this.#protected--;
    this.#segment[key] = PROBATION;
  }
}
