/**
 * What happens at a router stop: the one place where the graph, the cache, the policy and expert memory meet. It turns
 * a router's decision into a `RouterEvent`, lets the cache decide, starts the reads, speculates while the link would be
 * idle, and waits just before a matrix product needs weights that are not there yet. It runs inside ggml's eval
 * callback: nothing is allocated per stop.
 */

import type { EmbeddingSource } from "../cache/embedding-source.ts";
import { ExpertCache, type ExpertCacheOptions } from "../cache/expert-cache.ts";
import type { LoadKind, Phase, Policy, RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, layerOf, type ModelShape } from "../cache/shape.ts";
import type { GraphListener, RouterStop } from "../llama/graph-hook.ts";
import type { ExpertMemory } from "../memory/expert-memory.ts";
import type { CacheBiasStatistics, CachePriorRouter } from "../routing/cache-prior-router.ts";
import { ExpertReadError, RouterDecisionError } from "./errors.ts";
import { LinkEstimate } from "./link-estimate.ts";

export interface ExpertStreamOptions extends ExpertCacheOptions {
  readonly shape: ModelShape;
  readonly budgetBytes: number;
  readonly policy: Policy;
  readonly memory: ExpertMemory;
  /** Tokens of a micro-batch at most. */
  readonly microBatchTokens: number;
  /** Scores of the next layer's router; only a policy that needs them is given them. @default there are none */
  readonly nextGate?: NextGateScores | undefined;
  /** Rows of the model's embedding table; only a policy that needs them is given them. @default there are none */
  readonly embeddings?: EmbeddingSource | undefined;
  /** Chooses again with a preference for resident experts, for decoded tokens. @default the model's own choice stands */
  readonly cacheBias?: CachePriorRouter | undefined;
  /** True when the running call should be given up. Asked at each stop, behind each product, and while reads are awaited. */
  readonly aborted: () => boolean;
  /** Time in ms, above 0 and never back; the simulator's own. @default performance.now */
  readonly now?: () => number;
}

/** What the next MoE layer's router says to a layer's state. */
export interface NextGateScores {
  /** Raw scores `[tokens][experts]` of layer `stop.layer + 1`, valid until the next call; undefined where there are none. */
  scores(stop: RouterStop): Float32Array | undefined;
}

/** Where the time of the model's own thread went. All in ms since the start. */
export interface StreamTimes {
  /** Waiting for experts. */
  stallMs: number;
  /** Cache, policy and submitting reads. */
  managementMs: number;
  /** Predicting the next layer's experts. */
  predictionMs: number;
}

export class ExpertStream implements GraphListener {
  readonly cache: ExpertCache;
  readonly times: StreamTimes = { stallMs: 0, managementMs: 0, predictionMs: 0 };
  readonly link = new LinkEstimate();
  readonly #options: ExpertStreamOptions;
  readonly #memory: ExpertMemory;
  readonly #now: () => number;
  readonly #shape: ModelShape;
  readonly #event: { -readonly [K in keyof RouterEvent]: RouterEvent[K] };
  /** Where the router's distributions are copied to. */
  readonly #probabilities: Float32Array;
  /** Where the routers' inputs are copied to, for policies that need them. */
  readonly #hidden: Float32Array | undefined;
  /** Where the embedding rows of an iteration are put, for policies that need them. */
  readonly #embeddingRows: Float32Array | undefined;
  readonly #wholeLayers: boolean;
  #chosenCount = 0;
  /** Per expert of the running layer: the stop at which it was last seen, to find the distinct ones. */
  readonly #seenAt: Float64Array;
  #stopCount = 0;
  /** Speculative reads that were not complete when last looked at. */
  readonly #speculative: Int32Array;
  #speculativeCount = 0;
  /** Per key: 1 for a speculative read that is called off once its last request has landed. */
  readonly #calledOff: Uint8Array;
  readonly #largestExpertBytes: number;
  #phase: Phase = "prefill";
  #leftAt = 0;
  #stalledSince = 0;

  constructor(options: ExpertStreamOptions) {
    const { shape, memory, microBatchTokens } = options;
    this.#options = options;
    this.#memory = memory;
    this.#now = options.now ?? (() => performance.now());
    this.#shape = shape;
    this.#largestExpertBytes = Math.max(...shape.expertBytes);
    this.#seenAt = new Float64Array(shape.experts);
    this.#speculative = new Int32Array(shape.layers * shape.experts);
    this.#calledOff = new Uint8Array(shape.layers * shape.experts);
    this.#probabilities = new Float32Array(microBatchTokens * shape.experts);
    const { needs } = options.policy;
    this.#wholeLayers = needs.wholeLayers;
    this.#embeddingRows =
      needs.embeddings && options.embeddings !== undefined
        ? new Float32Array(microBatchTokens * options.embeddings.width)
        : undefined;
    this.#hidden = needs.hidden ? new Float32Array(microBatchTokens * (shape.hiddenSize ?? 0)) : undefined;
    this.#event = {
      layer: 0,
      nowMs: 0,
      tokens: 0,
      expertsUsed: 0,
      experts: new Int32Array(microBatchTokens * shape.expertsUsed),
      weights: new Float32Array(microBatchTokens * shape.expertsUsed),
      distinct: new Int32Array(shape.experts),
      distinctCount: 0,
      probabilities: undefined,
      nextGate: undefined,
      hidden: undefined,
    };
    this.cache = new ExpertCache(
      shape,
      options.budgetBytes,
      options.policy,
      { evict: (key) => memory.evict(key), load: (key, kind) => this.#load(key, kind) },
      options,
    );
  }

  /** @param position of the first token in its sequence; undefined with several sequences */
  begin(phase: Phase, iteration: number, request: number, tokenIds: Int32Array, position?: number): void {
    this.#phase = phase;
    this.#leftAt = 0;
    this.#stalledSince = this.times.stallMs;
    const nowMs = this.#now();
    const embeddings = this.#embeddingRows;
    if (embeddings !== undefined) this.#options.embeddings?.rows(tokenIds, embeddings);
    this.cache.iteration({ phase, iteration, request, nowMs, tokens: tokenIds.length, position, tokenIds, embeddings });
    if (this.#options.policy.prefetchesAtStart === true) this.#speculate();
  }

  routed(stop: RouterStop): boolean {
    const start = this.#now();
    if (this.#leftAt > 0)
      this.link.computed(this.#phase, start - this.#leftAt - (this.times.stallMs - this.#stalledSince));
    if (this.#options.aborted()) return false;
    if (stop.tokens === 0) {
      // The last layers of a micro-batch without outputs: nothing is chosen, and their products have no rows.
      this.cache.releaseAll();
      return true;
    }
    if (this.#phase === "decode") this.#options.cacheBias?.route(stop, this.cache);
    this.#readDecision(stop);
    this.#event.nowMs = start;
    this.#poll(start);
    this.#callOff(stop.layer, false);
    const { nextGate } = this.#options;
    if (nextGate !== undefined) {
      const before = this.#now();
      this.#event.nextGate = nextGate.scores(stop);
      this.times.predictionMs += this.#now() - before;
    }
    this.cache.routed(this.#event);
    const { demanded, demandedCount } = this.cache;
    for (let i = 0; i < demandedCount; i++) this.#memory.promote(demanded[i] as ExpertKey);
    this.#pump(0);
    if (!this.#paused()) this.#speculate();
    const end = this.#now();
    this.times.managementMs += end - start;
    this.#leftAt = end;
    this.#stalledSince = this.times.stallMs;
    return true;
  }

  multiply(layer: number, stage: number): boolean {
    const { demanded, demandedCount } = this.cache;
    const memory = this.#memory;
    if (this.cache.awaitingCount === 0) return false;
    this.#poll(this.#now());
    for (let i = 0; i < demandedCount; i++) {
      const key = demanded[i] as ExpertKey;
      if (this.cache.has(key) && memory.ready(key, stage)) continue;
      const start = this.#now();
      while (!this.cache.has(key)) {
        // No room yet: speculative reads hold it. Each one that is called off or ends may let this one start.
        this.#callOff(layer, true);
        memory.pump(0);
        if (this.cache.has(key)) break;
        if (memory.inFlightBytes === 0) throw new Error("No read in flight holds the room that a layer needs");
        memory.waitForAny();
        this.#throwOnFailure();
        if (this.#options.aborted()) return true;
      }
      this.#pump(0);
      memory.wait(key, stage);
      const now = this.#now();
      this.times.stallMs += now - start;
      this.link.waited(now, memory.counters.bytesArrived, memory.inFlightBytes > 0);
      this.#throwOnFailure();
      if (this.#options.aborted()) return true;
    }
    if (this.#options.policy.pausesForDemand !== true) this.#pump(this.link.windowBytes(this.#phase));
    else if (!this.#paused()) this.#speculate();
    return this.cache.awaitingCount > 0;
  }

  multiplied(): boolean {
    // A wait that was given up left weights out: what was computed with them must not go on.
    return !this.#options.aborted();
  }

  /** The graph is done or was given up: nothing is pinned any more. */
  finished(): void {
    this.#leftAt = 0;
    this.#options.cacheBias?.finish();
    this.cache.releaseAll();
  }

  /** Distinct experts that the tokens of the running layer chose, whatever else the policy has brought in with them. */
  get chosenCount(): number {
    return this.#chosenCount;
  }

  /** What was made of the cache bias; undefined without one. */
  get cacheBias(): CacheBiasStatistics | undefined {
    return this.#options.cacheBias?.statistics();
  }

  get recycledBytes(): number {
    return this.#memory.counters.recycledBytes;
  }

  #load(key: ExpertKey, kind: LoadKind): void {
    this.#memory.load(key, kind);
    if (kind === "prefetch") this.#speculative[this.#speculativeCount++] = key;
  }

  #poll(nowMs: number): void {
    const memory = this.#memory;
    memory.poll();
    this.#throwOnFailure();
    // The kernel tells nobody when its read-ahead has finished.
    if (memory.kind === "page-cache") this.link.lostSight();
    else this.link.looked(nowMs, memory.counters.bytesArrived, memory.inFlightBytes > 0);
  }

  #pump(speculativeBytes: number): void {
    const memory = this.#memory;
    const idle = memory.inFlightBytes === 0 || memory.kind === "page-cache";
    const before = idle ? this.#now() : 0;
    memory.pump(speculativeBytes);
    if (idle && memory.inFlightBytes > 0) this.link.handedOver(before, memory.counters.bytesArrived);
  }

  /** Reading ahead waits until everything that the running layer needs has arrived, if the policy wants it so. */
  #paused(): boolean {
    return this.#options.policy.pausesForDemand === true && this.cache.awaitingCount > 0;
  }

  #speculate(): void {
    const window = this.link.windowBytes(this.#phase);
    const backlog = this.#memory.backlogBytes;
    // One expert may be larger than what fits between two stops: it is read in parts, so it may start all the same.
    if (backlog < window) this.cache.speculate(Math.max(window - backlog, this.#largestExpertBytes));
    this.#pump(this.#memory.inFlightBytes + window);
  }

  /**
   * Calls off speculative reads for a layer that has now decided otherwise, and with `all` those for other layers too:
   * what is not on its way yet need not come.
   */
  #callOff(layer: number, all: boolean): void {
    let kept = 0;
    for (let i = 0; i < this.#speculativeCount; i++) {
      const key = this.#speculative[i] as ExpertKey;
      const here = layerOf(this.#shape, key) === layer;
      const wanted = here && this.#seenAt[key % this.#shape.experts] === this.#stopCount;
      const unwanted = !wanted && (here || all || this.#calledOff[key] === 1);
      this.#calledOff[key] = 0;
      if (!this.cache.has(key) || this.cache.isResident(key)) continue;
      const outcome = unwanted ? this.#memory.cancel(key) : "refused";
      if (outcome === "done") {
        this.cache.cancelled(key);
        continue;
      }
      // Its room is free only when its last request has landed, so it is asked again at every stop until then.
      if (outcome === "pending") this.#calledOff[key] = 1;
      this.#speculative[kept++] = key;
    }
    this.#speculativeCount = kept;
  }

  #readDecision(stop: RouterStop): void {
    const event = this.#event;
    const { experts } = this.#shape;
    const { expertsUsed } = stop;
    event.layer = stop.layer;
    event.tokens = stop.tokens;
    event.expertsUsed = expertsUsed;
    event.distinctCount = 0;
    event.nextGate = undefined;
    event.probabilities = undefined;
    event.hidden = undefined;
    if (this.#hidden !== undefined && stop.hasInput && stop.inputWidth === this.#shape.hiddenSize) {
      stop.readInput(this.#hidden);
      event.hidden = this.#hidden;
    }
    const probabilities = this.#probabilities;
    if (stop.hasProbabilities) {
      stop.readProbabilities(probabilities);
      event.probabilities = probabilities;
    }
    const stamp = ++this.#stopCount;
    for (let token = 0; token < stop.tokens; token++) {
      let sum = 0;
      for (let rank = 0; rank < expertsUsed; rank++) {
        const expert = stop.expert(token, rank);
        if (!(expert >= 0 && expert < experts)) throw new RouterDecisionError(stop.layer, expert, experts);
        const at = token * expertsUsed + rank;
        event.experts[at] = expert;
        const weight = event.probabilities?.[token * experts + expert] ?? 0;
        event.weights[at] = weight;
        sum += weight;
        if (this.#seenAt[expert] !== stamp) {
          this.#seenAt[expert] = stamp;
          event.distinct[event.distinctCount++] = stop.layer * experts + expert;
        }
      }
      for (let rank = 0; rank < expertsUsed; rank++) event.weights[token * expertsUsed + rank] /= sum > 0 ? sum : 1;
    }
    this.#chosenCount = event.distinctCount;
    if (!this.#wholeLayers) return;
    for (let expert = 0; expert < experts; expert++) {
      if (this.#seenAt[expert] === stamp) continue;
      this.#seenAt[expert] = stamp;
      event.distinct[event.distinctCount++] = stop.layer * experts + expert;
    }
  }

  #throwOnFailure(): void {
    if (this.#memory.failure !== undefined) throw new ExpertReadError(this.#memory.failure);
  }
}
