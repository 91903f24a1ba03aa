/**
 * What the bench and a contender's process say to each other: one message as JSON on the child's stdin, one JSON document
 * on its stdout. Types only, so that both sides and the report mean the same by each number.
 */
import type { TokenWindow } from "./held-out.ts";

/** Node's flags for every contender: V8's worker threads cost ggml's spinning threads 72 instead of 24 ms a token. */
export const CONTENDER_NODE_FLAGS: readonly string[] = ["--v8-pool-size=0"];

export interface JobBase {
  readonly modelPath: string;
  readonly windows: readonly TokenWindow[];
  /** Forced tokens at the start that are not counted, while caches fill; TTFT and bytes tell of them. */
  readonly warmupTokens: number;
  /** Threads that compute. */
  readonly threads: number;
}

export interface StockJob extends JobBase {
  readonly system: "llama.cpp";
  /** llama.cpp's `use_extra_bufts`: weights repacked for the CPU at load. Its default is true. */
  readonly repack: boolean;
}

export interface WarmsetJob extends JobBase {
  readonly system: "warmset";
  /** Budget of the whole process. */
  readonly memoryBytes: number;
  readonly policy: string;
  /** False: the same policy, demand reads only. */
  readonly prefetch: boolean;
}

export type ContenderJob = StockJob | WarmsetJob;
/** What the process finds on its stdin. */
export interface ContenderMessage {
  readonly job: ContenderJob;
  /** Date.now() just before the process was started: what "from process start" counts from. */
  readonly startedAtEpochMs: number;
}

export type SystemName = ContenderJob["system"];

/** Sums over the counted forced tokens. */
export interface ExpertFigures {
  readonly hits: number;
  readonly lateHits: number;
  readonly misses: number;
  readonly bytesDemanded: number;
  readonly bytesPrefetched: number;
  readonly bytesWasted: number;
  /** Time the computation waited for reads. */
  readonly stallMs: number;
}

export interface ContenderRun {
  readonly system: SystemName;
  /** Versions of what ran, such as `{node: "v20.20.2", llamaCpp: "v0.5.0"}`. */
  readonly versions: Readonly<Record<string, string>>;
  /** Process start to the model being ready. */
  readonly loadMs: number;
  /** Process start to the first window's prompt being computed and its next token known. */
  readonly ttftMs: number;
  /** Read from storage up to then. */
  readonly bytesBeforeFirstToken: number;
  /** One per window. */
  readonly prefillMs: readonly number[];
  /** Counted forced tokens. */
  readonly tokens: number;
  /** One per counted token. */
  readonly tpotMs: readonly number[];
  /** Counted tokens over their time. */
  readonly tokensPerSecond: number;
  readonly p50: number;
  readonly p95: number;
  /** Read from storage by this process while the counted tokens were computed (prefills between them excluded). */
  readonly bytesRead: number;
  readonly majorFaults: number;
  /** VmHWM: anonymous and mapped file pages. */
  readonly peakRssBytes: number;
  /** Most likely next token after each window's prompt and after each forced token, for comparing contenders. */
  readonly predictions: readonly number[];
  /** Only where the contender knows. */
  readonly experts: ExpertFigures | undefined;
  /** What else the contender wants kept with the result. */
  readonly details: Readonly<Record<string, unknown>>;
}
