/**
 * Takes down what routers decide while documents are computed, and holds each decision against the frozen gate on the same
 * input. Filled from inside the graph's evaluation; knows rows of a pass, and neither sessions nor texts.
 */
import type { GateValues } from "../../adapter/index.ts";
import type { RouterStop } from "../../llama/graph-hook.ts";
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import { NO_ID } from "../../trace/trace.ts";
import { GateProduct } from "../gate-product.ts";
import { expertDistribution } from "../objective/distribution.ts";
import { chooseExperts, type RouterRule } from "../router-forward.ts";

export interface ObserverOptions {
  readonly shape: RoutingShape;
  /** By MoE layer: the frozen gates. */
  readonly baseGates: readonly GateValues[];
  /** Inputs of a gate. */
  readonly width: number;
  /** By MoE layer, once the graph has shown how routers score. */
  readonly rules: (scoring: NonNullable<RouterStop["scoring"]>) => readonly RouterRule[];
  /** Tokens of a pass at most. */
  readonly passTokens: number;
}

/** Decisions of one document, and sums over them. */
export class ObservedDocument {
  readonly experts: Uint16Array;
  decisions = 0;
  trustKl = 0;
  keptMass = 0;
  agreement = 0;

  constructor({ layers, expertsUsed }: RoutingShape, tokens: number) {
    this.experts = new Uint16Array(tokens * layers * expertsUsed).fill(NO_ID);
  }
}

/** A token of the running pass. */
export interface ObservedRow {
  readonly document: ObservedDocument;
  /** Among the document's tokens that count; negative for one that does not. */
  readonly position: number;
}

export class RouterObserver {
  readonly #options: ObserverOptions;
  readonly #product: GateProduct;
  readonly #input: Float32Array;
  readonly #own: Float32Array;
  readonly #seen: Int32Array;
  #rules: readonly RouterRule[] | undefined;
  #rows: readonly ObservedRow[] = [];
  #compares = false;
  #hidden: { readonly layers: readonly Float32Array[]; readonly kept: Int32Array } | undefined;

  constructor(options: ObserverOptions) {
    const { shape, width, passTokens } = options;
    this.#options = options;
    this.#product = new GateProduct({ width, experts: shape.experts, batchTokens: passTokens });
    this.#input = new Float32Array(passTokens * width);
    this.#own = new Float32Array(passTokens * shape.experts);
    this.#seen = new Int32Array(shape.layers);
  }

  /**
   * Rows of the pass that is computed next.
   * @param compares hold decisions against the frozen gates; of the base itself there is nothing to see
   */
  begin(rows: readonly ObservedRow[], compares: boolean): void {
    this.#rows = rows;
    this.#compares = compares;
    this.#seen.fill(0);
  }

  /** From now on routers' inputs are kept too, of so many tokens. */
  keepInputs(tokens: number): void {
    const { shape, width } = this.#options;
    this.#hidden = {
      layers: Array.from({ length: shape.layers }, () => new Float32Array(tokens * width)),
      kept: new Int32Array(shape.layers),
    };
  }

  /** By layer, `[tokens][width]`, of as many tokens as were seen; undefined where the graph does not show them. */
  takeInputs(): { readonly layers: readonly Float32Array[]; readonly tokens: number } | undefined {
    const hidden = this.#hidden;
    this.#hidden = undefined;
    const tokens = hidden === undefined ? 0 : Math.min(...hidden.kept);
    return hidden === undefined || tokens === 0 ? undefined : { layers: hidden.layers, tokens };
  }

  /** Row of the pass that the first token of the stop is. */
  firstRow(stop: RouterStop): number {
    return this.#seen[stop.layer];
  }

  routed(stop: RouterStop): void {
    const { layer, tokens } = stop;
    const first = this.#seen[layer];
    this.#seen[layer] += tokens;
    const rows = this.#rows.slice(first, first + tokens);
    this.#record(stop, rows);
    if (!stop.hasInput || stop.inputWidth !== this.#options.width || stop.scoring === undefined) return;
    if (!this.#compares && this.#hidden === undefined) return;
    stop.readInput(this.#input);
    this.#keep(layer, tokens);
    if (this.#compares && stop.hasProbabilities) this.#compare(stop, rows, stop.scoring);
  }

  get rules(): readonly RouterRule[] | undefined {
    return this.#rules;
  }

  #record(stop: RouterStop, rows: readonly ObservedRow[]): void {
    const { layers, experts, expertsUsed } = this.#options.shape;
    for (const [row, { document, position }] of rows.entries()) {
      if (position < 0) continue;
      const at = (position * layers + stop.layer) * expertsUsed;
      for (let rank = 0; rank < Math.min(stop.expertsUsed, expertsUsed); rank++) {
        const expert = stop.expert(row, rank);
        document.experts[at + rank] = expert >= 0 && expert < experts ? expert : NO_ID;
      }
    }
    if (stop.scoring !== undefined) this.#rules ??= this.#options.rules(stop.scoring);
  }

  #keep(layer: number, tokens: number): void {
    const hidden = this.#hidden;
    if (hidden === undefined) return;
    const { width } = this.#options;
    const own = hidden.layers[layer];
    const from = hidden.kept[layer];
    const room = Math.min(tokens, own.length / width - from);
    own.set(this.#input.subarray(0, room * width), from * width);
    hidden.kept[layer] += room;
  }

  #compare(stop: RouterStop, rows: readonly ObservedRow[], scoring: NonNullable<RouterStop["scoring"]>): void {
    const { shape, baseGates } = this.#options;
    const { layer, tokens, expertsUsed } = stop;
    const { experts } = shape;
    const rule = { ...(this.#rules as readonly RouterRule[])[layer], used: expertsUsed };
    const { weights, bias } = baseGates[layer];
    this.#product.setGate(weights);
    const z = this.#product.logits(this.#input, tokens, bias);
    const base = expertDistribution(z, tokens, experts, scoring);
    const baseIds = chooseExperts(z, tokens, rule);
    stop.readProbabilities(this.#own);
    for (const [row, { document, position }] of rows.entries()) {
      if (position < 0) continue;
      let kl = 0;
      for (let e = row * experts; e < (row + 1) * experts; e++)
        if (this.#own[e] > 0) kl += this.#own[e] * (Math.log(this.#own[e]) - base.logProbabilities[e]);
      const would = baseIds.subarray(row * expertsUsed, (row + 1) * expertsUsed);
      let kept = 0;
      let whole = 0;
      let same = 0;
      for (let rank = 0; rank < expertsUsed; rank++) {
        const expert = stop.expert(row, rank);
        kept += base.probabilities[row * experts + expert];
        whole += base.probabilities[row * experts + would[rank]];
        if (would.includes(expert)) same++;
      }
      document.decisions++;
      document.trustKl += Math.max(0, kl);
      document.keptMass += kept / whole;
      document.agreement += same / expertsUsed;
    }
  }
}
