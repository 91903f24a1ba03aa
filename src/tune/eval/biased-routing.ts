/**
 * Cache-prior routing of several documents side by side, each with caches of its own: at a router's stop every token is routed
 * again by what its document's caches hold. Closed loop: what was chosen is what the graph computes with. Only the reading from
 * disk is left out, so it needs a model whose experts are all in memory.
 */
import type { RouterStop } from "../../llama/graph-hook.ts";
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import type { CacheBias } from "../../routing/cache-bias.ts";
import { CachePriorRouter, type RoutedScores } from "../../routing/cache-prior-router.ts";
import { PromptCaches } from "./prompt-caches.ts";

export interface BiasedRoutingOptions {
  readonly bias: CacheBias;
  readonly shape: RoutingShape;
  /** C: experts that each layer's cache holds. */
  readonly expertsPerLayer: number;
  /** Documents side by side. */
  readonly documents: number;
  /** Tokens of a pass at most. */
  readonly passTokens: number;
}

export class BiasedRouting {
  readonly #shape: RoutingShape;
  readonly #routers: readonly CachePriorRouter[];
  readonly #caches: readonly PromptCaches[];
  readonly #row: OneRow;
  readonly #chosen: Int32Array[] = [];

  constructor({ bias, shape, expertsPerLayer, documents, passTokens }: BiasedRoutingOptions) {
    const { layers, experts, expertsUsed } = shape;
    this.#shape = shape;
    this.#routers = Array.from(
      { length: documents },
      () =>
        new CachePriorRouter({
          bias,
          // Bytes play no part in the choice.
          shape: { layers, experts, expertsUsed, expertBytes: new Array<number>(layers).fill(1) },
          expertsPerLayer,
          microBatchTokens: 1,
        }),
    );
    this.#caches = this.#routers.map(() => new PromptCaches(layers, experts, expertsPerLayer));
    this.#row = new OneRow(experts, passTokens);
  }

  /** New documents begin. */
  clear(): void {
    for (const cache of this.#caches) cache.clear();
  }

  /**
   * @param documents `[tokens]` which of the documents each row of the pass is of
   * @param isPrompt a prompt is routed as its routers want, and fills the caches
   */
  routed(stop: RouterStop, documents: Int32Array, isPrompt: boolean): void {
    if (!isPrompt) this.#row.take(stop);
    for (let row = 0; row < stop.tokens; row++) {
      const document = documents[row];
      if (!isPrompt) {
        this.#row.row = row;
        this.#routers[document].route(this.#row, this.#caches[document]);
      }
      this.#chosen[stop.expertsUsed] ??= new Int32Array(stop.expertsUsed);
      const chosen = this.#chosen[stop.expertsUsed];
      for (let rank = 0; rank < chosen.length; rank++) chosen[rank] = stop.expert(row, rank);
      // Ids that are none of the model's are told by whoever records them.
      if (chosen.every((expert) => expert >= 0 && expert < this.#shape.experts))
        this.#caches[document].use(stop.layer, chosen);
    }
  }

  /** The pass is computed. */
  finish(): void {
    for (const router of this.#routers) router.finish();
  }

  /** Share of the routers' own choices that were swapped for others, since the beginning. */
  get swapRate(): number {
    const all = this.#routers.map((router) => router.statistics());
    const slots = all.reduce((sum, own) => sum + own.slots, 0);
    return slots === 0 ? 0 : all.reduce((sum, own) => sum + own.swaps, 0) / slots;
  }
}

/** One token of a stop as a stop of one token. */
class OneRow implements RoutedScores {
  readonly tokens = 1;
  layer = 0;
  expertsUsed = 0;
  scoring: RouterStop["scoring"];
  hasProbabilities = false;
  row = 0;
  readonly #experts: number;
  readonly #scores: Float32Array;
  readonly #probabilities: Float32Array;
  #seesScores = false;
  #stop: RouterStop | undefined;

  constructor(experts: number, passTokens: number) {
    this.#experts = experts;
    this.#scores = new Float32Array(passTokens * experts);
    this.#probabilities = new Float32Array(passTokens * experts);
  }

  take(stop: RouterStop): void {
    this.#stop = stop;
    this.layer = stop.layer;
    this.expertsUsed = stop.expertsUsed;
    this.scoring = stop.scoring;
    this.hasProbabilities = stop.hasProbabilities;
    if (stop.hasProbabilities) stop.readProbabilities(this.#probabilities);
    this.#seesScores = stop.readSelectionScores?.(this.#scores) ?? false;
  }

  expert(_token: number, rank: number): number {
    return (this.#stop as RouterStop).expert(this.row, rank);
  }

  setExpert(_token: number, rank: number, expert: number): void {
    (this.#stop as RouterStop).setExpert(this.row, rank, expert);
  }

  readProbabilities(into: Float32Array): void {
    into.set(this.#own(this.#probabilities));
  }

  readSelectionScores(into: Float32Array): boolean {
    if (this.#seesScores) into.set(this.#own(this.#scores));
    return this.#seesScores;
  }

  #own(rows: Float32Array): Float32Array {
    return rows.subarray(this.row * this.#experts, (this.row + 1) * this.#experts);
  }
}
