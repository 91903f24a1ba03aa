/**
 * Least frequently used: gives up the expert that routers chose least often, between equals the one not used for
 * longest. An expert's count outlives its eviction. A floor for comparisons: it never forgets unless told to, and
 * treats an expert whose layer is next like one whose layer has just passed.
 */
import { type LoadKind, NEEDS_NOTHING, type Policy, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, layerOf, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { ColdestOfLayer } from "./coldest.ts";

export interface LfuOptions {
  /** Iterations after which a use counts half; default Infinity, a use counts for ever. */
  readonly halfLife?: number;
  /** Give each layer an equal share of the budget and take victims from the layer furthest above it; default false. */
  readonly perLayer?: boolean;
  /** Count only the uses since the expert came in, instead of all there ever were; default false. */
  readonly sinceLoaded?: boolean;
}

export function lfu(options: LfuOptions = {}): Policy {
  return new Lfu(options);
}

class Lfu implements Policy {
  readonly name: string;
  readonly needs = NEEDS_NOTHING;
  readonly #keep: number;
  readonly #perLayer: boolean;
  readonly #sinceLoaded: boolean;
  #shape!: ModelShape;
  #uses!: Float64Array;
  #lastUse!: Float64Array;
  #coldest!: ColdestOfLayer;
  /** Per layer, experts that are resident or in flight. */
  #held!: Int32Array;
  #stops = 0;

  constructor({ halfLife = Number.POSITIVE_INFINITY, perLayer = false, sinceLoaded = false }: LfuOptions) {
    // What MoE-Infinity's published code does, as that code runs for most models: no prediction, and this rule.
    if (sinceLoaded) this.name = "moe-infinity-shipped";
    else this.name = perLayer ? "lfu-per-layer" : halfLife === Number.POSITIVE_INFINITY ? "lfu" : "lfu-decayed";
    this.#keep = 2 ** (-1 / halfLife);
    this.#perLayer = perLayer;
    this.#sinceLoaded = sinceLoaded;
  }

  begin(shape: ModelShape): void {
    this.#shape = shape;
    this.#uses = new Float64Array(shape.layers * shape.experts);
    this.#lastUse = new Float64Array(shape.layers * shape.experts);
    this.#coldest = new ColdestOfLayer(shape, this.#uses, this.#lastUse);
    this.#held = new Int32Array(shape.layers);
  }

  iteration(): void {}

  routed(event: RouterEvent): void {
    const { experts } = this.#shape;
    const first = event.layer * experts;
    this.#stops++;
    if (this.#keep < 1)
      for (let key = first; key < first + experts; key++) this.#uses[key] = (this.#uses[key] as number) * this.#keep;
    for (let i = 0; i < event.distinctCount; i++) {
      const key = event.distinct[i] as number;
      this.#uses[key] = (this.#uses[key] as number) + 1;
      this.#lastUse[key] = this.#stops;
    }
    this.#coldest.rescored(event.layer);
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    if (this.#sinceLoaded) this.#uses[key] = kind === "demand" ? 1 : 0;
    this.#coldest.added(key);
    this.#countHeld(key, 1);
  }

  loaded(key: ExpertKey, complete: boolean): void {
    if (!complete) this.#countHeld(key, -1);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    const victim = this.#perLayer ? this.#coldestOfFullestLayer(candidates) : this.#coldest.ofAll(candidates);
    if (victim === NO_EXPERT) return NO_EXPERT;
    this.#coldest.removed(victim);
    this.#countHeld(victim, -1);
    return victim;
  }

  end(): void {}

  #coldestOfFullestLayer(candidates: Residents): ExpertKey {
    const { layers, expertBytes } = this.#shape;
    let victim = NO_EXPERT;
    let most = 0;
    for (let layer = 0; layer < layers; layer++) {
      const bytes = (this.#held[layer] as number) * (expertBytes[layer] as number);
      if (bytes <= most) continue;
      const key = this.#coldest.of(layer, candidates);
      if (key === NO_EXPERT) continue;
      most = bytes;
      victim = key;
    }
    return victim;
  }

  #countHeld(key: ExpertKey, change: 1 | -1): void {
    const layer = layerOf(this.#shape, key);
    this.#held[layer] = (this.#held[layer] as number) + change;
  }
}
