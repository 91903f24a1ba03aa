/**
 * The project's own policy: every expert has a value, the expected discount of its next use, and the lowest value is
 * given up. The models behind the values and behind what is read ahead are a handful of weights, learned while running.
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
import { FIRST_HISTORY_WEIGHTS, HISTORY_INPUTS, UseHistory } from "./use-history.ts";

const RATE = 0.005;
/** Inputs: a constant, the history's log odds, the token's log share. Before it has learned, the token says little. */
const FIRST_VALUE_WEIGHTS = [0, 0.9, 0.4] as const;
/** Added to a token's share over the mean share before the logarithm. */
const SHARE_FLOOR = 0.2;
/** A horizon is at least this many tokens: what is needed again in this token or the next always counts. */
const SHORTEST_HORIZON = 1.5;
/** Weight of a new token in the mean number of experts read for one. */
const TURNOVER_SHARE = 0.02;

/** @param learned what `learned()` returned in an earlier run with the same switches @throws WarmsetStateError */
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
  /** From an expert's history, and from that with the running token's memory, to its value. */
  #historyModel!: LogisticModel;
  #valueModel!: LogisticModel;
  /** Per key: log odds of its value by its history alone; the token's log share; its value, 0..1. */
  #logOdds!: Float64Array;
  #logShare!: Float64Array;
  #value!: Float64Array;
  #coldest!: ColdestOfLayer;
  readonly #valueInputs = new Float64Array(FIRST_VALUE_WEIGHTS.length);
  /** Inputs of the running layer's experts as they were before its decision. */
  #inputsBefore!: Float64Array;
  /** What a use one token later is worth, and by layers ahead, 0..layers. */
  #discount = 0;
  #discountAhead!: Float64Array;
  #layer = 0;
  #oneToken = false;
  #tokenKnown = false;
  /** Experts read in the running iteration, and on average per token; 0 before the first. */
  #reads = 0;
  #readsPerToken = 0;

  constructor(options: WarmsetOptions, learned: Uint8Array | undefined) {
    this.#options = options;
    this.#prior = options.prior ? learned : undefined;
    this.prefetchesAtStart = options.prefetch && options.token;
    const nextGate = options.prefetch && options.gate;
    this.needs = { ...NEEDS_NOTHING, probabilities: options.preference, nextGate, copesWithout: ["nextGate"] };
  }

  begin(shape: ModelShape, budgetExperts: number): void {
    const { layers, experts, expertsUsed } = shape;
    const total = layers * experts;
    const options = this.#options;
    this.#shape = shape;
    this.#budgetExperts = budgetExperts;
    this.#history = new UseHistory(shape, options.preference);
    this.#tokens = options.token ? new TokenMemory(shape) : undefined;
    this.#inputsBefore = new Float64Array(experts * HISTORY_INPUTS);
    this.#logOdds = new Float64Array(total);
    this.#logShare = new Float64Array(total);
    this.#value = new Float64Array(total);
    this.#coldest = new ColdestOfLayer(shape, this.#value);
    this.#readAhead = new ReadAhead(shape, options, {
      historyLogOdds: this.#logOdds,
      tokenLogShare: this.#logShare,
      lasting: (key) => this.#history.lasting(key),
    });
    const usual = Math.log(expertsUsed / Math.max(experts - expertsUsed, 1));
    const { learn: learns } = options;
    this.#historyModel = new LogisticModel({ weights: [usual, ...FIRST_HISTORY_WEIGHTS], rate: RATE, learns });
    this.#valueModel = new LogisticModel({ weights: FIRST_VALUE_WEIGHTS, rate: RATE, learns });
    this.#discountAhead = new Float64Array(layers + 1);
    this.#readsPerToken = 0;
    this.#reads = 0;
    this.#oneToken = false;
    if (this.#prior !== undefined) readLearned(this.#prior, shape, this.#lasting());
    this.#history.refresh();
    for (let key = 0; key < total; key++) this.#rank(key);
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
    this.#readAhead.settle(event);
    this.#learn(event);
    this.#tokens?.observe(event);
    this.#layer = event.layer;
    this.#coldest.rescored(event.layer);
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
    return { readAhead: this.#readAhead.handedOut, readAheadUsed: this.#readAhead.used };
  }

  end(): void {}

  /** Values and weights from one more decision, of which the first is what the second learns from. */
  #learn(event: RouterEvent): void {
    const { experts } = this.#shape;
    const history = this.#history;
    const first = event.layer * experts;
    // Only steps of one token have a next use that is one token away.
    const learning = this.#oneToken && event.tokens === 1;
    const before = this.#inputsBefore;
    const from = first * HISTORY_INPUTS;
    for (let i = 0; i < before.length; i++) before[i] = history.inputs[from + i] as number;
    history.observe(event);
    for (let expert = 0; expert < experts; expert++) {
      const key = first + expert;
      const saidHistory = this.#logOdds[key] as number;
      this.#rank(key);
      if (!learning) continue;
      // The value of a use that has come is 1; else it is what it is worth now, one token later.
      const came = (history.use[expert] as number) > 0 ? 1 : this.#discount * (this.#value[key] as number);
      this.#historyModel.note(probability(saidHistory) - came, before, expert * HISTORY_INPUTS);
      if (!this.#tokenKnown) continue;
      this.#about(key, saidHistory);
      const saidToken = this.#valueModel.logOdds(this.#valueInputs);
      this.#valueModel.note(probability(saidToken) - came, this.#valueInputs);
    }
    if (!learning) return;
    this.#historyModel.step(experts);
    if (this.#tokenKnown) this.#valueModel.step(experts);
  }

  /** The token is known: what it used before changes the values of all layers, which are all ahead. */
  #recall(): void {
    const { layers, experts, expertsUsed } = this.#shape;
    const shares = (this.#tokens as TokenMemory).shares;
    const perShare = experts / expertsUsed;
    for (let key = 0; key < shares.length; key++) {
      this.#logShare[key] = Math.log((shares[key] as number) * perShare + SHARE_FLOOR);
      this.#about(key, this.#logOdds[key] as number);
      this.#value[key] = probability(this.#valueModel.logOdds(this.#valueInputs));
    }
    for (let layer = 0; layer < layers; layer++) this.#coldest.rescored(layer);
  }

  #about(key: number, historyLogOdds: number): void {
    this.#valueInputs[0] = 1;
    this.#valueInputs[1] = historyLogOdds;
    this.#valueInputs[2] = this.#logShare[key] as number;
  }

  #rank(key: number): void {
    const logOdds = this.#historyModel.logOdds(this.#history.inputs, key * HISTORY_INPUTS);
    this.#logOdds[key] = logOdds;
    this.#value[key] = probability(logOdds);
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
      this.#historyModel.weights,
      this.#valueModel.weights,
      this.#readAhead.gateModel.weights,
      this.#readAhead.tokenModel.weights,
      ...this.#history.averages,
      ...(tokens === undefined ? [] : [tokens.ids, tokens.seen, tokens.choices]),
    ];
  }
}
