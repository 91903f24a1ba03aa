/**
 * Speculative reads for the next layer, added to any policy. The next layer's router is applied to the running layer's
 * residual stream (the engine does that); what it ranks first is read while the running layer computes. How far a
 * rank can be trusted is measured while running, so no score needs a scale. What to give up stays the base's decision.
 */
import type {
  IterationStart,
  LinkState,
  LoadKind,
  Policy,
  PolicyNeeds,
  Residents,
  RouterEvent,
} from "../cache/policy.ts";
import { type ExpertKey, expertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";

export interface NextGateOptions {
  /** How many experts a token is expected to use beyond the model's own number; default 0. */
  readonly width?: number;
  /**
   * Read only experts whose measured chance of being chosen is at least this, 0..1. Default 0.7: on the demo model at
   * 33 % 0.4 reads 14 % more bytes than no look-ahead, 0.7 reads 4 % more, and both save the same 20 % of the waiting.
   */
  readonly minConfidence?: number;
}

/**
 * Prompts of a few tokens read every expert once and compute little, so a wrong guess only delays them (8 tokens on the
 * demo model: 10 % more bytes). Speculation pays once computing dominates: when each expert of a layer is chosen this
 * often on average, and then for experts that are as good as certain.
 */
const PROMPT_USES_PER_EXPERT = 16;
const PROMPT_CONFIDENCE = 0.99;

export function nextGate(base: Policy, options: NextGateOptions = {}): Policy {
  return new NextGate(base, options);
}

/**
 * An expert's margin is how far its score lies above the border between the k-th and the next, in standard deviations
 * of the token's scores. Precision is learnt for classes of margin: on the demo model absent experts are chosen 20 % of
 * the time just above the border and 97 % far above it, where ranks alone tell 50 from 95 %.
 */
const MARGIN_CLASSES = 16;
const LOWEST_MARGIN = -0.5;
const CLASS_WIDTH = 0.25;
/** Each outcome makes older ones of its class count this much: about 500 outcomes of memory. */
const FORGETTING = 0.998;
/** What the prior counts as. */
const PRIOR_OUTCOMES = 4;
/** A layer's own class counts as much as that of all layers after this many outcomes. */
const SHARED_OUTCOMES = 8;

class NextGate implements Policy {
  readonly name: string;
  readonly needs: PolicyNeeds;
  readonly pausesForDemand: boolean;
  readonly prefetchesAtStart: boolean;
  readonly #base: Policy;
  readonly #width: number;
  readonly #minConfidence: number;
  #shape!: ModelShape;
  #ranks = 0;
  /** Outcomes by class of margin, for each layer and, last, for all: how often predicted while absent, and chosen then. */
  #predictions!: Float64Array;
  #chosen!: Float64Array;
  /** The layer that the prediction is for, or -1, and its experts by rank, row-major `[tokens][ranks]`. */
  #predictedLayer = -1;
  #predictedTokens = 0;
  #predicted = new Int32Array(0);
  /** Class of margin of each, -1 for an expert that needs no reading. */
  #class = new Int8Array(0);
  /** The prediction has been held against what is resident. */
  #lined = false;
  /** Scores of one token's ranks, and of the one after, while they are being found. */
  #rankScore!: Float64Array;
  /** Per expert: the chance that no token of the micro-batch chooses it. */
  #unchosen!: Float64Array;
  /** Experts worth reading, most certain first; `#next` is the first not yet handed out. */
  #queue!: Int32Array;
  #queued = 0;
  #next = 0;
  /** Decisions at which the next layer's router could not be asked. */
  #withoutNextGate = 0;

  constructor(base: Policy, { width = 0, minConfidence = 0.7 }: NextGateOptions) {
    this.name = `${base.name}+next-gate`;
    this.needs = { ...base.needs, nextGate: true };
    this.pausesForDemand = base.pausesForDemand ?? false;
    this.prefetchesAtStart = base.prefetchesAtStart ?? false;
    this.#base = base;
    this.#width = width;
    this.#minConfidence = minConfidence;
    // Bound only when the base has them, so that the cache does not ask in vain.
    if (base.discard !== undefined) this.discard = (candidates) => base.discard?.(candidates) ?? NO_EXPERT;
    if (base.learned !== undefined) this.learned = () => base.learned?.() ?? new Uint8Array();
  }

  discard?(candidates: Residents): ExpertKey;
  learned?(): Uint8Array;

  begin(shape: ModelShape, budgetExperts: number): void {
    this.#base.begin(shape, budgetExperts);
    this.#shape = shape;
    this.#ranks = Math.min(shape.experts, shape.expertsUsed + this.#width);
    this.#predictions = new Float64Array((shape.layers + 1) * MARGIN_CLASSES);
    this.#chosen = new Float64Array((shape.layers + 1) * MARGIN_CLASSES);
    for (let c = 0; c < MARGIN_CLASSES; c++) {
      this.#predictions[shape.layers * MARGIN_CLASSES + c] = PRIOR_OUTCOMES;
      this.#chosen[shape.layers * MARGIN_CLASSES + c] =
        PRIOR_OUTCOMES * priorOf(LOWEST_MARGIN + (c + 0.5) * CLASS_WIDTH);
    }
    this.#rankScore = new Float64Array(Math.max(this.#ranks, shape.expertsUsed + 1));
    this.#unchosen = new Float64Array(shape.experts);
    this.#queue = new Int32Array(shape.experts);
  }

  iteration(start: IterationStart): void {
    this.#base.iteration(start);
    this.#forget();
  }

  routed(event: RouterEvent): void {
    this.#base.routed(event);
    this.#measure(event);
    this.#forget();
    if (event.layer + 1 >= this.#shape.layers) return;
    if (event.nextGate === undefined) {
      this.#withoutNextGate++;
      return;
    }
    const { experts, expertsUsed } = this.#shape;
    if (event.tokens > 1 && event.tokens * expertsUsed < PROMPT_USES_PER_EXPERT * experts) return;
    this.#rank(event.nextGate, event.tokens);
    this.#predictedLayer = event.layer + 1;
    this.#predictedTokens = event.tokens;
    this.#lined = false;
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    this.#base.loading?.(key, kind);
  }

  loaded(key: ExpertKey, complete: boolean): void {
    this.#base.loaded?.(key, complete);
  }

  prefetch(link: LinkState): ExpertKey {
    if (this.#predictedLayer >= 0 && !this.#lined) this.#line(link.residents);
    const bytes = this.#shape.expertBytes[this.#predictedLayer] ?? 0;
    while (this.#next < this.#queued && bytes <= link.spareBytes) {
      const key = expertKey(this.#shape, this.#predictedLayer, this.#queue[this.#next++] as number);
      if (!link.residents.has(key)) return key;
    }
    return this.#base.prefetch(link);
  }

  victim(candidates: Residents, reason: LoadKind, incoming: ExpertKey): ExpertKey {
    return this.#base.victim(candidates, reason, incoming);
  }

  figures(): Readonly<Record<string, number>> {
    return { ...this.#base.figures?.(), layersWithoutNextGate: this.#withoutNextGate };
  }

  end(): void {
    this.#base.end();
  }

  #forget(): void {
    this.#predictedLayer = -1;
    this.#queued = 0;
    this.#next = 0;
  }

  /** Compares the prediction for this layer with what its router chose. */
  #measure(event: RouterEvent): void {
    // The last layer of a prompt runs only the tokens whose output was asked for: nothing to compare row by row.
    if (!this.#lined || event.layer !== this.#predictedLayer || event.tokens !== this.#predictedTokens) return;
    const { layers } = this.#shape;
    const { expertsUsed } = event;
    for (let token = 0; token < event.tokens; token++)
      for (let rank = 0; rank < this.#ranks; rank++) {
        const at = token * this.#ranks + rank;
        const marginClass = this.#class[at] as number;
        if (marginClass < 0) continue;
        const expert = this.#predicted[at] as number;
        let right = 0;
        for (let i = 0; i < expertsUsed; i++) if (event.experts[token * expertsUsed + i] === expert) right = 1;
        this.#learn(event.layer * MARGIN_CLASSES + marginClass, right);
        this.#learn(layers * MARGIN_CLASSES + marginClass, right);
      }
  }

  #learn(at: number, right: number): void {
    this.#predictions[at] = (this.#predictions[at] as number) * FORGETTING + 1;
    this.#chosen[at] = (this.#chosen[at] as number) * FORGETTING + right;
  }

  /** Chance that an absent expert of this class will be chosen in the predicted layer. */
  #precision(marginClass: number): number {
    const own = this.#predictedLayer * MARGIN_CLASSES + marginClass;
    const all = this.#shape.layers * MARGIN_CLASSES + marginClass;
    const shared = (this.#chosen[all] as number) / (this.#predictions[all] as number);
    return (
      ((this.#chosen[own] as number) + SHARED_OUTCOMES * shared) /
      ((this.#predictions[own] as number) + SHARED_OUTCOMES)
    );
  }

  /** Finds each token's best-scored experts, best first, by insertion (the ranks are few), and their margins. */
  #rank(scores: Float32Array, tokens: number): void {
    const { experts, expertsUsed } = this.#shape;
    const ranks = this.#ranks;
    const best = this.#rankScore;
    // Grows to the largest micro-batch once, in its first layer.
    if (this.#predicted.length < tokens * ranks) {
      this.#predicted = new Int32Array(tokens * ranks);
      this.#class = new Int8Array(tokens * ranks);
    }
    const kept = Math.min(best.length, experts);
    for (let token = 0; token < tokens; token++) {
      const row = token * ranks;
      let found = 0;
      let sum = 0;
      let squares = 0;
      for (let expert = 0; expert < experts; expert++) {
        const score = scores[token * experts + expert] as number;
        sum += score;
        squares += score * score;
        if (found === kept && score <= (best[kept - 1] as number)) continue;
        let rank = found < kept ? found++ : kept - 1;
        for (; rank > 0 && score > (best[rank - 1] as number); rank--) {
          best[rank] = best[rank - 1] as number;
          if (rank < ranks) this.#predicted[row + rank] = this.#predicted[row + rank - 1] as number;
        }
        best[rank] = score;
        if (rank < ranks) this.#predicted[row + rank] = expert;
      }
      const mean = sum / experts;
      const deviation = Math.sqrt(Math.max(squares / experts - mean * mean, 1e-12));
      const border = expertsUsed < kept ? ((best[expertsUsed - 1] as number) + (best[expertsUsed] as number)) / 2 : 0;
      for (let rank = 0; rank < ranks; rank++) {
        const margin = ((best[rank] as number) - border) / deviation;
        const marginClass = Math.floor((margin - LOWEST_MARGIN) / CLASS_WIDTH);
        this.#class[row + rank] = Math.min(Math.max(marginClass, 0), MARGIN_CLASSES - 1);
      }
    }
  }

  /** Lines up the absent experts that some token of the micro-batch is likely enough to choose. */
  #line(residents: Residents): void {
    const { experts } = this.#shape;
    const unchosen = this.#unchosen.fill(1);
    const confidence =
      this.#predictedTokens > 1 ? Math.max(this.#minConfidence, PROMPT_CONFIDENCE) : this.#minConfidence;
    this.#lined = true;
    for (let i = 0; i < this.#predictedTokens * this.#ranks; i++) {
      const expert = this.#predicted[i] as number;
      if (residents.has(expertKey(this.#shape, this.#predictedLayer, expert))) this.#class[i] = -1;
      else unchosen[expert] = (unchosen[expert] as number) * (1 - this.#precision(this.#class[i] as number));
    }
    for (let expert = 0; expert < experts; expert++) {
      const miss = unchosen[expert] as number;
      if (miss === 1 || 1 - miss < confidence) continue;
      let at = this.#queued++;
      for (; at > 0 && miss < (unchosen[this.#queue[at - 1] as number] as number); at--)
        this.#queue[at] = this.#queue[at - 1] as number;
      this.#queue[at] = expert;
    }
  }
}

/** Before anything is measured: even odds at two thirds of a deviation above the border. */
function priorOf(margin: number): number {
  return 1 / (1 + Math.exp(-2.5 * (margin - 0.66)));
}
