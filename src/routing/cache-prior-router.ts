/**
 * Routing that prefers what is in memory (cache-prior, arXiv 2412.00099): at a router's stop it looks at the scores, chooses
 * again, and writes the new ids before the graph goes on. The graph gathers mixture weights by id from scores that this
 * does not touch, with their normalisation and scale, so they stay the model's own (`build_moe_ffn`, llama-graph.cpp:2116).
 *
 * Decoded tokens only: a prompt fills the cache with what its routers want. Reading ahead goes on by the model's own forecast:
 * with forecasts leaned the same way, the demo model at 25 % read as many bytes and hit 3 points less (docs/cache-bias.md).
 */
import type { Residents } from "../cache/policy.ts";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import type { RouterStop } from "../llama/graph-hook.ts";
import {
  type CacheBias,
  DEFAULT_ALWAYS_KEEP,
  describeCacheBias,
  largestLambda,
  type SelectionRule,
} from "./cache-bias.ts";
import { RouteDrift, type RouteDriftStatistics, routeKl } from "./route-drift.ts";
import { RouteKlBound } from "./route-kl-bound.ts";
import { ExpertSelector, type TokenScores } from "./select.ts";

export interface CacheBiasStatistics extends RouteDriftStatistics {
  /** What was asked for, in words. */
  readonly bias: string;
  /** The rule prior's lambda now; it moves with a bound. Undefined with other rules. */
  readonly lambda: number | undefined;
  readonly routeKlBound: number | undefined;
  /** Layers whose scores the graph does not show (routers that are tables): their choice was left alone. */
  readonly layersUnseen: number;
}

export interface CachePriorRouterOptions {
  readonly bias: CacheBias;
  readonly shape: ModelShape;
  /** C: experts of each layer that the budget holds on average. */
  readonly expertsPerLayer: number;
  /** Tokens of a pass at most. */
  readonly microBatchTokens: number;
}

/** Of a stop, what the choice needs. */
export type RoutedScores = Pick<
  RouterStop,
  | "layer"
  | "tokens"
  | "expertsUsed"
  | "expert"
  | "setExpert"
  | "scoring"
  | "hasProbabilities"
  | "readProbabilities"
  | "readSelectionScores"
>;

/** Distributes over the kinds of a rule. */
type Steered<T> = T extends unknown ? { -readonly [K in keyof T]: T[K] } : never;

/** Probabilities below are taken for this one before their logarithm. */
const SMALLEST_PROBABILITY = 1e-38;

export class CachePriorRouter {
  readonly #bias: CacheBias;
  readonly #experts: number;
  readonly #alwaysKeep: number;
  /** With a bound its lambda is steered. */
  readonly #rule: Steered<SelectionRule>;
  readonly #bound: RouteKlBound | undefined;
  readonly #drift: RouteDrift;
  readonly #selector: ExpertSelector;
  readonly #unseen: Uint8Array;
  /** Per layer: tokens so far, and the mean range of their scores. */
  readonly #seen: Float64Array;
  readonly #meanRange: Float64Array;
  /** Rows of all tokens of a stop, as the graph has them. */
  readonly #allScores: Float32Array;
  readonly #allProbabilities: Float32Array;
  readonly #token: { -readonly [K in keyof TokenScores]: TokenScores[K] };
  /** By number of experts used, which differs by layer in some models: the router's choice, and ours. */
  readonly #stock: Int32Array[] = [];
  readonly #pick: Int32Array[] = [];

  constructor({ bias, shape, expertsPerLayer, microBatchTokens }: CachePriorRouterOptions) {
    const { experts, expertsUsed, layers } = shape;
    this.#bias = bias;
    this.#experts = experts;
    this.#alwaysKeep = bias.alwaysKeep ?? DEFAULT_ALWAYS_KEEP;
    this.#rule = { ...bias.rule };
    const first = bias.rule.kind === "prior" ? bias.rule.lambda : 0;
    this.#bound =
      bias.routeKlBound === undefined
        ? undefined
        : new RouteKlBound(bias.routeKlBound, first, largestLambda(expertsPerLayer, expertsUsed));
    this.#drift = new RouteDrift(microBatchTokens);
    this.#selector = new ExpertSelector(experts);
    this.#unseen = new Uint8Array(layers);
    this.#seen = new Float64Array(layers);
    this.#meanRange = new Float64Array(layers);
    this.#allScores = new Float32Array(microBatchTokens * experts);
    this.#allProbabilities = new Float32Array(microBatchTokens * experts);
    this.#token = {
      scores: new Float64Array(experts),
      probabilities: new Float32Array(experts),
      resident: new Uint8Array(experts),
      stock: new Int32Array(0),
      alwaysKeep: 0,
      meanRange: 0,
    };
  }

  /** Chooses again for all tokens of a stop. What is in flight counts as resident: it is paid for. */
  route(stop: RoutedScores, residents: Pick<Residents, "has">): void {
    if (!stop.hasProbabilities || stop.readSelectionScores?.(this.#allScores) !== true) {
      this.#unseen[stop.layer] = 1;
      return;
    }
    stop.readProbabilities(this.#allProbabilities);
    this.#lookAt(stop.layer, residents);
    for (let token = 0; token < stop.tokens; token++) this.#routeToken(stop, token);
  }

  /** The pass is computed, or was given up. */
  finish(): void {
    this.#drift.finish();
  }

  statistics(): CacheBiasStatistics {
    const rule = this.#rule;
    return {
      ...this.#drift.statistics(),
      bias: describeCacheBias(this.#bias),
      lambda: rule.kind === "prior" ? rule.lambda : undefined,
      routeKlBound: this.#bias.routeKlBound,
      layersUnseen: this.#unseen.reduce((sum, one) => sum + one, 0),
    };
  }

  #lookAt(layer: number, residents: Pick<Residents, "has">): void {
    const { resident } = this.#token;
    const first = layer * this.#experts;
    for (let e = 0; e < resident.length; e++) resident[e] = residents.has((first + e) as ExpertKey) ? 1 : 0;
  }

  #routeToken(stop: RoutedScores, row: number): void {
    const { layer, expertsUsed } = stop;
    const token = this.#token;
    const { probabilities } = token;
    const range = this.#readScores(row, stop.scoring === "softmax");
    // Scores that are no numbers, and ids that are none of the model's: the engine says so.
    if (!(range >= 0)) return;
    const count = ++this.#seen[layer];
    this.#meanRange[layer] += (range - this.#meanRange[layer]) / count;
    const stock = this.#choiceOf(this.#stock, expertsUsed);
    for (let rank = 0; rank < expertsUsed; rank++) {
      const expert = stop.expert(row, rank);
      if (!(expert >= 0 && expert < this.#experts)) return;
      stock[rank] = expert;
    }
    const pick = this.#choiceOf(this.#pick, expertsUsed);
    token.stock = stock;
    token.alwaysKeep = Math.min(this.#alwaysKeep, expertsUsed);
    token.meanRange = this.#meanRange[layer];
    const swaps = this.#selector.select(this.#rule, token, pick);
    const kl = swaps === 0 ? 0 : routeKl(probabilities, stock, pick);
    const admitted = this.#admit(kl);
    if (admitted && swaps > 0)
      for (let rank = 0; rank < expertsUsed; rank++)
        if (pick[rank] !== stock[rank]) stop.setExpert(row, rank, pick[rank]);
    this.#drift.decided(row, expertsUsed, admitted ? swaps : 0, admitted ? 0 : swaps, admitted ? kl : 0);
  }

  /**
   * One token's row into `#token`. Where the router compares probabilities of a softmax, their logarithms stand for the
   * logits, which they are but for a constant; scores with a bias, of a sigmoid, or raw ones are taken as they are.
   * @returns largest minus smallest score of experts that may be chosen; not a number when a score is none
   */
  #readScores(row: number, softmax: boolean): number {
    const { scores, probabilities } = this.#token;
    const first = row * this.#experts;
    let comparesProbabilities = softmax;
    for (let e = 0; e < scores.length; e++) {
      const score = this.#allScores[first + e];
      const probability = this.#allProbabilities[first + e];
      scores[e] = score;
      probabilities[e] = probability;
      if (score !== probability && score !== Number.NEGATIVE_INFINITY) comparesProbabilities = false;
    }
    let largest = Number.NEGATIVE_INFINITY;
    let smallest = Number.POSITIVE_INFINITY;
    for (let e = 0; e < scores.length; e++) {
      if (scores[e] === Number.NEGATIVE_INFINITY) continue;
      if (comparesProbabilities) scores[e] = Math.log(Math.max(scores[e], SMALLEST_PROBABILITY));
      largest = Math.max(largest, scores[e]);
      smallest = Math.min(smallest, scores[e]);
    }
    return largest - smallest;
  }

  #admit(kl: number): boolean {
    const bound = this.#bound;
    if (bound === undefined) return true;
    const admitted = bound.admit(kl);
    if (this.#rule.kind === "prior") this.#rule.lambda = bound.lambda;
    return admitted;
  }

  #choiceOf(choices: Int32Array[], expertsUsed: number): Int32Array {
    choices[expertsUsed] ??= new Int32Array(expertsUsed);
    return choices[expertsUsed];
  }
}
