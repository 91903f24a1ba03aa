/**
 * Systems that do not look at the router: all experts of a layer come in before it runs. `deepspeed` is DeepSpeed-Inference
 * as FineMoE's authors compare with it, on demand and with a cache added; `layer-stream` also reads the next layer while
 * this one computes, which is what streaming layers means where it is done in earnest. They read J / K times the bytes of
 * reading what was routed, which `lru` and `on-demand` do.
 */
import {
  type LinkState,
  NEEDS_NOTHING,
  type Policy,
  type PolicyNeeds,
  type Residents,
  type RouterEvent,
} from "../cache/policy.ts";
import { type ExpertKey, expertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { Lru } from "./lru.ts";
import { onDemand } from "./on-demand.ts";

const WHOLE_LAYERS: PolicyNeeds = { ...NEEDS_NOTHING, wholeLayers: true };

export interface DeepSpeedOptions {
  /** Keep the experts used last, as many as fit; without, every layer is given up as soon as it has run. @default true */
  readonly cache?: boolean;
}

export function deepspeed({ cache = true }: DeepSpeedOptions = {}): Policy {
  return cache ? new Lru("deepspeed", WHOLE_LAYERS) : { ...onDemand(), name: "deepspeed", needs: WHOLE_LAYERS };
}

export function layerStream({ cache = true }: DeepSpeedOptions = {}): Policy {
  return new LayerStream(cache ? new Lru() : onDemand());
}

class LayerStream implements Policy {
  readonly name = "layer-stream";
  readonly needs = WHOLE_LAYERS;
  readonly #base: Policy;
  #shape!: ModelShape;
  /** The layer that is read ahead: after the last comes the first, of the next token. */
  #next = 0;
  /** Its first expert that may be absent; -1 before it was looked at. */
  #expert = -1;

  constructor(base: Policy) {
    this.#base = base;
    // Bound only when the base has it, so that the cache does not ask in vain.
    if (base.discard !== undefined) this.discard = (candidates) => base.discard?.(candidates) ?? NO_EXPERT;
  }

  discard?(candidates: Residents): ExpertKey;

  begin(shape: ModelShape, budgetExperts: number): void {
    this.#shape = shape;
    this.#base.begin(shape, budgetExperts);
  }

  iteration(): void {}

  routed(event: RouterEvent): void {
    this.#base.routed(event);
    this.#next = (event.layer + 1) % this.#shape.layers;
    this.#expert = -1;
  }

  loading(key: ExpertKey, kind: "demand" | "prefetch"): void {
    this.#base.loading?.(key, kind);
  }

  prefetch({ residents, spareBytes }: LinkState): ExpertKey {
    const { experts, expertBytes } = this.#shape;
    if (this.#expert < 0) this.#holdNextLayer(residents);
    if ((expertBytes[this.#next] as number) > spareBytes) return NO_EXPERT;
    while (this.#expert < experts) {
      const key = expertKey(this.#shape, this.#next, this.#expert++);
      if (!residents.has(key)) return key;
    }
    return NO_EXPERT;
  }

  victim(candidates: Residents, reason: "demand" | "prefetch", incoming: ExpertKey): ExpertKey {
    return this.#base.victim(candidates, reason, incoming);
  }

  end(): void {}

  /** What is there of the next layer is as good as used: it must not make room for the rest of its own layer. */
  #holdNextLayer(residents: Residents): void {
    this.#expert = 0;
    for (let expert = 0; expert < this.#shape.experts; expert++) {
      const key = expertKey(this.#shape, this.#next, expert);
      if (residents.has(key)) this.#base.loading?.(key, "prefetch");
    }
  }
}
