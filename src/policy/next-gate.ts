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
   * Read only experts whose measured chance of being chosen is at least this, 0..1. Default 0.5: a wrong read holds up
   * a right one for about as long as a right one saves.
   */
  readonly minConfidence?: number;
}

export function nextGate(base: Policy, options: NextGateOptions = {}): Policy {
  return new NextGate(base, options);
}

/**
 * What ranks are trusted before anything is measured: falling from the first to the k-th, as everywhere (0.89, 0.79,
 * 0.64, 0.47 on the demo model).
 */
const PRIOR_OF_FIRST = 0.9;
const PRIOR_AFTER_LAST = 0.45;
/** Weight of one token's outcome in a rank's precision: about 100 tokens of memory. */
const LEARNING_RATE = 0.01;

class NextGate implements Policy {
  readonly name: string;
  readonly needs: PolicyNeeds;
  readonly #base: Policy;
  readonly #width: number;
  readonly #minConfidence: number;
  #shape!: ModelShape;
  #ranks = 0;
  /** Per layer and rank: share of tokens whose expert predicted at this rank was then chosen. */
  #precision!: Float64Array;
  /** The layer that the prediction is for, or -1, and its experts by rank, row-major `[tokens][ranks]`. */
  #predictedLayer = -1;
  #predictedTokens = 0;
  #predicted = new Int32Array(0);
  /** Scores of one token's ranks while they are being found. */
  #rankScore!: Float64Array;
  /** Per expert: the chance that no token of the micro-batch chooses it. */
  #unchosen!: Float64Array;
  /** Experts worth reading, most certain first; `#next` is the first not yet handed out. */
  #queue!: Int32Array;
  #queued = 0;
  #next = 0;

  constructor(base: Policy, { width = 0, minConfidence = 0.5 }: NextGateOptions) {
    this.name = `${base.name}+next-gate`;
    this.needs = { ...base.needs, nextGate: true };
    this.#base = base;
    this.#width = width;
    this.#minConfidence = minConfidence;
    // Bound only when the base has them, so that the cache does not ask in vain.
    if (base.discard !== undefined) this.discard = (candidates) => base.discard?.(candidates) ?? NO_EXPERT;
  }

  discard?(candidates: Residents): ExpertKey;

  begin(shape: ModelShape, budgetExperts: number): void {
    this.#base.begin(shape, budgetExperts);
    this.#shape = shape;
    this.#ranks = Math.min(shape.experts, shape.expertsUsed + this.#width);
    const fall = (PRIOR_OF_FIRST - PRIOR_AFTER_LAST) / shape.expertsUsed;
    this.#precision = Float64Array.from({ length: shape.layers * this.#ranks }, (_, i) =>
      Math.max(0, PRIOR_OF_FIRST - fall * (i % this.#ranks)),
    );
    this.#rankScore = new Float64Array(this.#ranks);
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
    if (event.nextGate === undefined || event.layer + 1 >= this.#shape.layers) return;
    this.#rank(event.nextGate, event.tokens);
    this.#predictedLayer = event.layer + 1;
    this.#predictedTokens = event.tokens;
    this.#line();
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    this.#base.loading?.(key, kind);
  }

  prefetch(link: LinkState): ExpertKey {
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
    if (event.layer !== this.#predictedLayer || event.tokens !== this.#predictedTokens) return;
    const { expertsUsed } = this.#shape;
    for (let token = 0; token < event.tokens; token++)
      for (let rank = 0; rank < this.#ranks; rank++) {
        const expert = this.#predicted[token * this.#ranks + rank] as number;
        let right = 0;
        for (let i = 0; i < expertsUsed; i++) if (event.experts[token * expertsUsed + i] === expert) right = 1;
        const at = event.layer * this.#ranks + rank;
        const before = this.#precision[at] as number;
        this.#precision[at] = before + LEARNING_RATE * (right - before);
      }
  }

  /** Finds each token's best-scored experts, best first, by insertion: the ranks are few. */
  #rank(scores: Float32Array, tokens: number): void {
    const { experts } = this.#shape;
    const ranks = this.#ranks;
    const best = this.#rankScore;
    // Grows to the largest micro-batch once, in its first layer.
    if (this.#predicted.length < tokens * ranks) this.#predicted = new Int32Array(tokens * ranks);
    for (let token = 0; token < tokens; token++) {
      const row = token * ranks;
      let found = 0;
      for (let expert = 0; expert < experts; expert++) {
        const score = scores[token * experts + expert] as number;
        if (found === ranks && score <= (best[ranks - 1] as number)) continue;
        let rank = found < ranks ? found++ : ranks - 1;
        for (; rank > 0 && score > (best[rank - 1] as number); rank--) {
          best[rank] = best[rank - 1] as number;
          this.#predicted[row + rank] = this.#predicted[row + rank - 1] as number;
        }
        best[rank] = score;
        this.#predicted[row + rank] = expert;
      }
    }
  }

  /** Lines up the experts that some token of the micro-batch is likely enough to choose. */
  #line(): void {
    const { experts } = this.#shape;
    const unchosen = this.#unchosen.fill(1);
    const firstRank = this.#predictedLayer * this.#ranks;
    for (let i = 0; i < this.#predictedTokens * this.#ranks; i++) {
      const expert = this.#predicted[i] as number;
      unchosen[expert] =
        (unchosen[expert] as number) * (1 - (this.#precision[firstRank + (i % this.#ranks)] as number));
    }
    for (let expert = 0; expert < experts; expert++) {
      const miss = unchosen[expert] as number;
      if (miss === 1 || 1 - miss < this.#minConfidence) continue;
      let at = this.#queued++;
      for (; at > 0 && miss < (unchosen[this.#queue[at - 1] as number] as number); at--)
        this.#queue[at] = this.#queue[at - 1] as number;
      this.#queue[at] = expert;
    }
  }
}
