/**
 * The project's own policy: every expert has a value, roughly the expected discount of its next use, and the lowest is given
 * up. What is read ahead must be probable, by models of a handful of weights that are learned while running.
 * `docs/policies.md` explains it on one page; each part can be switched off (`options.ts`).
 */
import type {
  EvictionReason,
  IterationStart,
  LinkState,
  LoadKind,
  Policy,
  PolicyNeeds,
  Residents,
  RouterEvent,
} from "../../cache/policy.ts";
import { NEEDS_NOTHING } from "../../cache/policy.ts";
import { type ExpertKey, layerOf, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { ColdestOfLayer } from "../coldest.ts";
import { readLearned, writeLearned } from "./learned-state.ts";
import { LogisticModel, probability } from "./logistic-model.ts";
import { WARMSET_DEFAULTS, type WarmsetOptions } from "./options.ts";
import { ReadAhead } from "./read-ahead.ts";
import { TokenMemory } from "./token-memory.ts";
import { UseHistory } from "./use-history.ts";

const RATE = 0.02;
/** Of the model of uses. Inputs: a constant, the history's log odds, the token's log share; what it came to, rounded. */
const FIRST_USE_WEIGHTS = [-1, 0.7, 1.3] as const;
/** Added to a token's share over the mean share before the logarithm. */
const SHARE_FLOOR = 0.2;
/** A horizon is at least this many tokens: what is needed again in this token or the next always counts. */
const SHORTEST_HORIZON = 1.5;
/** Weight of a new token in the mean number of experts read for one. */
const TURNOVER_SHARE = 0.02;

/** @param learned what `learned()` returned in an earlier run with the same switches @throws LearnedStateError */
export function warmset(options: Partial<WarmsetOptions> = {}, learned?: Uint8Array): Policy {
  return new Warmset({ ...WARMSET_DEFAULTS, ...options }, learned);
}

class Warmset implements Policy {
  readonly name = "warmset";
  readonly needs: PolicyNeeds;
  readonly prefetchesAtStart: boolean;
  readonly #options: WarmsetOptions;
  readonly #prior: Uint8Array | undefined;
  #shape!: ModelShape;
  #budgetExperts = 0;
  #history!: UseHistory;
  #tokens: TokenMemory | undefined;
  #readAhead!: ReadAhead;
  /** How probably an expert is used in this iteration, by its history and the running token's memory. */
  #useModel!: LogisticModel;
  /** Per key: the running token's log share; the expert's value, 0..1. */
  #logShare!: Float64Array;
  #value!: Float64Array;
  #coldest!: ColdestOfLayer;
  /** Of the running layer, before its decision. */
  #logOddsBefore!: Float64Array;
  readonly #useInputs = new Float64Array(FIRST_USE_WEIGHTS.length);
  /** What a use one token later is worth, and by layers ahead, 0..layers. */
  #discount = 0;
  #discountAhead!: Float64Array;
  #layer = 0;
  #oneToken = false;
  #tokenKnown = false;
  /** Experts read in the running iteration, and on average per token; 0 before the first. */
  #reads = 0;
  #readsPerToken = 0;
  /** Decisions without what was asked for; the weights of the chosen and the history stand for it. */
  #withoutProbabilities = 0;
  #withoutNextGate = 0;

  constructor(options: WarmsetOptions, learned: Uint8Array | undefined) {
    this.#options = options;
    this.#prior = options.prior ? learned : undefined;
    this.prefetchesAtStart = options.prefetch && options.token;
    const nextGate = options.prefetch && options.gate;
    this.needs = { ...NEEDS_NOTHING, probabilities: options.preference, nextGate, copesWithout: ["nextGate"] };
  }

  begin(shape: ModelShape, budgetExperts: number): void {
    const { layers, experts } = shape;
    const total = layers * experts;
    const options = this.#options;
    this.#shape = shape;
    this.#budgetExperts = budgetExperts;
    this.#history = new UseHistory(shape, options.preference);
    this.#tokens = options.token ? new TokenMemory(shape) : undefined;
    this.#logShare = new Float64Array(total);
    this.#logOddsBefore = new Float64Array(experts);
    this.#value = new Float64Array(total);
    this.#coldest = new ColdestOfLayer(shape, this.#value);
    this.#readAhead = new ReadAhead(shape, options, {
      historyLogOdds: this.#history.logOdds,
      tokenLogShare: this.#logShare,
      lasting: (key) => this.#history.lasting(key),
    });
    this.#useModel = new LogisticModel({ weights: FIRST_USE_WEIGHTS, rate: RATE, learns: options.learn });
    this.#discountAhead = new Float64Array(layers + 1);
    this.#readsPerToken = 0;
    this.#reads = 0;
    this.#oneToken = false;
    if (this.#prior !== undefined) readLearned(this.#prior, shape, this.#lasting());
    this.#history.refresh();
    for (let key = 0; key < total; key++) this.#value[key] = probability(this.#history.logOdds[key] as number);
    this.#setHorizon();
  }

  iteration(start: IterationStart): void {
    if (this.#oneToken) {
      const share = this.#readsPerToken === 0 ? 1 : TURNOVER_SHARE;
      this.#readsPerToken += share * (this.#reads - this.#readsPerToken);
    }
    this.#reads = 0;
    this.#layer = -1;
    this.#oneToken = start.tokens === 1;
    this.#setHorizon();
    this.#tokenKnown = this.#tokens?.begin(start) ?? false;
    if (this.#tokenKnown) this.#recall();
    this.#readAhead.iteration(start.tokens, this.#tokenKnown);
  }

  routed(event: RouterEvent): void {
    if (this.needs.probabilities && event.probabilities === undefined) this.#withoutProbabilities++;
    if (this.needs.nextGate && event.nextGate === undefined && event.layer + 1 < this.#shape.layers)
      this.#withoutNextGate++;
    this.#readAhead.settle(event);
    this.#observe(event);
    this.#tokens?.observe(event);
    this.#layer = event.layer;
    this.#readAhead.routed(event);
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    this.#reads++;
    this.#readAhead.loading(key);
    // What is read ahead is worth what it was read for, whatever its history.
    if (kind === "prefetch") this.#value[key] = this.#readAhead.chance[key] as number;
    this.#coldest.added(key);
  }

  prefetch(link: LinkState): ExpertKey {
    return this.#options.prefetch ? this.#readAhead.next(link) : NO_EXPERT;
  }

  victim(candidates: Residents, reason: EvictionReason, incoming: ExpertKey): ExpertKey {
    const { layers } = this.#shape;
    let victim = NO_EXPERT;
    let lowest = Number.POSITIVE_INFINITY;
    for (let ahead = 1; ahead <= layers; ahead++) {
      const key = this.#coldest.of((this.#layer + ahead) % layers, candidates);
      if (key === NO_EXPERT) continue;
      const worth = (this.#value[key] as number) * (this.#discountAhead[ahead] as number);
      if (worth <= lowest) {
        lowest = worth;
        victim = key;
      }
    }
    if (victim === NO_EXPERT || (reason === "prefetch" && lowest >= this.#worthAhead(incoming))) return NO_EXPERT;
    this.#coldest.removed(victim);
    return victim;
  }

  learned(): Uint8Array {
    return writeLearned(this.#shape, this.#lasting());
  }

  figures(): Readonly<Record<string, number>> {
    return {
      ...{ readAhead: this.#readAhead.handedOut, readAheadUsed: this.#readAhead.used },
      layersWithoutProbabilities: this.#withoutProbabilities,
      layersWithoutNextGate: this.#withoutNextGate,
    };
  }

  end(): void {}

  /** The history after one more decision, and what it says of the model of uses. */
  #observe(event: RouterEvent): void {
    const { experts } = this.#shape;
    const { logOdds, use } = this.#history;
    const first = event.layer * experts;
    const inputs = this.#useInputs;
    const learning = this.#tokenKnown && event.tokens === 1;
    if (learning)
      for (let expert = 0; expert < experts; expert++) this.#logOddsBefore[expert] = logOdds[first + expert] as number;
    this.#history.observe(event);
    for (let expert = 0; expert < experts; expert++) {
      const key = first + expert;
      this.#value[key] = probability(logOdds[key] as number);
      if (!learning) continue;
      this.#about(key, this.#logOddsBefore[expert] as number);
      const error = probability(this.#useModel.logOdds(inputs)) - ((use[expert] as number) > 0 ? 1 : 0);
      this.#useModel.note(error, inputs);
    }
    if (learning) this.#useModel.step(experts);
    this.#coldest.rescored(event.layer);
  }

  /**
   * The token is known, so more is known of all layers, which are all ahead: an expert is used in this iteration, or not
   * and is then worth what its history says, a token later.
   */
  #recall(): void {
    const { layers, experts, expertsUsed } = this.#shape;
    const shares = (this.#tokens as TokenMemory).shares;
    const { logOdds } = this.#history;
    const perShare = experts / expertsUsed;
    for (let key = 0; key < shares.length; key++) {
      this.#logShare[key] = Math.log((shares[key] as number) * perShare + SHARE_FLOOR);
      this.#about(key, logOdds[key] as number);
      const used = probability(this.#useModel.logOdds(this.#useInputs));
      this.#value[key] = used + (1 - used) * this.#discount * probability(logOdds[key] as number);
    }
    for (let layer = 0; layer < layers; layer++) this.#coldest.rescored(layer);
  }

  #about(key: number, historyLogOdds: number): void {
    this.#useInputs[0] = 1;
    this.#useInputs[1] = historyLogOdds;
    this.#useInputs[2] = this.#logShare[key] as number;
  }

  /** A value looks as far ahead as an expert stays: the budget over what is read for a token (Little's law). */
  #setHorizon(): void {
    const { layers, expertsUsed } = this.#shape;
    const reads = Math.max(this.#readsPerToken === 0 ? (layers * expertsUsed) / 2 : this.#readsPerToken, 0.5);
    const tokens = Math.max(SHORTEST_HORIZON, (this.#options.horizon * this.#budgetExperts) / reads);
    this.#discount = Math.exp(-1 / tokens);
    for (let ahead = 0; ahead <= layers; ahead++) this.#discountAhead[ahead] = Math.exp(-ahead / (layers * tokens));
  }

  #worthAhead(incoming: ExpertKey): number {
    const ahead = layerOf(this.#shape, incoming) - this.#layer;
    return (this.#readAhead.chance[incoming] as number) * (this.#discountAhead[ahead] as number);
  }

  /** What is worth keeping from run to run. */
  #lasting() {
    const tokens = this.#tokens;
    return [
      this.#useModel.weights,
      this.#readAhead.gateModel.weights,
      this.#readAhead.tokenModel.weights,
      ...this.#history.averages,
      ...(tokens === undefined ? [] : [tokens.ids, tokens.seen, tokens.choices]),
    ];
  }
}
