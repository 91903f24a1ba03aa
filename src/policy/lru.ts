/**
 * Global least recently used, over all layers. The plain floor of every comparison, with the known cliff: below one
 * token cycle its victim is always the expert that is needed soonest, and it hits exactly 0 %.
 */
import { NEEDS_NOTHING, type Policy, type PolicyNeeds, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { RecencyOrder } from "./recency-order.ts";

export function lru(): Policy {
  return new Lru();
}

export class Lru implements Policy {
  readonly name: string;
  readonly needs: PolicyNeeds;
  #order = new RecencyOrder(0);

  constructor(name = "lru", needs = NEEDS_NOTHING) {
    this.name = name;
    this.needs = needs;
  }

  begin(shape: ModelShape): void {
    this.#order = new RecencyOrder(shape.layers * shape.experts);
  }

  iteration(): void {}

  /** Touches the hits. The misses follow, newer than every hit of their layer, when they are read. */
  routed(event: RouterEvent): void {
    for (let i = 0; i < event.distinctCount; i++) {
      const key = event.distinct[i] as number;
      if (this.#order.has(key)) this.#order.touch(key);
    }
  }

  loading(key: ExpertKey): void {
    this.#order.touch(key);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    return this.#order.takeOldest(candidates);
  }

  end(): void {}
}
