/**
 * The routing of some tokens as a session's graph tells it: arrays of all MoE layers' choices, one row per token, filled
 * through `tap` and handed to whoever writes them. It is filled inside ggml's eval callback, where nothing is allocated.
 */
import { RouterDecisionError } from "../../engine/errors.ts";
import type { RoutingTap } from "../../engine/options.ts";
import type { RouterStop, Scoring } from "../../llama/graph-hook.ts";
import { NO_ID } from "../trace.ts";
import { RoutingNotSeenError } from "./errors.ts";

export interface RoutingBufferOptions {
  /** MoE layers. */
  readonly layers: number;
  /** Experts of a layer. */
  readonly experts: number;
  /** Experts that a token uses in a layer at most. */
  readonly expertsUsed: number;
  /** Tokens that there is room for. */
  readonly rows: number;
  /** Keep the routers' distributions. @default false */
  readonly probs?: boolean;
  /** Keep the routers' inputs, which have this width. @default 0: do not */
  readonly hiddenWidth?: number;
}

/** Bytes that a buffer takes. */
export function routingBufferBytes(options: RoutingBufferOptions): number {
  const { layers, experts, expertsUsed, rows, probs = false, hiddenWidth = 0 } = options;
  return 4 * rows * (experts + layers * (1.5 * expertsUsed + (probs ? experts : 0) + hiddenWidth));
}

/** Row-major views of some rows. */
export interface RoutingRows {
  /** `[rows][layers][expertsUsed]`, best first; `NO_ID` where a layer uses fewer. */
  readonly experts: Uint16Array;
  /** `[rows][layers][expertsUsed]`: the chosen ones' shares of the router's distribution, made to sum to 1. */
  readonly weights: Float32Array;
  /** `[rows][layers][experts]` */
  readonly probs: Float32Array | undefined;
  /** `[rows][layers][hiddenWidth]` */
  readonly hidden: Float32Array | undefined;
}

export class RoutingBuffer {
  /** How the last router that was seen scores. */
  scoring: Scoring | undefined;
  /** For `SessionOptions.onRouted`. */
  readonly tap: RoutingTap = (stop) => this.#record(stop);

  readonly #options: RoutingBufferOptions;
  readonly #experts: Uint16Array;
  readonly #weights: Float32Array;
  readonly #probs: Float32Array | undefined;
  readonly #hidden: Float32Array | undefined;
  /** `[rows][experts]` of one layer. */
  readonly #distribution: Float32Array;
  /** `[rows][hiddenWidth]` of one layer. */
  readonly #input: Float32Array;
  /** Tokens of the running batch that each layer has decided on. */
  readonly #seen: Int32Array;
  #firstRow = 0;
  #tokens = 0;

  constructor(options: RoutingBufferOptions) {
    const { layers, experts, expertsUsed, rows, probs = false, hiddenWidth = 0 } = options;
    this.#options = options;
    this.#experts = new Uint16Array(rows * layers * expertsUsed);
    this.#weights = new Float32Array(rows * layers * expertsUsed);
    this.#probs = probs ? new Float32Array(rows * layers * experts) : undefined;
    this.#hidden = hiddenWidth > 0 ? new Float32Array(rows * layers * hiddenWidth) : undefined;
    this.#distribution = new Float32Array(rows * experts);
    this.#input = new Float32Array(rows * hiddenWidth);
    this.#seen = new Int32Array(layers);
  }

  /** What is computed next are `tokens` tokens, whose routing goes to the rows from `firstRow` on. */
  begin(firstRow: number, tokens: number): void {
    if (firstRow + tokens > this.#options.rows)
      throw new RangeError(`Rows ${firstRow} to ${firstRow + tokens - 1} of a buffer of ${this.#options.rows}`);
    this.#firstRow = firstRow;
    this.#tokens = tokens;
    this.#seen.fill(0);
  }

  /** @throws RoutingNotSeenError when a layer has not decided on all tokens that were to be computed */
  finish(): void {
    for (const [layer, seen] of this.#seen.entries())
      if (seen !== this.#tokens)
        throw new RoutingNotSeenError(
          layer,
          `${seen} of ${this.#tokens} tokens showed its router's choice (ffn_moe_topk). This architecture cannot be recorded.`,
        );
  }

  /** The rows from `from` up to `to`, valid until they are filled again. */
  rows(from: number, to: number): RoutingRows {
    const { layers, experts, expertsUsed, hiddenWidth = 0 } = this.#options;
    const part = (width: number): [number, number] => [from * layers * width, to * layers * width];
    return {
      experts: this.#experts.subarray(...part(expertsUsed)),
      weights: this.#weights.subarray(...part(expertsUsed)),
      probs: this.#probs?.subarray(...part(experts)),
      hidden: this.#hidden?.subarray(...part(hiddenWidth)),
    };
  }

  #record(stop: RouterStop): void {
    const { layer, tokens } = stop;
    const row = this.#firstRow + this.#seen[layer];
    this.#seen[layer] += tokens;
    if (this.#seen[layer] > this.#tokens)
      throw new RoutingNotSeenError(
        layer,
        "its router decided on more tokens than were given. Please report this model.",
      );
    if (tokens === 0) return;
    if (stop.hasProbabilities) stop.readProbabilities(this.#distribution);
    this.scoring = stop.scoring;
    this.#recordChoice(stop, row);
    if (this.#probs !== undefined) this.#recordProbabilities(stop, row, this.#probs);
    if (this.#hidden !== undefined) this.#recordInput(stop, row, this.#hidden);
  }

  #recordChoice(stop: RouterStop, row: number): void {
    const { layers, experts, expertsUsed } = this.#options;
    const { layer, tokens } = stop;
    const used = stop.expertsUsed;
    if (used > expertsUsed)
      throw new RoutingNotSeenError(layer, `it uses ${used} experts, the file says at most ${expertsUsed}.`);
    const distribution = this.#distribution;
    for (let token = 0; token < tokens; token++) {
      const first = ((row + token) * layers + layer) * expertsUsed;
      let sum = 0;
      for (let rank = 0; rank < used; rank++) {
        const expert = stop.expert(token, rank);
        if (!(expert >= 0 && expert < experts)) throw new RouterDecisionError(layer, expert, experts);
        this.#experts[first + rank] = expert;
        const share = stop.hasProbabilities ? distribution[token * experts + expert] : 0;
        this.#weights[first + rank] = share;
        sum += share;
      }
      // In two steps, as the engine does it: a replay sees the very weights that the engine's policy saw.
      for (let rank = 0; rank < used; rank++) this.#weights[first + rank] /= sum > 0 ? sum : 1;
      for (let rank = used; rank < expertsUsed; rank++) {
        this.#experts[first + rank] = NO_ID;
        this.#weights[first + rank] = 0;
      }
    }
  }

  #recordProbabilities({ layer, tokens, hasProbabilities }: RouterStop, row: number, probs: Float32Array): void {
    const { layers, experts } = this.#options;
    if (!hasProbabilities)
      throw new RoutingNotSeenError(layer, "its router has no distribution over the experts. Record without --probs.");
    for (let token = 0; token < tokens; token++) {
      const to = ((row + token) * layers + layer) * experts;
      for (let e = 0; e < experts; e++) probs[to + e] = this.#distribution[token * experts + e];
    }
  }

  #recordInput(stop: RouterStop, row: number, hidden: Float32Array): void {
    const { layer, tokens, hasInput, inputWidth } = stop;
    const { layers, hiddenWidth } = this.#options;
    if (!hasInput || inputWidth !== hiddenWidth)
      throw new RoutingNotSeenError(
        layer,
        !hasInput
          ? "its router's input cannot be seen in the graph. Record without --hidden."
          : `its router's input has ${inputWidth} values, not ${hiddenWidth}. Record without --hidden.`,
      );
    const input = this.#input;
    stop.readInput(input);
    for (let token = 0; token < tokens; token++) {
      const to = ((row + token) * layers + layer) * inputWidth;
      for (let i = 0; i < inputWidth; i++) hidden[to + i] = input[token * inputWidth + i];
    }
  }
}
