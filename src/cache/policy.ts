/**
 * The one interface between "what should be in memory" and everything that executes it. A policy decides victims and
 * speculative reads; it does no I/O, reads no wall clock and draws no unseeded random number, so that the same object
 * runs in the live engine and in the simulator and takes the same decisions there. The cache (`expert-cache.ts`) owns
 * the truth of what is resident; a policy only keeps what it needs to rank.
 */
import type { ExpertKey, ModelShape } from "./shape.ts";

/** What the engine must read out of the graph for a policy. Everything not asked for is not read. */
export interface PolicyNeeds {
  /** The router's distribution over all experts of the layer (softmax, or normalised scores), per token. */
  readonly probabilities: boolean;
  /** The scores that the next MoE layer's router gives to this layer's residual stream, per token. */
  readonly nextGate: boolean;
  /** Token embedding rows of the iteration, from the model's own embedding table. */
  readonly embeddings: boolean;
  /** The router's input of the layer, per token. */
  readonly hidden: boolean;
  /** All experts of a layer are brought in before it runs, chosen or not, as systems do that do not look at the router. */
  readonly wholeLayers: boolean;
  /** Of these, what it has a substitute for where the host has none; its figures say which it used. Default: nothing. */
  readonly copesWithout?: readonly ("embeddings" | "nextGate")[];
}

export const NEEDS_NOTHING: PolicyNeeds = {
  probabilities: false,
  nextGate: false,
  embeddings: false,
  hidden: false,
  wholeLayers: false,
};

export type Phase = "prefill" | "decode";

export interface IterationStart {
  readonly phase: Phase;
  /** Counts iterations (forward passes over one micro-batch) since `begin`. */
  readonly iteration: number;
  /** Counts requests since `begin`: a prompt and what was generated for it. A long prompt has several micro-batches. */
  readonly request: number;
  /** The host's clock, ms: the engine's own or a simulated one. Never back. */
  readonly nowMs: number;
  /** Number of tokens in the micro-batch. */
  readonly tokens: number;
  /**
   * Position of the first of them in its sequence, the others after it; tokens before are those of earlier iterations with smaller
   * positions. Undefined where there are several sequences, or the host does not tell.
   */
  readonly position?: number | undefined;
  /** Token ids of the micro-batch, length `tokens`. */
  readonly tokenIds: Int32Array;
  /**
   * Row-major `[tokens][hiddenSize]`, only when `needs.embeddings`, and undefined where the model has no table of that
   * width. Reused from iteration to iteration, and may be longer.
   */
  readonly embeddings: Float32Array | undefined;
}

/**
 * One layer's router decision for a whole micro-batch. The object and its arrays are reused from layer to layer:
 * nothing may be allocated on this path, so a policy copies what it wants to keep.
 */
export interface RouterEvent {
  readonly layer: number;
  /** As in `IterationStart`. */
  readonly nowMs: number;
  readonly tokens: number;
  /** Experts that a token uses in this layer: `shape.expertsUsed`, or less where layers differ. */
  readonly expertsUsed: number;
  /** Chosen experts, best first, row-major `[tokens][expertsUsed]`. Valid up to `tokens * expertsUsed`. */
  readonly experts: Int32Array;
  /** Mixture weights of the chosen experts, same shape; all zero when the engine could not read them. */
  readonly weights: Float32Array;
  /**
   * Distinct experts of the micro-batch as keys in order of first appearance, valid up to `distinctCount`; with
   * `needs.wholeLayers` the layer's others follow.
   */
  readonly distinct: Int32Array;
  readonly distinctCount: number;
  /** `[tokens][experts]`, rows sum to 1, only when `needs.probabilities`. */
  readonly probabilities: Float32Array | undefined;
  /** `[tokens][experts]` raw scores of layer + 1 (last layer: undefined), only when `needs.nextGate`. */
  readonly nextGate: Float32Array | undefined;
  /** `[tokens][hiddenSize]`, only when `needs.hidden`; undefined where the graph does not show it. */
  readonly hidden: Float32Array | undefined;
}

/** What the cache holds, as a policy sees it. All queries are O(1) and allocate nothing. */
export interface Residents {
  /** Experts that are resident or in flight. */
  readonly count: number;
  /** The i-th of them, 0 <= i < count, in no particular order; the order changes with every insertion and eviction. */
  at(i: number): ExpertKey;
  /** Resident or in flight. */
  has(key: ExpertKey): boolean;
  /** May be evicted now: resident, complete, not pinned by the running layer, and, for a speculative read, not protected. */
  evictable(key: ExpertKey): boolean;
  readonly usedBytes: number;
  readonly budgetBytes: number;
}

/** State of the link to the slow tier when the policy is asked for a speculative read. */
export interface LinkState {
  readonly residents: Residents;
  /** MoE layer whose router ran last. */
  readonly layer: number;
  /** As in `IterationStart`. */
  readonly nowMs: number;
  /** Bytes that can still be read before the next router stop without delaying it, as the engine estimates. */
  readonly spareBytes: number;
  readonly phase: Phase;
}

/** Why an expert is read: the running layer needs it, or the policy expects that a later one will. */
export type LoadKind = "demand" | "prefetch";

/** Why room is made: the kind of the read that needs it. */
export type EvictionReason = LoadKind;

export interface Policy {
  readonly name: string;
  readonly needs: PolicyNeeds;
  /**
   * No speculative read is handed to the drive while the running layer waits for a demanded one: `prefetch` is asked
   * when the last of those has arrived. Default: reads ahead follow demanded ones at once.
   */
  readonly pausesForDemand?: boolean;
  /** `prefetch` is asked when an iteration begins, too: before its first layer's router. Default: from that router on. */
  readonly prefetchesAtStart?: boolean;
  /** Called once per opened model, before anything else. `budgetExperts` is the budget over the mean expert size. */
  begin(shape: ModelShape, budgetExperts: number): void;
  iteration(start: IterationStart): void;
  /**
   * A layer's router has decided. Called before the cache inserts or evicts anything for this layer, so that every
   * hit is touched before the first insertion (without this an LRU evicts what the same layer still needs).
   */
  routed(event: RouterEvent): void;
  /**
   * The most valuable speculative read, or NO_EXPERT. Asked repeatedly while the link has room; must not return what
   * `link.residents.has`.
   */
  prefetch(link: LinkState): ExpertKey;
  /**
   * The cache starts to read this expert, so it is one of the residents from now on. Comes for every miss and every
   * speculative read that found room (a dropped one does not), after `routed` and in the order of the reads.
   */
  loading?(key: ExpertKey, kind: LoadKind): void;
  /** A read that `loading` announced is over: the expert is complete, or absent again (called off, or failed). */
  loaded?(key: ExpertKey, complete: boolean): void;
  /**
   * An expert to give up although nothing needs its room, or NO_EXPERT. Asked repeatedly when the pins of a layer are
   * released; leave it out to keep everything that fits.
   */
  discard?(candidates: Residents): ExpertKey;
  /**
   * Which expert to give up, or NO_EXPERT to refuse (a prefetch is then dropped; a demand then evicts the first
   * evictable). Must return a key for which `candidates.evictable` holds.
   */
  victim(candidates: Residents, reason: EvictionReason, incoming: ExpertKey): ExpertKey;
  /** What it has learned, for a later run of the same policy on the same model; left out by those that learn nothing lasting. */
  learned?(): Uint8Array;
  /** What its mechanisms have done since `begin`, by names of its own: counts, and some means, quantiles and sizes. */
  figures?(): Readonly<Record<string, number>>;
  /** The model closes, or the replay is over. */
  end(): void;
}
