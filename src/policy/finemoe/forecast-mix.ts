/**
 * One forecast of a layer out of all that is known of it: the neighbours' maps, the next layer's own router, what the request
 * has used so far, what the model uses in general, and what the token before used. Their logarithms are mixed with weights
 * per layer and distance, which every outcome moves towards the voices that were right.
 */
import type { RouterEvent } from "../../cache/policy.ts";
import type { ModelShape } from "../../cache/shape.ts";

export const VOICES = ["map", "gate", "request", "popularity", "previous"] as const;
export type Voice = (typeof VOICES)[number];
const MAP = 0;
const GATE = 1;
const REQUEST = 2;
const POPULARITY = 3;
const PREVIOUS = 4;

/** Distances with weights of their own: the next layer (where the gate speaks), the one after, and all beyond. */
const DISTANCES = 3;
/** How fast weights move: a voice that would have told the used from the rest by one nat more gains a fiftieth. */
const RATE = 0.02;
/** No voice is silenced for good, as text changes, and none may outshout all others. */
const LEAST_WEIGHT = 0.01;
const MOST_WEIGHT = 2;

export class ForecastMix {
  readonly #shape: ModelShape;
  /** A voice that rules an expert out may be wrong. */
  readonly #floor: number;
  /** `[layers][DISTANCES][voices]`; their sum is how sharp the mix is. */
  readonly #weights: Float64Array;
  /** `[layers][voices][experts]`: what each voice said for the last mix, logarithms. */
  readonly #said: Float32Array;
  /** `[layers][experts]`: the last mix. */
  readonly #mixed: Float32Array;
  /** `[layers][voices]`: 1 when it spoke. */
  readonly #spoke: Uint8Array;
  /** `[layers]`: distance class of the last mix, -1 without one. */
  readonly #distance: Int8Array;
  /** `[layers][experts]` counts of uses. */
  readonly #requestUses: Float64Array;
  readonly #allUses: Float64Array;
  readonly #previous: Float64Array;
  readonly #gate: Float32Array;
  #request = -1;
  /** Outcomes that moved weights. */
  learned = 0;

  constructor(shape: ModelShape) {
    const { layers, experts } = shape;
    const total = layers * experts;
    this.#shape = shape;
    this.#floor = 1 / (10 * experts);
    this.#weights = new Float64Array(layers * DISTANCES * VOICES.length).fill(1 / VOICES.length);
    this.#said = new Float32Array(total * VOICES.length);
    this.#mixed = new Float32Array(total);
    this.#spoke = new Uint8Array(layers * VOICES.length);
    this.#distance = new Int8Array(layers).fill(-1);
    this.#requestUses = new Float64Array(total);
    this.#allUses = new Float64Array(total);
    this.#previous = new Float64Array(total);
    this.#gate = new Float32Array(experts);
  }

  iterationStarts(request: number): void {
    this.#distance.fill(-1);
    if (request === this.#request) return;
    this.#request = request;
    this.#requestUses.fill(0);
  }

  /**
   * Writes the mixed distribution of a layer.
   * @param distance layers from the one whose router ran last, 1 at least
   * @param map `[experts]` the neighbours' row, or undefined without one
   * @param scores `[experts]` raw scores of the layer's router on an earlier state, or undefined
   * @param into `[experts]`, may be `map`
   */
  mix(
    layer: number,
    distance: number,
    map: Float32Array | undefined,
    scores: Float32Array | undefined,
    into: Float32Array,
  ) {
    const { experts } = this.#shape;
    const first = layer * experts;
    const kind = Math.min(distance, DISTANCES) - 1;
    this.#distance[layer] = kind;
    this.#say(layer, MAP, map, 0);
    this.#say(layer, GATE, scores === undefined ? undefined : softmax(scores, this.#gate), 0);
    this.#say(layer, REQUEST, this.#requestUses, first);
    this.#say(layer, POPULARITY, this.#allUses, first);
    this.#say(layer, PREVIOUS, this.#previous, first);
    into.fill(0);
    const weights = (layer * DISTANCES + kind) * VOICES.length;
    for (let voice = 0; voice < VOICES.length; voice++) {
      if (this.#spoke[layer * VOICES.length + voice] === 0) continue;
      const weight = this.#weights[weights + voice];
      const said = (layer * VOICES.length + voice) * experts;
      for (let expert = 0; expert < experts; expert++) into[expert] += weight * this.#said[said + expert];
    }
    softmax(into, into);
    this.#mixed.set(into, first);
  }

  /** A layer's router has decided: weights of its last mix move, and its uses are counted. */
  routed(event: RouterEvent): void {
    const { layer, distinct, distinctCount, tokens, expertsUsed, experts: chosen } = event;
    const { experts } = this.#shape;
    const first = layer * experts;
    if (this.#distance[layer] >= 0) this.#learn(layer, distinct, distinctCount);
    this.#distance[layer] = -1;
    this.#previous.fill(0, first, first + experts);
    for (let i = 0; i < tokens * expertsUsed; i++) {
      this.#requestUses[first + chosen[i]]++;
      this.#allUses[first + chosen[i]]++;
    }
    for (let i = (tokens - 1) * expertsUsed; i < tokens * expertsUsed; i++) this.#previous[first + chosen[i]]++;
  }

  /** Mean weight of a voice over layers and distances. */
  weight(voice: Voice): number {
    let sum = 0;
    for (let at = VOICES.indexOf(voice); at < this.#weights.length; at += VOICES.length) sum += this.#weights[at];
    return (sum * VOICES.length) / this.#weights.length;
  }

  #say(layer: number, voice: number, row: ArrayLike<number> | undefined, from: number): void {
    const { experts } = this.#shape;
    let sum = 0;
    if (row !== undefined) for (let expert = 0; expert < experts; expert++) sum += row[from + expert];
    this.#spoke[layer * VOICES.length + voice] = sum > 0 ? 1 : 0;
    if (row === undefined || sum <= 0) return;
    const said = (layer * VOICES.length + voice) * experts;
    for (let expert = 0; expert < experts; expert++)
      this.#said[said + expert] = Math.log(row[from + expert] / sum + this.#floor);
  }

  /**
   * Moves weights down the slope of the mix's surprise, the mean of -log p over the experts that were used: by how much more
   * a voice favoured them than the mix expected it to.
   */
  #learn(layer: number, distinct: Int32Array, distinctCount: number): void {
    const { experts } = this.#shape;
    const first = layer * experts;
    const weights = (layer * DISTANCES + this.#distance[layer]) * VOICES.length;
    for (let voice = 0; voice < VOICES.length; voice++) {
      if (this.#spoke[layer * VOICES.length + voice] === 0) continue;
      const said = (layer * VOICES.length + voice) * experts;
      let favour = 0;
      for (let i = 0; i < distinctCount; i++) favour += this.#said[said + distinct[i] - first] / distinctCount;
      for (let expert = 0; expert < experts; expert++)
        favour -= this.#mixed[first + expert] * this.#said[said + expert];
      const moved = this.#weights[weights + voice] * Math.exp(RATE * favour);
      this.#weights[weights + voice] = Math.min(Math.max(moved, LEAST_WEIGHT), MOST_WEIGHT);
    }
    this.learned++;
  }
}

function softmax(scores: Float32Array, into: Float32Array): Float32Array {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < into.length; i++) highest = Math.max(highest, scores[i]);
  let sum = 0;
  for (let i = 0; i < into.length; i++) {
    into[i] = Math.exp(scores[i] - highest);
    sum += into[i];
  }
  for (let i = 0; i < into.length; i++) into[i] /= sum;
  return into;
}
