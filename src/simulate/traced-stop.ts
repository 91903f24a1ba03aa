/**
 * A router's decision as the trace has it, in the form in which the graph hands it to `ExpertStream`. The object is
 * moved from stop to stop; nothing is copied but what a policy asks for.
 */
import type { RouterStop } from "../llama/graph-hook.ts";
import { NO_ID, type TracedModel, type TraceSample } from "../trace/trace.ts";
import { UnevenChoiceError } from "./errors.ts";
import type { SampleSignals } from "./sample-signals.ts";

export class TracedStop implements RouterStop {
  layer = 0;
  tokens = 0;
  expertsUsed = 0;
  hasProbabilities = false;
  hasInput = false;
  inputWidth = 0;
  // The model's own memory is not in a trace.
  readonly inputAddress = 0;
  readonly routerWeights = 0;
  readonly inputNormWeights = 0;

  readonly #layers: number;
  readonly #experts: number;
  readonly #slots: number;
  /** Indices into `experts` of the first choice of each token that was computed in this layer. */
  readonly #rows: Int32Array;
  #sample!: TraceSample;
  #signals: SampleSignals | undefined;
  /** `[tokens][experts]` of the present stop, made when it is asked for. */
  #nextGate: Float32Array | undefined;
  /** Every token chose k experts in every layer. */
  #even = true;

  constructor(model: TracedModel, microBatchTokens: number) {
    this.#layers = model.moeBlocks.length;
    this.#experts = model.experts;
    this.#slots = model.expertsUsed;
    this.#rows = new Int32Array(microBatchTokens);
  }

  /** What follows is of this sample. */
  open(sample: TraceSample, signals?: SampleSignals): void {
    this.#sample = sample;
    this.#signals = signals;
    this.#even = !sample.experts.includes(NO_ID);
    this.hasInput = sample.hidden !== undefined;
    this.inputWidth = (sample.hidden?.length ?? 0) / (sample.length * this.#layers);
    this.hasProbabilities = sample.probs !== undefined || sample.weights !== undefined;
  }

  /**
   * Moves on to a layer of the batch of tokens from..to-1. Tokens that chose nothing there were not computed in it (the
   * last layer of a prompt runs only those whose output is wanted).
   */
  at(layer: number, from: number, to: number): void {
    const perToken = this.#layers * this.#slots;
    const first = from * perToken + layer * this.#slots;
    this.layer = layer;
    this.expertsUsed = this.#slots;
    this.tokens = to - from;
    if (this.#even) for (let i = 0; i < to - from; i++) this.#rows[i] = first + i * perToken;
    else this.#skipAbsent(layer, from, to);
  }

  expert(token: number, rank: number): number {
    return this.#sample.experts[this.#rows[token] + rank];
  }

  setExpert(): void {
    throw new Error("A recorded choice cannot be replaced: what follows was computed with it");
  }

  /**
   * The recorded distribution; where the sample has only the weights of the chosen experts, those, and zeros for all
   * others.
   */
  readProbabilities(into: Float32Array): void {
    const { probs, weights, experts } = this.#sample;
    const all = this.#experts;
    for (let token = 0; token < this.tokens; token++) {
      const row = this.#rows[token];
      if (probs !== undefined) {
        const from = (row / this.#slots) * all;
        for (let expert = 0; expert < all; expert++) into[token * all + expert] = probs[from + expert];
        continue;
      }
      into.fill(0, token * all, (token + 1) * all);
      for (let rank = 0; rank < this.expertsUsed; rank++)
        into[token * all + experts[row + rank]] = weights?.[row + rank] ?? 0;
    }
  }

  readInput(into: Float32Array): void {
    const { hidden } = this.#sample;
    const width = this.inputWidth;
    if (hidden === undefined) return;
    for (let token = 0; token < this.tokens; token++) {
      const from = (this.#rows[token] / this.#slots) * width;
      for (let i = 0; i < width; i++) into[token * width + i] = hidden[from + i];
    }
  }

  /** What the next layer's router says to the tokens' states, as the engine's `NextGate` does. */
  nextGate(): Float32Array | undefined {
    const scores = this.#signals?.nextGate;
    const predicted = this.#layers - 1;
    if (scores === undefined || this.layer >= predicted) return undefined;
    this.#nextGate ??= new Float32Array(this.#rows.length * this.#experts);
    for (let token = 0; token < this.tokens; token++) {
      const position = Math.floor(this.#rows[token] / (this.#layers * this.#slots));
      const from = (position * predicted + this.layer) * this.#experts;
      for (let i = 0; i < this.#experts; i++) this.#nextGate[token * this.#experts + i] = scores[from + i];
    }
    return this.#nextGate;
  }

  #skipAbsent(layer: number, from: number, to: number): void {
    const { experts, sample } = this.#sample;
    const slots = this.#slots;
    this.tokens = 0;
    this.expertsUsed = 0;
    for (let position = from; position < to; position++) {
      const row = (position * this.#layers + layer) * slots;
      let used = 0;
      while (used < slots && experts[row + used] !== NO_ID) used++;
      if (used === 0) continue;
      if (this.tokens > 0 && used !== this.expertsUsed)
        throw new UnevenChoiceError(sample, position, layer, used, this.expertsUsed);
      this.expertsUsed = used;
      this.#rows[this.tokens++] = row;
    }
  }
}
