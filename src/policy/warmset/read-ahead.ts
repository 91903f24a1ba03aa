/**
 * Which absent experts the next layer will need, and how surely. Two models answer: one hears the next layer's router
 * (asked with this layer's state), one only what the token used before, so that it can speak before the first layer too.
 * Both also know the experts' history, learn from absent experts alone (they are absent because they are unusual), and
 * hand out only what is probable enough.
 */
import type { LinkState, Residents, RouterEvent } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { LogisticModel, probability } from "./logistic-model.ts";
import type { WarmsetOptions } from "./options.ts";

const RATE = 0.1;
/**
 * First weights: what the models came to on the demo model, a little more doubtful. Inputs: a constant, the margin of the
 * next router's score, its part above 0, the history's log odds, the token's log share, and whether the token is known.
 */
const FIRST_GATE_WEIGHTS = [-0.7, 2, 0.2, 0.5, 1, -0.4] as const;
/** Inputs: a constant, the history's log odds, the token's log share. */
const FIRST_TOKEN_WEIGHTS = [-1.6, 0.7, 1.5] as const;
/** Margins are in standard deviations of the token's scores; beyond this much the model would only extrapolate. */
const LARGEST_MARGIN = 3;
/** In a prompt, an expert is as good as certain if its share of the last tokens makes it this many uses. */
const PROMPT_USES = 8;
/** Share of all bytes read that may turn out to have been read for nothing; above it nothing is read ahead. */
const MOST_WASTE = 0.08;
/** Experts that may be read for nothing before that is judged. */
const WASTE_GRACE = 16;

/** What the models need to know of each expert, as arrays by key that their owner keeps up to date. */
export interface KnownOfExperts {
  /** Log odds of its value, from its history. */
  readonly historyLogOdds: Float64Array;
  /** Log of its share of the running token's earlier occurrences; only while the token is known. */
  readonly tokenLogShare: Float64Array;
  /** Share of the last tokens that used it. */
  lasting(key: ExpertKey): number;
}

export class ReadAhead {
  readonly gateModel: LogisticModel;
  readonly tokenModel: LogisticModel;
  /** Per key: the probability with which it was handed out. */
  readonly chance: Float64Array;
  /** Experts handed out, and of those how many their layer then used. */
  handedOut = 0;
  used = 0;
  readonly #shape: ModelShape;
  readonly #options: WarmsetOptions;
  readonly #known: KnownOfExperts;
  readonly #gateInputs = new Float64Array(FIRST_GATE_WEIGHTS.length);
  readonly #tokenInputs = new Float64Array(FIRST_TOKEN_WEIGHTS.length);
  /** Layer whose router ran last, -1 before the first. */
  #layer = -1;
  #tokens = 0;
  #tokenKnown = false;
  /** Layer that the margins are of, or -1. */
  #gateLayer = -1;
  readonly #margins: Float64Array;
  readonly #best: Float64Array;
  /** Per key: models that spoke of it while it was absent; their outcome comes when its layer runs. */
  readonly #asked: Uint8Array;
  readonly #wasHandedOut: Uint8Array;
  readonly #chosen: Uint8Array;
  /** The next layer's queue is made; its keys, best first, how many there are, and which comes next. */
  #lined = false;
  readonly #queue: Int32Array;
  #queued = 0;
  #next = 0;
  #readBytes = 0;
  #wastedBytes = 0;
  readonly #graceBytes: number;

  constructor(shape: ModelShape, options: WarmsetOptions, known: KnownOfExperts) {
    const total = shape.layers * shape.experts;
    const { learn: learns } = options;
    this.gateModel = new LogisticModel({ weights: FIRST_GATE_WEIGHTS, rate: RATE, learns });
    this.tokenModel = new LogisticModel({ weights: FIRST_TOKEN_WEIGHTS, rate: RATE, learns });
    this.#shape = shape;
    this.#options = options;
    this.#known = known;
    this.#gateInputs[0] = 1;
    this.#tokenInputs[0] = 1;
    this.chance = new Float64Array(total);
    this.#margins = new Float64Array(shape.experts);
    this.#best = new Float64Array(Math.min(shape.expertsUsed + 1, shape.experts));
    this.#asked = new Uint8Array(total);
    this.#wasHandedOut = new Uint8Array(total);
    this.#chosen = new Uint8Array(shape.experts);
    this.#queue = new Int32Array(shape.experts);
    this.#graceBytes = WASTE_GRACE * Math.max(...shape.expertBytes);
  }

  iteration(tokens: number, tokenKnown: boolean): void {
    this.#layer = -1;
    this.#tokens = tokens;
    this.#tokenKnown = tokenKnown;
    this.#gateLayer = -1;
    this.#asked.fill(0);
    this.#forget();
  }

  /** A layer has decided: learns how good what was said of it was. Before the history takes the decision in. */
  settle(event: RouterEvent): void {
    const { experts } = this.#shape;
    const first = event.layer * experts;
    const bytes = this.#shape.expertBytes[event.layer] as number;
    const chosen = this.#chosen.fill(0);
    for (let i = 0; i < event.distinctCount; i++) chosen[(event.distinct[i] as number) - first] = 1;
    let gateOutcomes = 0;
    let tokenOutcomes = 0;
    for (let expert = 0; expert < experts; expert++) {
      const key = first + expert;
      if (this.#wasHandedOut[key] === 1) {
        this.#wasHandedOut[key] = 0;
        if (chosen[expert] === 1) this.used++;
        else this.#wastedBytes += bytes;
      }
      const asked = this.#asked[key] as number;
      if ((asked & ASKED_TOKEN) !== 0) {
        this.#aboutToken(key);
        const error = probability(this.tokenModel.logOdds(this.#tokenInputs)) - (chosen[expert] as number);
        this.tokenModel.note(error, this.#tokenInputs);
        tokenOutcomes++;
      }
      if ((asked & ASKED_GATE) !== 0) {
        this.#aboutGate(key, expert);
        const error = probability(this.gateModel.logOdds(this.#gateInputs)) - (chosen[expert] as number);
        this.gateModel.note(error, this.#gateInputs);
        gateOutcomes++;
      }
    }
    // Per layer, not per expert: outcomes of a layer exclude each other.
    if (tokenOutcomes > 0) this.tokenModel.step(experts);
    if (gateOutcomes > 0) this.gateModel.step(experts);
  }

  /** The same layer's word on the next one. */
  routed(event: RouterEvent): void {
    const next = event.layer + 1;
    this.#layer = event.layer;
    this.#gateLayer = -1;
    this.#forget();
    if (next >= this.#shape.layers || event.nextGate === undefined || this.#tokens > 1) return;
    this.#measureMargins(event.nextGate);
    this.#gateLayer = next;
  }

  loading(key: ExpertKey): void {
    this.#readBytes += this.#shape.expertBytes[Math.floor(key / this.#shape.experts)] as number;
  }

  /** The most probable absent expert of the next layer that is probable enough, or NO_EXPERT. */
  next({ residents, spareBytes }: LinkState): ExpertKey {
    const { expertBytes, layers } = this.#shape;
    const layer = this.#layer + 1;
    if (layer >= layers || (expertBytes[layer] as number) > spareBytes) return NO_EXPERT;
    if (this.#wastedBytes > MOST_WASTE * this.#readBytes + this.#graceBytes) return NO_EXPERT;
    if (!this.#lined) this.#line(layer, residents);
    while (this.#next < this.#queued) {
      const key = this.#queue[this.#next++] as ExpertKey;
      if (residents.has(key)) continue;
      this.#wasHandedOut[key] = 1;
      this.handedOut++;
      return key;
    }
    return NO_EXPERT;
  }

  /** Queues the layer's absent experts that are probable enough, the most probable first. */
  #line(layer: number, residents: Residents): void {
    const { experts, layers } = this.#shape;
    this.#lined = true;
    const gate = layer === this.#gateLayer;
    const prompt = this.#tokens > 1;
    // The last layer of a prompt runs one token.
    if (prompt ? layer === layers - 1 : !gate && !this.#tokenKnown) return;
    for (let expert = 0; expert < experts; expert++) {
      const key = (layer * experts + expert) as ExpertKey;
      if (residents.has(key)) continue;
      if (prompt) {
        const uses = this.#tokens * this.#known.lasting(key);
        if (uses >= PROMPT_USES) this.#insert(key, uses / (1 + uses));
        continue;
      }
      let logOdds = 0;
      let asked = this.#asked[key] as number;
      if (this.#tokenKnown) {
        asked |= ASKED_TOKEN;
        this.#aboutToken(key);
        logOdds = this.tokenModel.logOdds(this.#tokenInputs);
      }
      if (gate) {
        asked |= ASKED_GATE;
        this.#aboutGate(key, expert);
        logOdds = this.gateModel.logOdds(this.#gateInputs);
      }
      this.#asked[key] = asked;
      const chance = probability(logOdds);
      if (chance >= this.#options.confidence) this.#insert(key, chance);
    }
  }

  #insert(key: ExpertKey, chance: number): void {
    this.chance[key] = chance;
    let at = this.#queued++;
    for (; at > 0 && chance > (this.chance[this.#queue[at - 1] as number] as number); at--)
      this.#queue[at] = this.#queue[at - 1] as number;
    this.#queue[at] = key;
  }

  #forget(): void {
    this.#lined = false;
    this.#queued = 0;
    this.#next = 0;
  }

  #aboutToken(key: number): void {
    this.#tokenInputs[1] = this.#known.historyLogOdds[key] as number;
    this.#tokenInputs[2] = this.#known.tokenLogShare[key] as number;
  }

  #aboutGate(key: number, expert: number): void {
    const inputs = this.#gateInputs;
    const margin = this.#margins[expert] as number;
    inputs[1] = margin;
    inputs[2] = Math.max(margin, 0);
    inputs[3] = this.#known.historyLogOdds[key] as number;
    inputs[4] = this.#tokenKnown ? (this.#known.tokenLogShare[key] as number) : 0;
    inputs[5] = this.#tokenKnown ? 1 : 0;
  }

  /** How far each score lies above the border between the k-th and the next, in standard deviations. */
  #measureMargins(scores: Float32Array): void {
    const { experts, expertsUsed } = this.#shape;
    const best = this.#best.fill(Number.NEGATIVE_INFINITY);
    let sum = 0;
    let squares = 0;
    for (let expert = 0; expert < experts; expert++) {
      const score = scores[expert] as number;
      sum += score;
      squares += score * score;
      if (score <= (best[best.length - 1] as number)) continue;
      let rank = best.length - 1;
      for (; rank > 0 && score > (best[rank - 1] as number); rank--) best[rank] = best[rank - 1] as number;
      best[rank] = score;
    }
    const mean = sum / experts;
    const deviation = Math.sqrt(Math.max(squares / experts - mean * mean, 1e-12));
    const border = ((best[expertsUsed - 1] as number) + (best[best.length - 1] as number)) / 2;
    for (let expert = 0; expert < experts; expert++) {
      const margin = ((scores[expert] as number) - border) / deviation;
      this.#margins[expert] = Math.min(Math.max(margin, -LARGEST_MARGIN), LARGEST_MARGIN);
    }
  }
}

const ASKED_TOKEN = 1;
const ASKED_GATE = 2;
