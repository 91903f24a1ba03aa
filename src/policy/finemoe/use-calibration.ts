/**
 * The chance that a forecast expert is used, learned while running. A forecast gives a router probability, whose sum over a
 * layer is 1, and a similarity that is near 1 for good and bad matches alike; neither is a chance. Outcomes are counted in
 * classes of both, for each layer and for all layers together, and forgotten slowly.
 */
import type { ModelShape } from "../../cache/shape.ts";

/** Classes of the probability over the uniform one, in half powers of two from 1/8 up to 2^4. */
const PROBABILITY_CLASSES = 15;
const LOWEST_POWER = -3;
/** Upper bounds of classes of similarity. */
const SCORE_BOUNDS = [0.8, 0.95];
const SCORE_CLASSES = SCORE_BOUNDS.length + 1;
const CLASSES = PROBABILITY_CLASSES * SCORE_CLASSES;
/** Each outcome makes older ones of its class count this much: about 1000 outcomes of memory. */
const FORGETTING = 0.999;
/** What the prior counts as, and what a layer's own class needs to count as much as that of all layers. */
const PRIOR_OUTCOMES = 8;
const SHARED_OUTCOMES = 16;

export class UseCalibration {
  readonly #experts: number;
  readonly #shared: number;
  /** `[layers + 1][classes]`: outcomes, and uses among them; the last row is of all layers. */
  readonly #outcomes: Float64Array;
  readonly #uses: Float64Array;
  /** `[layers][experts]`: class of the last forecast, -1 for none. */
  readonly #class: Int16Array;
  readonly #used: Uint8Array;
  /** Sum of squared errors of the chances told before the outcome was known, and their number (Brier score). */
  squaredErrors = 0;
  outcomes = 0;

  constructor({ layers, experts, expertsUsed }: ModelShape) {
    this.#experts = experts;
    this.#shared = layers * CLASSES;
    this.#outcomes = new Float64Array((layers + 1) * CLASSES);
    this.#uses = new Float64Array((layers + 1) * CLASSES);
    this.#class = new Int16Array(layers * experts).fill(-1);
    this.#used = new Uint8Array(experts);
    for (let c = 0; c < CLASSES; c++) {
      const power = LOWEST_POWER + ((c % PROBABILITY_CLASSES) + 0.5) / 2;
      this.#outcomes[this.#shared + c] = PRIOR_OUTCOMES;
      this.#uses[this.#shared + c] = PRIOR_OUTCOMES * Math.min(1, (expertsUsed * 2 ** power) / experts);
    }
  }

  /** A layer has a forecast. @param row `[experts]` */
  forecast(layer: number, row: Float32Array, score: number): void {
    let scoreClass = 0;
    while (scoreClass < SCORE_BOUNDS.length && score >= SCORE_BOUNDS[scoreClass]) scoreClass++;
    const first = scoreClass * PROBABILITY_CLASSES;
    for (let expert = 0; expert < this.#experts; expert++) {
      const power = Math.log2(Math.max(row[expert] * this.#experts, 2 ** LOWEST_POWER));
      const c = Math.min(PROBABILITY_CLASSES - 1, Math.floor(2 * (power - LOWEST_POWER)));
      this.#class[layer * this.#experts + expert] = first + c;
    }
  }

  /** Chance that an expert of the last forecast is used, 0..1. @param key layer * experts + expert */
  chance(key: number): number {
    const c = this.#class[key];
    if (c < 0) return 0;
    const own = Math.floor(key / this.#experts) * CLASSES + c;
    const shared = this.#uses[this.#shared + c] / this.#outcomes[this.#shared + c];
    return (this.#uses[own] + SHARED_OUTCOMES * shared) / (this.#outcomes[own] + SHARED_OUTCOMES);
  }

  /** The router of a layer has decided: its forecast, if there was one, is held against these keys, and is over. */
  routed(layer: number, distinct: Int32Array, distinctCount: number): void {
    const first = layer * this.#experts;
    if (this.#class[first] < 0) return;
    this.#used.fill(0);
    for (let i = 0; i < distinctCount; i++) this.#used[distinct[i] - first] = 1;
    for (let expert = 0; expert < this.#experts; expert++) {
      const used = this.#used[expert];
      const c = this.#class[first + expert];
      const error = this.chance(first + expert) - used;
      this.squaredErrors += error * error;
      this.outcomes++;
      this.#learn(layer * CLASSES + c, used);
      this.#learn(this.#shared + c, used);
    }
    this.forget(layer);
  }

  /** The forecast of a layer is void. */
  forget(layer: number): void {
    this.#class.fill(-1, layer * this.#experts, (layer + 1) * this.#experts);
  }

  #learn(at: number, used: number): void {
    this.#outcomes[at] = this.#outcomes[at] * FORGETTING + 1;
    this.#uses[at] = this.#uses[at] * FORGETTING + used;
  }
}
