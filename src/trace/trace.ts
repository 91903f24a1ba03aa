/**
 * A routing trace as the rest of the program sees it: what it is of, and its samples one at a time, as typed arrays. How it
 * lies on disk is the business of the Parquet files beside this one; who reads a trace depends on nothing but this.
 */

/** What `trace.json` tells. */
export interface TraceDescription {
  readonly format: "warmset-trace";
  readonly schemaVersion: 1;
  readonly model: TracedModel;
  readonly recording: RecordingFacts;
  readonly columns: TraceColumns;
}

export interface TracedModel {
  readonly name: string;
  readonly architecture: string;
  /** SHA-256 of the header (metadata and tensor layout) of the model's files: equal for equal weights' layout; null when imported. */
  readonly hash: string | null;
  /** SHA-256 of the vocabulary's tokens; null when unknown. */
  readonly tokenizerHash: string | null;
  /** Blocks of the whole model; null when unknown. */
  readonly blocks: number | null;
  /** Block number of each MoE layer, ascending. A `layer` in a trace is an index into this. */
  readonly moeBlocks: readonly number[];
  /** Routed experts per layer (E). */
  readonly experts: number;
  /** Experts a token uses in one layer at most (k). */
  readonly expertsUsed: number;
  /** Always-active experts; null when unknown. */
  readonly sharedExperts: number | null;
  /** Bytes of one expert by MoE layer. */
  readonly expertBytes: readonly number[];
  /** Bytes of everything that is not a routed expert; null when unknown. */
  readonly denseBytes: number | null;
  /** How the router scores, such as "softmax" or "sigmoid, bias, 8 groups"; null when unknown. */
  readonly scoring: string | null;
}

export interface RecordingFacts {
  /** What wrote the trace, with its version. */
  readonly recorder: string;
  /** ISO 8601. */
  readonly date: string;
  /** "forced": the tokens were given; "generated": the model chose them (greedy or sampled). A trace may have both. */
  readonly tokensFrom: readonly ("forced" | "generated")[];
  /** Tokens of a sample at most. */
  readonly sampleLength: number;
  /** How the start of a sample was handled, such as "BOS added"; null when unknown. */
  readonly start: string | null;
  /** Anything else a reader should know, one sentence each. */
  readonly notes: readonly string[];
}

/** Optional columns that are there. */
export interface TraceColumns {
  /** Mixture weights of the chosen experts. */
  readonly weights: boolean;
  /** The router's distribution over all experts. */
  readonly probs: boolean;
  /** The router's input; its width, or 0. */
  readonly hiddenWidth: number;
  /** Token ids. */
  readonly tokens: boolean;
  /** The model's own next token and the loss of the true one. */
  readonly predictions: boolean;
}

export const PREFILL = 0;
export const DECODE = 1;
/** Fills `experts` where a layer uses fewer than k. */
export const NO_ID = 0xffff;

/**
 * Consecutive tokens of one sample, all MoE layers; a micro-batch, for one. Row-major arrays; `layers` is `moeBlocks.length`.
 * What is written has an optional column if and only if the description has it; what is read, those that were wanted.
 */
export interface TracePiece {
  /** T. */
  readonly length: number;
  /** [T] PREFILL or DECODE. */
  readonly phases: Uint8Array;
  /** [T] Number of the forward pass that computed the token, ascending within a sample from any start. */
  readonly batches: Uint32Array;
  /** [T][layers][k], best first; NO_ID after the last where a layer uses fewer (or none: it was not computed). */
  readonly experts: Uint16Array;
  /** [T][layers][k]; what stands beside NO_ID is not written. */
  readonly weights: Float32Array | undefined;
  /** [T][layers][E] */
  readonly probs: Float32Array | undefined;
  /** [T][layers][hiddenWidth] */
  readonly hidden: Float32Array | undefined;
  /** [T] */
  readonly tokens: Int32Array | undefined;
  /** [T]; negative where there is none. */
  readonly predicted: Int32Array | undefined;
  /** [T] NaN where there is none. */
  readonly loss: Float32Array | undefined;
}

/**
 * One sample, which is a piece too: the whole one, its positions 0..T-1 without gaps. Samples never join: metrics and
 * caches of the paper's convention restart at each.
 */
export interface TraceSample extends TracePiece {
  readonly sample: number;
  readonly domain: string;
}

/** Which optional columns a reader wants; reading what is not needed costs time and memory. Default: none. */
export interface WantedColumns {
  readonly weights?: boolean;
  readonly probs?: boolean;
  readonly hidden?: boolean;
  readonly tokens?: boolean;
  readonly predictions?: boolean;
}

/** A part of a trace that can be read on its own, so that workers share the work: a range of whole samples. */
export interface TracePart {
  readonly index: number;
  /** Samples in it. */
  readonly samples: number;
  /** Tokens in it, all samples together. */
  readonly tokens: number;
}

/** A trace that can be read, from a directory or from memory (tests, synthetic ones). */
export interface TraceSource {
  readonly description: TraceDescription;
  readonly parts: readonly TracePart[];
  /** The samples of a part in order. Throws TraceError for what is broken, naming the place. */
  samples(part: number, wanted?: WantedColumns): AsyncIterable<TraceSample>;
}
