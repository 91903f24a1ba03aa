/**
 * MoE-Infinity (arXiv 2401.14361 v3), by its paper's rules: the past request whose expert activation matrix is most like
 * that of the request so far predicts the layers to come, what it used most is read ahead, nearer layers first, and what
 * it used least in the later layers is given up. Its published code runs something else: `moe-infinity-shipped`.
 *
 * Prefill and decode have collections of their own. Before there is any past request, and before the first layer of a
 * pass, the experts used most of all stand in.
 */
import {
  type IterationStart,
  type LinkState,
  NEEDS_NOTHING,
  type Phase,
  type Policy,
  type Residents,
  type RouterEvent,
} from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { ColdestOfLayer } from "./coldest.ts";
import { EamCollection } from "./eam-collection.ts";
import { readEamCollections, writeEamCollections } from "./eam-file.ts";

export interface MoeInfinityOptions {
  /** Matrices of past requests that are kept, of each phase. @default 120, about 3 % of the paper's requests */
  readonly eamc?: number;
  /** What predicts: the matrix most alike, or the sum of the four most alike, weighted by their cosine. @default "best" */
  readonly match?: "best" | "sum";
  /** What a full collection gives up; "least-accessed" is the published code's rule. @default "similar" */
  readonly replace?: "similar" | "least-accessed";
  /** From an earlier run's `learned()`. @default nothing */
  readonly learned?: Uint8Array | undefined;
}

/** "Several" in the paper, without a number. */
const SUMMED = 4;
/** Paper: a small number that keeps the order of layers where nothing is predicted. */
const EPSILON = 1e-6;
/** In place of an entry's index: popularity predicts, or nothing is known of what did. */
const POPULARITY = -1;
const UNKNOWN = -2;
/** In place of a row's best absent expert: it has to be looked for. */
const UNSOUGHT = -2;

export function moeInfinity(options: MoeInfinityOptions = {}): Policy {
  return new MoeInfinity(options);
}

/** What a prediction for layer `layer` counts when the router of layer `now` ran last (-1: none of this pass). */
export function layerProximity(layer: number, now: number, layers: number): number {
  return 1 - (layer - now) / layers;
}

class MoeInfinity implements Policy {
  readonly name = "moe-infinity";
  readonly needs = NEEDS_NOTHING;
  readonly prefetchesAtStart = true;
  readonly #options: Required<Omit<MoeInfinityOptions, "learned">>;
  readonly #learned: Uint8Array | undefined;
  #shape!: ModelShape;
  #collections!: Readonly<Record<Phase, EamCollection>>;
  #phase: Phase = "prefill";
  #request = -1;
  /** MoE layer whose router ran last in this pass, or -1. */
  #layer = -1;
  #stops = 0;
  /** Tokens that used an expert, in all requests; and the sums over a layer's experts. */
  #uses!: Float64Array;
  #layerUses!: Float64Array;
  /** Tokens of the micro-batch in hand, per expert. */
  #tokens!: Float64Array;
  /** Per key, the predicted share of its layer's choices; which entries said so. */
  #share!: Float64Array;
  #sources!: Int32Array;
  #alike!: Int32Array;
  /** Per layer, the absent expert with the largest share as it was last sought, or NO_EXPERT, or UNSOUGHT. */
  #best!: Int32Array;
  #lastUse!: Float64Array;
  #score!: Float64Array;
  #coldest!: ColdestOfLayer;
  #matches = 0;
  #popular = 0;

  constructor({ eamc = 120, match = "best", replace = "similar", learned }: MoeInfinityOptions) {
    this.#options = { eamc, match, replace };
    this.#learned = learned;
  }

  begin(shape: ModelShape): void {
    const { layers, experts } = shape;
    const { eamc, match, replace } = this.#options;
    const collection = () => new EamCollection({ layers, experts, capacity: eamc, replace });
    this.#shape = shape;
    this.#collections = { prefill: collection(), decode: collection() };
    this.#uses = new Float64Array(layers * experts);
    this.#layerUses = new Float64Array(layers);
    this.#tokens = new Float64Array(experts);
    this.#share = new Float64Array(layers * experts);
    this.#sources = new Int32Array(match === "best" ? 1 : SUMMED).fill(UNKNOWN);
    this.#alike = new Int32Array(this.#sources.length);
    this.#best = new Int32Array(layers).fill(UNSOUGHT);
    this.#lastUse = new Float64Array(layers * experts);
    this.#score = new Float64Array(layers * experts);
    this.#coldest = new ColdestOfLayer(shape, this.#score, this.#lastUse);
    if (this.#learned !== undefined) this.#restore(this.#learned);
    this.#predictPopular();
  }

  iteration(start: IterationStart): void {
    if (start.request !== this.#request) this.#finishRequest();
    this.#request = start.request;
    this.#phase = start.phase;
    this.#layer = -1;
    this.#predictPopular();
  }

  routed(event: RouterEvent): void {
    const { layer, distinct, distinctCount } = event;
    const { experts } = this.#shape;
    const collection = this.#collections[this.#phase];
    const tokens = this.#tokens.fill(0);
    this.#layer = layer;
    this.#stops++;
    for (let i = 0; i < event.tokens * event.expertsUsed; i++) {
      const expert = event.experts[i] as number;
      tokens[expert] = (tokens[expert] as number) + 1;
    }
    for (let i = 0; i < distinctCount; i++) {
      const key = distinct[i] as number;
      const count = tokens[key % experts] as number;
      collection.add(key, count);
      this.#uses[key] = (this.#uses[key] as number) + count;
      this.#layerUses[layer] = (this.#layerUses[layer] as number) + count;
      this.#lastUse[key] = this.#stops;
    }
    this.#coldest.rescored(layer);
    if (collection.size > 0) this.#predictFrom(collection);
    else this.#predictPopularLayer(layer);
  }

  loading(key: ExpertKey): void {
    this.#coldest.added(key);
  }

  loaded(key: ExpertKey, complete: boolean): void {
    if (!complete) this.#best[this.#layerOf(key)] = UNSOUGHT;
  }

  prefetch({ residents, spareBytes }: LinkState): ExpertKey {
    const { layers, expertBytes } = this.#shape;
    let chosen = NO_EXPERT;
    let highest = 0;
    for (let layer = this.#layer + 1; layer < layers; layer++) {
      const key = this.#bestAbsent(layer, residents);
      if (key === NO_EXPERT) continue;
      const value = (this.#share[key] as number) * layerProximity(layer, this.#layer, layers);
      if (value <= highest) continue;
      highest = value;
      chosen = key;
    }
    if (chosen === NO_EXPERT || (expertBytes[this.#layerOf(chosen)] as number) > spareBytes) return NO_EXPERT;
    return chosen;
  }

  victim(candidates: Residents): ExpertKey {
    const victim = this.#coldest.ofAll(candidates);
    if (victim === NO_EXPERT) return NO_EXPERT;
    this.#coldest.removed(victim);
    this.#best[this.#layerOf(victim)] = UNSOUGHT;
    return victim;
  }

  /** The request under way counts as over. */
  learned(): Uint8Array {
    this.#finishRequest();
    const { layers, experts } = this.#shape;
    const { prefill, decode } = this.#collections;
    return writeEamCollections({
      layers,
      experts,
      uses: this.#uses,
      prefill: prefill.saved(),
      decode: decode.saved(),
    });
  }

  figures(): Readonly<Record<string, number>> {
    return { eamMatches: this.#matches, popularityPredictions: this.#popular };
  }

  end(): void {
    this.#finishRequest();
  }

  #restore(learned: Uint8Array): void {
    const { layers, experts } = this.#shape;
    const { uses, prefill, decode } = readEamCollections(learned, layers, experts);
    this.#uses.set(uses);
    for (let layer = 0; layer < layers; layer++)
      this.#layerUses[layer] = uses.subarray(layer * experts, (layer + 1) * experts).reduce((sum, n) => sum + n, 0);
    this.#collections.prefill.restore(prefill);
    this.#collections.decode.restore(decode);
  }

  #finishRequest(): void {
    this.#collections.prefill.finish();
    this.#collections.decode.finish();
    // The number of a replaced entry stands for another request now.
    this.#sources.fill(UNKNOWN);
  }

  #predictFrom(collection: EamCollection): void {
    const found = collection.mostAlike(this.#alike);
    for (let i = 0; i < found; i++) collection.accessed(this.#alike[i] as number);
    this.#matches++;
    let same = true;
    for (let i = 0; i < this.#sources.length; i++) {
      const source = i < found ? (this.#alike[i] as number) : UNKNOWN;
      if (this.#sources[i] !== source) same = false;
      this.#sources[i] = source;
    }
    // The weights of a sum may have moved a little; its experts have not.
    if (same) return;
    this.#share.fill(0);
    for (let i = 0; i < found; i++) {
      const weight = found === 1 ? 1 : collection.similarity(this.#alike[i] as number);
      collection.addShares(this.#alike[i] as number, weight, this.#share);
    }
    this.#rescoreAll();
  }

  #predictPopular(): void {
    this.#popular++;
    this.#sources.fill(UNKNOWN);
    this.#sources[0] = POPULARITY;
    for (let layer = 0; layer < this.#shape.layers; layer++) this.#sharePopular(layer);
    this.#rescoreAll();
  }

  /** Popularity has changed in one layer only. */
  #predictPopularLayer(layer: number): void {
    this.#popular++;
    this.#sharePopular(layer);
    this.#rescore(layer);
  }

  #sharePopular(layer: number): void {
    const { experts } = this.#shape;
    const sum = this.#layerUses[layer] as number;
    const perUse = sum > 0 ? 1 / sum : 0;
    for (let key = layer * experts; key < (layer + 1) * experts; key++)
      this.#share[key] = perUse * (this.#uses[key] as number);
  }

  #rescoreAll(): void {
    for (let layer = 0; layer < this.#shape.layers; layer++) this.#rescore(layer);
  }

  /** The paper's Algorithm 1: early layers stay, because nothing can read them in time. */
  #rescore(layer: number): void {
    const { layers, experts } = this.#shape;
    const weight = 1 - layer / layers;
    for (let key = layer * experts; key < (layer + 1) * experts; key++)
      this.#score[key] = ((this.#share[key] as number) + EPSILON) * weight;
    this.#best[layer] = UNSOUGHT;
    this.#coldest.rescored(layer);
  }

  #bestAbsent(layer: number, residents: Residents): ExpertKey {
    const known = this.#best[layer] as ExpertKey;
    if (known === NO_EXPERT || (known !== UNSOUGHT && !residents.has(known))) return known;
    const { experts } = this.#shape;
    let best = NO_EXPERT;
    let largest = 0;
    for (let i = layer * experts; i < (layer + 1) * experts; i++) {
      const key = i as ExpertKey;
      const share = this.#share[key] as number;
      if (share <= largest || residents.has(key)) continue;
      largest = share;
      best = key;
    }
    this.#best[layer] = best;
    return best;
  }

  #layerOf(key: number): number {
    return Math.floor(key / this.#shape.experts);
  }
}
