/**
 * ProMoE (arXiv 2410.22134): a learned predictor says, from the router input of the running layer, which experts a later
 * layer will choose, and they are read ahead; a newer prediction of a layer replaces the older one. The same number of
 * experts stays in each layer, least recently used first out, where being predicted counts as a use and being used as
 * another.
 *
 * Early preemption is the engine's: at a router's decision it cancels queued reads ahead for that layer that were wrong,
 * moves the right ones to the front, and hands over nothing speculative before them. What is on its way already are
 * requests of at most 1 MiB each. The published system computes a layer's experts in the order in which they arrive; in
 * llama.cpp a layer's products run as one, so only the order of reading is left (resident experts are not waited for, and
 * each of an expert's matrices is waited for when it is needed).
 */
import {
  type LinkState,
  type LoadKind,
  NEEDS_NOTHING,
  type Policy,
  type Residents,
  type RouterEvent,
} from "../cache/policy.ts";
import { type ExpertKey, expertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { bestExperts } from "../predict/best-experts.ts";
import { PredictorError } from "../predict/errors.ts";
import { PredictorRuntime } from "../predict/predictor-runtime.ts";
import type { RouterPredictor } from "../predict/router-predictor.ts";
import { RecencyOrder } from "./recency-order.ts";

export interface ProMoeOptions {
  /** Trained for the model. @default none: the policy has its name and needs, and refuses to begin */
  readonly predictor?: RouterPredictor | undefined;
  /** Layers skipped before the nearest predicted one. @default what the predictor was trained for */
  readonly stride?: number;
  /** Successive layers predicted at each. @default what the predictor was trained for; with a stride given, 1 */
  readonly window?: number;
  /** Experts named for each token. @default as many as a token uses */
  readonly k?: number;
  /** Being predicted counts as a use. @default true */
  readonly touch?: boolean;
  /**
   * Tokens of a micro-batch at most for predicting: the experts of more tokens together are about all of a layer, and each
   * token costs a prediction. @default 8
   */
  readonly tokens?: number;
  /** A clock in ms for the figure of what predictions cost, never for a decision. @default none: no such figure */
  readonly stopwatch?: (() => number) | undefined;
}

/** @throws PredictorError `wrong-reach` when the predictor does not predict the layers asked for */
export function proMoe(options: ProMoeOptions): Policy {
  return new ProMoe(options);
}

class ProMoe implements Policy {
  readonly name = "promoe";
  readonly needs = { ...NEEDS_NOTHING, hidden: true };
  readonly #options: Omit<ProMoeOptions, "predictor">;
  /** Until its weights have a place in the runtime. */
  #predictor: RouterPredictor | undefined;
  readonly #nearest: number;
  readonly #window: number;
  readonly #mostTokens: number;
  readonly #touchesPredicted: boolean;
  #shape!: ModelShape;
  #hiddenSize = 0;
  #named = 0;
  /** Experts that a layer keeps. */
  #kept = 1;
  #runtime!: PredictorRuntime;
  /** `[layers][window]`: place of the head in the runtime, -1 beyond the last layer. */
  #heads!: Int32Array;
  /** One list per layer, and their lengths. */
  #order!: RecencyOrder;
  #held!: Int32Array;
  /** `[layers][experts]`: what each layer is predicted to choose, best first; how many; how many of them were looked at. */
  #predicted!: Int32Array;
  #predictedCount!: Int32Array;
  #asked!: Int32Array;
  /** Per key: 1 while it is predicted for a layer that has not run. */
  #expected!: Uint8Array;
  /** Per key: 1 while its bytes are on their way. */
  #inFlight!: Uint8Array;
  /** `[tokens][named]`: the best of each token. */
  #best!: Int32Array;
  #residents: Residents | undefined;
  readonly #sums = {
    predictions: 0,
    predictionMs: 0,
    predictedLayers: 0,
    predictedExperts: 0,
    rightExperts: 0,
    rightInTime: 0,
    chosenExperts: 0,
    layersWithoutInputs: 0,
  };

  constructor(options: ProMoeOptions) {
    const { predictor, tokens = 8, touch = true } = options;
    const trained = { stride: predictor?.stride ?? 0, window: predictor?.window ?? 1 };
    const { stride = trained.stride, window = options.stride === undefined ? trained.window : 1 } = options;
    const last = trained.stride + trained.window;
    if (predictor !== undefined && (stride < trained.stride || stride + window > last))
      throw new PredictorError(
        "wrong-reach",
        `The predictor looks ${1 + trained.stride} to ${last} layers ahead, not ${1 + stride} to ${stride + window}. Train one with that --stride and --window, or leave the switches out.`,
      );
    const { predictor: _, ...rest } = options;
    this.#options = rest;
    this.#predictor = predictor;
    this.#nearest = 1 + stride;
    this.#window = window;
    this.#mostTokens = tokens;
    this.#touchesPredicted = touch;
  }

  /** @throws PredictorError `missing`, `wrong-model` when the predictor is of a model of another shape */
  begin(shape: ModelShape, budgetExperts: number): void {
    const predictor = this.#predictor;
    const { k = shape.expertsUsed } = this.#options;
    if (predictor === undefined)
      throw new PredictorError(
        "missing",
        "The policy promoe needs a predictor trained for the model. Record a trace with warmset trace MODEL --probs --hidden, train one with warmset train-predictor TRACE --out FILE, and give it with --predictor FILE.",
      );
    const { model } = predictor;
    const fits = shape.layers === model.layers && shape.experts === model.experts;
    if (!fits || (shape.hiddenSize ?? model.hiddenSize) !== model.hiddenSize)
      throw new PredictorError(
        "wrong-model",
        `The predictor was trained for ${model.name}: ${model.layers} layers of ${model.experts} experts, inputs of ${model.hiddenSize} numbers. This model has ${shape.layers} of ${shape.experts}, and ${shape.hiddenSize ?? "unknown"}. Train one from a trace of this model.`,
      );
    this.#shape = shape;
    this.#hiddenSize = model.hiddenSize;
    this.#named = Math.min(k, shape.experts);
    this.#kept = Math.max(1, Math.floor(budgetExperts / shape.layers));
    const reached = predictor.heads.filter(
      ({ distance }) => distance >= this.#nearest && distance < this.#nearest + this.#window,
    );
    this.#runtime = new PredictorRuntime(model, reached);
    this.#predictor = undefined;
    this.#heads = new Int32Array(shape.layers * this.#window).fill(-1);
    for (const [i, { layer, distance }] of reached.entries())
      this.#heads[layer * this.#window + distance - this.#nearest] = i;
    const keys = shape.layers * shape.experts;
    this.#order = new RecencyOrder(keys, shape.layers);
    this.#held = new Int32Array(shape.layers);
    this.#predicted = new Int32Array(keys);
    this.#predictedCount = new Int32Array(shape.layers);
    this.#asked = new Int32Array(shape.layers);
    this.#expected = new Uint8Array(keys);
    this.#inFlight = new Uint8Array(keys);
    this.#best = new Int32Array(this.#mostTokens * this.#named);
  }

  iteration(): void {
    for (let layer = 0; layer < this.#shape.layers; layer++) this.#forget(layer);
  }

  routed(event: RouterEvent): void {
    const { layer, distinct, distinctCount, hidden, tokens } = event;
    this.#compare(event);
    this.#forget(layer);
    for (let i = 0; i < distinctCount; i++) {
      const key = distinct[i] as number;
      if (this.#order.has(key)) this.#touch(key);
    }
    if (hidden === undefined) this.#sums.layersWithoutInputs++;
    if (hidden === undefined || tokens > this.#mostTokens) return;
    for (let ahead = 0; ahead < this.#window; ahead++) {
      const head = this.#heads[layer * this.#window + ahead] as number;
      if (head >= 0) this.#predict(head, layer + this.#nearest + ahead, hidden, tokens);
    }
  }

  loading(key: ExpertKey): void {
    this.#inFlight[key] = 1;
    this.#touch(key);
  }

  loaded(key: ExpertKey, complete: boolean): void {
    this.#inFlight[key] = 0;
    if (!complete && this.#order.has(key)) this.#remove(key);
  }

  /** The nearest layers' experts first, the likeliest of each first. */
  prefetch({ residents, layer, spareBytes }: LinkState): ExpertKey {
    this.#residents = residents;
    const { layers, expertBytes } = this.#shape;
    const end = Math.min(layers, layer + this.#nearest + this.#window);
    for (let target = layer + 1; target < end; target++) {
      const count = this.#predictedCount[target] as number;
      while ((this.#asked[target] as number) < count) {
        if ((expertBytes[target] as number) > spareBytes) return NO_EXPERT;
        const at = this.#asked[target] as number;
        this.#asked[target] = at + 1;
        const key = this.#predictedKey(target, at);
        if (!residents.has(key)) return key;
      }
    }
    return NO_EXPERT;
  }

  /** Of the layer that grows beyond its part, else of one that holds more than its part; then, for a demand, of any. */
  victim(candidates: Residents, reason: LoadKind, incoming: ExpertKey): ExpertKey {
    const own = this.#layerOf(incoming);
    if ((this.#held[own] as number) < this.#kept) {
      const other = this.#takeFromFullest(candidates, this.#kept + 1);
      if (other !== NO_EXPERT) return other;
    }
    const key = this.#takeOldest(candidates, own, true);
    if (key !== NO_EXPERT || reason === "prefetch") return key;
    const unexpected = this.#takeFromFullest(candidates, 1);
    return unexpected !== NO_EXPERT ? unexpected : this.#takeOldestOfAny(candidates);
  }

  /** `accuracy`, `fetchRate` and their product `goodPred` are over all until now, the others sums. */
  figures(): Readonly<Record<string, number>> {
    const { predictionMs, ...sums } = this.#sums;
    const accuracy = sums.predictedExperts === 0 ? 0 : sums.rightExperts / sums.predictedExperts;
    const fetchRate = sums.rightExperts === 0 ? 0 : sums.rightInTime / sums.rightExperts;
    return {
      ...sums,
      accuracy,
      fetchRate,
      goodPred: accuracy * fetchRate,
      predictorBytes: this.#runtime.memoryBytes,
      ...(this.#options.stopwatch === undefined ? {} : { predictionMs }),
    };
  }

  end(): void {}

  /** Holds the standing prediction of a layer against what it chose, and what had arrived by then. */
  #compare({ layer, distinct, distinctCount }: RouterEvent): void {
    const count = this.#predictedCount[layer] as number;
    if (count === 0) return;
    this.#sums.predictedLayers++;
    this.#sums.predictedExperts += count;
    this.#sums.chosenExperts += distinctCount;
    for (let i = 0; i < distinctCount; i++) {
      const key = distinct[i] as ExpertKey;
      if (this.#expected[key] === 0) continue;
      this.#sums.rightExperts++;
      if (this.#residents?.has(key) === true && this.#inFlight[key] === 0) this.#sums.rightInTime++;
    }
  }

  #forget(layer: number): void {
    for (let i = 0; i < (this.#predictedCount[layer] as number); i++) this.#expected[this.#predictedKey(layer, i)] = 0;
    this.#predictedCount[layer] = 0;
    this.#asked[layer] = 0;
  }

  /** The best of every token, first choices first, each expert once; in place of what was predicted of the layer before. */
  #predict(head: number, target: number, hidden: Float32Array, tokens: number): void {
    const hiddenSize = this.#hiddenSize;
    const { stopwatch } = this.#options;
    const start = stopwatch?.() ?? 0;
    this.#forget(target);
    for (let token = 0; token < tokens; token++) {
      this.#runtime.read(hidden, token * hiddenSize);
      bestExperts(this.#runtime.scores(head), this.#named, this.#best, token * this.#named);
    }
    let count = 0;
    for (let rank = 0; rank < this.#named; rank++)
      for (let token = 0; token < tokens; token++) {
        const expert = this.#best[token * this.#named + rank] as number;
        const key = expertKey(this.#shape, target, expert);
        if (this.#expected[key] === 1) continue;
        this.#expected[key] = 1;
        this.#predicted[target * this.#shape.experts + count++] = expert;
      }
    this.#predictedCount[target] = count;
    // The likeliest last, so that it is the newest.
    for (let i = count - 1; this.#touchesPredicted && i >= 0; i--) {
      const key = this.#predictedKey(target, i);
      if (this.#order.has(key)) this.#touch(key);
    }
    this.#sums.predictions += tokens;
    if (stopwatch !== undefined) this.#sums.predictionMs += stopwatch() - start;
  }

  #predictedKey(layer: number, i: number): ExpertKey {
    return expertKey(this.#shape, layer, this.#predicted[layer * this.#shape.experts + i] as number);
  }

  /** The oldest of the layer that holds most, if that is at least `least`. */
  #takeFromFullest(candidates: Residents, least: number): ExpertKey {
    let fullest = -1;
    for (let layer = 0; layer < this.#shape.layers; layer++)
      if ((this.#held[layer] as number) >= least && (fullest < 0 || this.#moreHeld(layer, fullest))) fullest = layer;
    return fullest < 0 ? NO_EXPERT : this.#takeOldest(candidates, fullest, true);
  }

  #moreHeld(a: number, b: number): boolean {
    return (this.#held[a] as number) > (this.#held[b] as number);
  }

  #takeOldestOfAny(candidates: Residents): ExpertKey {
    for (let layer = 0; layer < this.#shape.layers; layer++) {
      const key = this.#takeOldest(candidates, layer, false);
      if (key !== NO_EXPERT) return key;
    }
    return NO_EXPERT;
  }

  /** @param sparesExpected what is predicted for a layer still to run is not given up */
  #takeOldest(candidates: Residents, layer: number, sparesExpected: boolean): ExpertKey {
    for (let key = this.#order.oldest(layer); key !== NO_EXPERT; key = this.#order.newerThan(key)) {
      if (!candidates.evictable(key) || (sparesExpected && this.#expected[key] === 1)) continue;
      this.#remove(key);
      return key;
    }
    return NO_EXPERT;
  }

  #touch(key: number): void {
    const layer = this.#layerOf(key);
    if (!this.#order.has(key)) this.#held[layer] = (this.#held[layer] as number) + 1;
    this.#order.touch(key, layer);
  }

  #remove(key: number): void {
    const layer = this.#layerOf(key);
    this.#order.remove(key);
    this.#held[layer] = (this.#held[layer] as number) - 1;
  }

  #layerOf(key: number): number {
    return Math.floor(key / this.#shape.experts);
  }
}
