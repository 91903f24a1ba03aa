/**
 * The truth of which experts are resident, in flight, pinned and protected, in bytes against one budget. It is driven
 * by router decisions and finished reads, asks a policy what to give up or to read ahead, and tells a sink what to do;
 * it performs no I/O and reads no clock, so the live engine and the simulator run the same object. After construction
 * nothing is allocated: the calls come from inside the graph's evaluation, where a garbage collection stops the model.
 */
import { LayerExceedsBudgetError } from "./layer-budget.ts";
import type { EvictionReason, IterationStart, LoadKind, Phase, Policy, Residents, RouterEvent } from "./policy.ts";
import type { ExpertKey, ModelShape } from "./shape.ts";
import { NO_EXPERT } from "./shape.ts";
import { type CacheCounters, type CacheStatistics, emptyCounters } from "./statistics.ts";

/** Executes what the cache decides. An eviction is called before the reads that it makes room for. */
export interface CacheSink {
  evict(key: ExpertKey): void;
  /** Start to read; the owner of the sink calls `completed` or `cancelled` later (or from within this call). */
  load(key: ExpertKey, kind: LoadKind): void;
}

/** One decision, as the log sees it: enough to compare two runs one by one. */
export type Decision =
  | "hit"
  | "late-hit"
  | "miss"
  | "evict-demand"
  | "evict-prefetch"
  | "discard"
  | "prefetch"
  | "cancel";

export interface ExpertCacheOptions {
  /** Called for every decision in order; for tests and replays, default none. */
  readonly onDecision?: (decision: Decision, key: ExpertKey) => void;
}

/** A policy answered with an expert that it must not choose; a mistake in the policy. */
export class PolicyDecisionError extends Error {
  override readonly name = "PolicyDecisionError";
  readonly policy: string;
  readonly key: ExpertKey;

  constructor(policy: string, key: ExpertKey, mistake: string) {
    super(`policy ${policy} chose expert ${key}, which ${mistake}`);
    this.policy = policy;
    this.key = key;
  }
}

const ABSENT = 0;
const IN_FLIGHT = 1;
const RESIDENT = 2;

export class ExpertCache implements Residents {
  readonly shape: ModelShape;
  readonly budgetBytes: number;
  readonly policy: Policy;
  readonly #sink: CacheSink;
  readonly #onDecision: ((decision: Decision, key: ExpertKey) => void) | undefined;

  /** Per key: ABSENT, IN_FLIGHT or RESIDENT. */
  readonly #state: Uint8Array;
  /** Residents and in-flight experts, dense; `#slot` is the inverse. */
  readonly #keys: Int32Array;
  readonly #slot: Int32Array;
  #count = 0;
  #usedBytes = 0;

  /**
   * A key is pinned while its number is `#currentPinRound`, so that releasing a layer is one increment. Doubles: a
   * 32-bit count of layers would wrap after some weeks of serving.
   */
  readonly #pinRound: Float64Array;
  #currentPinRound = 1;
  /** 1 for a speculative read that no router has chosen yet. */
  readonly #unused: Uint8Array;
  /** Per key, how often its layer had run when it was prefetched: protected until that layer runs again. */
  readonly #prefetchedAt: Int32Array;
  readonly #layerRuns: Int32Array;
  #unusedCount = 0;
  #unusedBytes = 0;

  /** Distinct experts of the running layer, those to be read last. Valid up to `demandedCount`. */
  readonly demanded: Int32Array;
  #demandedCount = 0;
  /** Index in `demanded` of the next miss whose read has not been issued. */
  #nextMiss = 0;
  #awaiting = 0;

  #layer = 0;
  #phase: Phase = "prefill";
  #reason: EvictionReason = "demand";
  readonly #counters: Record<Phase, CacheCounters> = { prefill: emptyCounters(), decode: emptyCounters() };
  readonly #link: { residents: Residents; layer: number; nowMs: number; spareBytes: number; phase: Phase };

  constructor(
    shape: ModelShape,
    budgetBytes: number,
    policy: Policy,
    sink: CacheSink,
    options: ExpertCacheOptions = {},
  ) {
    const total = shape.layers * shape.experts;
    this.shape = shape;
    this.budgetBytes = budgetBytes;
    this.policy = policy;
    this.#sink = sink;
    this.#onDecision = options.onDecision;
    this.#state = new Uint8Array(total);
    this.#keys = new Int32Array(total);
    this.#slot = new Int32Array(total);
    this.#pinRound = new Float64Array(total);
    this.#unused = new Uint8Array(total);
    this.#prefetchedAt = new Int32Array(total);
    this.#layerRuns = new Int32Array(shape.layers);
    this.demanded = new Int32Array(shape.experts);
    this.#link = { residents: this, layer: 0, nowMs: 0, spareBytes: 0, phase: this.#phase };
    const allBytes = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
    policy.begin(shape, Math.floor((budgetBytes * total) / allBytes));
  }

  // What a policy sees.

  get count(): number {
    return this.#count;
  }

  at(i: number): ExpertKey {
    return this.#keys[i] as ExpertKey;
  }

  has(key: ExpertKey): boolean {
    return this.#state[key] !== ABSENT;
  }

  evictable(key: ExpertKey): boolean {
    return (
      this.#state[key] === RESIDENT &&
      this.#pinRound[key] !== this.#currentPinRound &&
      (this.#reason === "demand" || !this.#protected(key))
    );
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  // What the engine sees.

  /** Complete: its bytes may be used. */
  isResident(key: ExpertKey): boolean {
    return this.#state[key] === RESIDENT;
  }

  get demandedCount(): number {
    return this.#demandedCount;
  }

  /**
   * Experts of the running layer that are not complete yet. The layer may run when it is 0. Wait for *any* read, not
   * only for theirs: a miss that found no room (speculative reads in flight hold it) is issued when one of those ends.
   */
  get awaitingCount(): number {
    return this.#awaiting;
  }

  iteration(start: IterationStart): void {
    this.releaseAll();
    this.#phase = start.phase;
    this.policy.iteration(start);
  }

  /**
   * A layer's router has decided: the experts of the previous layer are released, those of this one are pinned, and
   * the reads of the missing ones are issued. Throws LayerExceedsBudgetError, before anything is read or evicted, when
   * the layer's experts together are larger than the budget.
   */
  routed(event: RouterEvent): void {
    const { layer, distinct, distinctCount } = event;
    this.releaseAll();
    const bytes = this.shape.expertBytes[layer] as number;
    if (distinctCount * bytes > this.budgetBytes)
      throw new LayerExceedsBudgetError(layer, distinctCount * bytes, this.budgetBytes);
    this.#layer = layer;
    this.#link.nowMs = event.nowMs;
    this.#layerRuns[layer] = (this.#layerRuns[layer] as number) + 1;

    const counters = this.#counters[this.#phase];
    let placed = 0;
    for (let i = 0; i < distinctCount; i++) {
      const key = distinct[i] as ExpertKey;
      this.#pinRound[key] = this.#currentPinRound;
      const state = this.#state[key];
      if (state === ABSENT) continue;
      this.demanded[placed++] = key;
      if (this.#unused[key] === 1) {
        this.#settleUnused(key);
        counters.prefetchesUsed++;
      }
      if (state === RESIDENT) {
        counters.hits++;
        this.#onDecision?.("hit", key);
      } else {
        counters.lateHits++;
        this.#awaiting++;
        this.#onDecision?.("late-hit", key);
      }
    }
    this.#nextMiss = placed;
    for (let i = 0; i < distinctCount; i++) {
      const key = distinct[i] as ExpertKey;
      if (this.#state[key] !== ABSENT) continue;
      this.demanded[placed++] = key;
      counters.misses++;
      this.#awaiting++;
      this.#onDecision?.("miss", key);
    }
    this.#demandedCount = placed;

    this.policy.routed(event);
    this.#readMisses();
  }

  /** A read has finished. */
  completed(key: ExpertKey): void {
    if (this.#state[key] !== IN_FLIGHT) return;
    this.#state[key] = RESIDENT;
    if (this.#pinRound[key] === this.#currentPinRound) this.#awaiting--;
    this.policy.loaded?.(key, true);
    this.#readMisses();
  }

  /**
   * A read was called off or has failed: the expert is absent again. If the running layer demanded it, the layer is
   * incomplete and must not run.
   */
  cancelled(key: ExpertKey): void {
    if (this.#state[key] !== IN_FLIGHT) return;
    const counters = this.#counters[this.#phase];
    if (this.#unused[key] === 1) {
      counters.bytesCancelled += this.#settleUnused(key);
      counters.prefetchesCancelled++;
    }
    this.#remove(key);
    this.policy.loaded?.(key, false);
    this.#onDecision?.("cancel", key);
    this.#readMisses();
  }

  /**
   * Issues speculative reads while the policy has some, they fit `spareBytes` and the policy gives up room for them.
   * Returns the bytes issued. Does nothing while a miss of the running layer waits for room.
   */
  speculate(spareBytes: number): number {
    if (this.#nextMiss < this.#demandedCount) return 0;
    const link = this.#link;
    const counters = this.#counters[this.#phase];
    link.layer = this.#layer;
    link.phase = this.#phase;
    link.spareBytes = spareBytes;
    this.#reason = "prefetch";
    while (link.spareBytes > 0) {
      const key = this.policy.prefetch(link);
      if (key === NO_EXPERT) break;
      if (this.has(key)) throw new PolicyDecisionError(this.policy.name, key, "is resident already");
      const bytes = this.#bytesOf(key);
      if (bytes > link.spareBytes || !this.#makeRoom(bytes, "prefetch", key)) break;
      link.spareBytes -= bytes;
      counters.prefetchesIssued++;
      counters.bytesPrefetched += bytes;
      this.#unused[key] = 1;
      this.#unusedCount++;
      this.#unusedBytes += bytes;
      this.#prefetchedAt[key] = this.#layerRuns[this.#layerOf(key)] as number;
      this.#onDecision?.("prefetch", key);
      this.#read(key, "prefetch");
    }
    this.#reason = "demand";
    return spareBytes - link.spareBytes;
  }

  /** No layer runs any more: nothing is pinned or awaited until the next router decision. */
  releaseAll(): void {
    this.#currentPinRound++;
    this.#demandedCount = 0;
    this.#nextMiss = 0;
    this.#awaiting = 0;
    if (this.policy.discard === undefined) return;
    // What was read ahead is not given up before its layer has run.
    this.#reason = "prefetch";
    for (let key = this.policy.discard(this); key !== NO_EXPERT; key = this.policy.discard(this)) {
      this.#counters[this.#phase].discards++;
      this.#evict(key, "discard");
    }
    this.#reason = "demand";
  }

  /** The model closes. */
  close(): void {
    this.releaseAll();
    this.policy.end();
  }

  statistics(): CacheStatistics {
    return {
      prefill: { ...this.#counters.prefill },
      decode: { ...this.#counters.decode },
      prefetchesUnused: this.#unusedCount,
      bytesUnused: this.#unusedBytes,
    };
  }

  /** Issues the running layer's misses in order, until one finds no room because reads in flight hold it. */
  #readMisses(): void {
    const counters = this.#counters[this.#phase];
    while (this.#nextMiss < this.#demandedCount) {
      const key = this.demanded[this.#nextMiss] as ExpertKey;
      const bytes = this.#bytesOf(key);
      if (!this.#makeRoom(bytes, "demand", key)) return;
      this.#nextMiss++;
      counters.bytesDemanded += bytes;
      this.#read(key, "demand");
    }
  }

  #read(key: ExpertKey, kind: LoadKind): void {
    this.#state[key] = IN_FLIGHT;
    this.#keys[this.#count] = key;
    this.#slot[key] = this.#count++;
    this.#usedBytes += this.#bytesOf(key);
    this.policy.loading?.(key, kind);
    this.#sink.load(key, kind);
  }

  #makeRoom(bytes: number, reason: EvictionReason, incoming: ExpertKey): boolean {
    this.#reason = reason;
    const counters = this.#counters[this.#phase];
    while (this.#usedBytes + bytes > this.budgetBytes) {
      let key = this.policy.victim(this, reason, incoming);
      if (key === NO_EXPERT && reason === "demand") key = this.#firstEvictable();
      if (key === NO_EXPERT) return false;
      if (reason === "demand") counters.evictionsForDemand++;
      else counters.evictionsForPrefetch++;
      this.#evict(key, reason === "demand" ? "evict-demand" : "evict-prefetch");
    }
    return true;
  }

  #firstEvictable(): ExpertKey {
    for (let i = 0; i < this.#count; i++) if (this.evictable(this.at(i))) return this.at(i);
    return NO_EXPERT;
  }

  #evict(key: ExpertKey, decision: Decision): void {
    if (!this.evictable(key)) throw new PolicyDecisionError(this.policy.name, key, "cannot be evicted now");
    if (this.#unused[key] === 1) {
      const counters = this.#counters[this.#phase];
      counters.bytesWasted += this.#settleUnused(key);
      counters.prefetchesWasted++;
    }
    this.#remove(key);
    this.#onDecision?.(decision, key);
    this.#sink.evict(key);
  }

  #remove(key: ExpertKey): void {
    const slot = this.#slot[key] as number;
    const moved = this.#keys[--this.#count] as number;
    this.#keys[slot] = moved;
    this.#slot[moved] = slot;
    this.#state[key] = ABSENT;
    this.#usedBytes -= this.#bytesOf(key);
  }

  /** The fate of a speculative read is known: it is no longer unused. Returns its bytes. */
  #settleUnused(key: ExpertKey): number {
    const bytes = this.#bytesOf(key);
    this.#unused[key] = 0;
    this.#unusedCount--;
    this.#unusedBytes -= bytes;
    return bytes;
  }

  #protected(key: ExpertKey): boolean {
    return this.#unused[key] === 1 && this.#prefetchedAt[key] === this.#layerRuns[this.#layerOf(key)];
  }

  #layerOf(key: ExpertKey): number {
    return Math.floor(key / this.shape.experts);
  }

  #bytesOf(key: ExpertKey): number {
    return this.shape.expertBytes[this.#layerOf(key)] as number;
  }
}
