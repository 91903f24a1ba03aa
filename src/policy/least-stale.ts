/**
 * Least-Stale (SpecMD, arXiv 2602.03921): an expert that the running forward pass has neither used nor read ahead is stale,
 * and stale experts are given up before current ones, first in first out. Layers run in a fixed order, so what a pass has
 * not touched yet is a whole generation old, while what it has read ahead is needed soon, however long ago that was.
 *
 * The paper's own text was not at hand. This is how the more detailed second-hand descriptions have it; others rank by layer
 * alone, or by expected intervals of reuse. The order within a generation is a switch. Without reading ahead, `fifo` is
 * LRU but for uses within one pass, and has its cliff.
 */
import { type IterationStart, NEEDS_NOTHING, type Policy, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { RecencyOrder } from "./recency-order.ts";

export interface LeastStaleOptions {
  /** Within a generation: "fifo", the first touched first; "layer", that of the layer which comes round last. @default "fifo" */
  readonly order?: "fifo" | "layer";
}

export function leastStale(options: LeastStaleOptions = {}): Policy {
  return new LeastStale(options);
}

class LeastStale implements Policy {
  readonly name = "least-stale";
  readonly needs = NEEDS_NOTHING;
  readonly #byLayer: boolean;
  #experts = 1;
  /** Lists of a generation: one, or one per layer. The stale ones come first. */
  #lists = 1;
  #order = new RecencyOrder(0, 2);
  /** Per key, the pass that touched it last. */
  #touchedIn = new Float64Array(0);
  #pass = 1;
  #layer = 0;

  constructor({ order = "fifo" }: LeastStaleOptions) {
    this.#byLayer = order === "layer";
  }

  begin(shape: ModelShape): void {
    const keys = shape.layers * shape.experts;
    this.#experts = shape.experts;
    this.#lists = this.#byLayer ? shape.layers : 1;
    this.#order = new RecencyOrder(keys, 2 * this.#lists);
    this.#touchedIn = new Float64Array(keys);
  }

  iteration(_start: IterationStart): void {
    this.#pass++;
    for (let list = 0; list < this.#lists; list++) this.#order.append(this.#lists + list, list);
  }

  routed(event: RouterEvent): void {
    this.#layer = event.layer;
    for (let i = 0; i < event.distinctCount; i++) {
      const key = event.distinct[i] as number;
      if (this.#order.has(key) && this.#touchedIn[key] !== this.#pass) this.loading(key as ExpertKey);
    }
  }

  loading(key: ExpertKey): void {
    this.#touchedIn[key] = this.#pass;
    this.#order.touch(key, this.#lists + (this.#byLayer ? Math.floor(key / this.#experts) : 0));
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    for (let generation = 0; generation < 2; generation++)
      for (let ahead = this.#lists; ahead > 0; ahead--) {
        const list = generation * this.#lists + ((this.#layer + ahead) % this.#lists);
        const key = this.#order.takeOldest(candidates, list);
        if (key !== NO_EXPERT) return key;
      }
    return NO_EXPERT;
  }

  end(): void {}
}
