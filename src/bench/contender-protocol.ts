/**
 * What the bench and a contender's process say to each other: one message as JSON on the child's stdin, one JSON document
 * on its stdout. Types only, so that both sides and the report mean the same by each number.
 */
import type { SessionOptions } from "../engine/options.ts";
import type { TokenWindow } from "./held-out.ts";

/** Node's flags for every contender: V8's worker threads take cores from ggml's (`npm run bench:process`). */
export const CONTENDER_NODE_FLAGS: readonly string[] = ["--v8-pool-size=0"];

export interface JobBase {
  readonly modelPath: string;
  readonly windows: readonly TokenWindow[];
  /** Forced tokens at the start that are not counted, while caches fill; TTFT and bytes tell of them. */
  readonly warmupTokens: number;
  /** Threads that compute. */
  readonly threads: number;
  /** @default CONTENDER_NODE_FLAGS */
  readonly nodeFlags?: readonly string[] | undefined;
}

export interface StockJob extends JobBase {
  readonly system: "llama.cpp";
  /** llama.cpp's `use_extra_bufts`: weights repacked for the CPU at load. Its default is true. */
  readonly repack: boolean;
}

/** What of a session an ablation changes; what is left out is the engine's default. */
export type SessionVariant = Pick<SessionOptions, "recyclePages" | "threadPool" | "poll" | "io" | "backend">;

export interface WarmsetJob extends JobBase {
  readonly system: "warmset";
  /** Budget of the whole process. */
  readonly memoryBytes: number;
  readonly policy: string;
  /** False: the same policy, demand reads only. */
  readonly prefetch: boolean;
  /** File of a predictor, for the policy that wants one. */
  readonly predictorFile?: string | undefined;
  /** Tuned routers in the place of the model's own. */
  readonly router?: SessionOptions["router"];
  /** @default the engine's defaults */
  readonly variant?: SessionVariant | undefined;
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

/** Where the time of the counted forced tokens went, and how often the graph was stopped in them; sums. */
export interface StepFigures {
  /** Inside llama.cpp's decode, with what it calls; the sum of the four that follow. */
  readonly wallMs: number;
  readonly computeMs: number;
  readonly stallMs: number;
  readonly managementMs: number;
  readonly predictionMs: number;
  readonly graphStops: number;
}

/** The model's bytes that were read until the first prompt was computed, beside those that had to be. */
export interface FirstPromptBytes {
  /** Read from the model's file, in whole pages: dense weights and experts. Node and its libraries are not in it. */
  readonly readBytes: number;
  /** Dense weights and the experts that the prompt used, in whole pages, as `rule` says. */
  readonly neededBytes: number;
  /**
   * How often an expert may be read: once, unless the prompt took several micro-batches and its experts do not fit the
   * budget together. Then each micro-batch may read its experts once.
   */
  readonly rule: "once" | "once per micro-batch";
  readonly microBatches: number;
  /** Distinct experts of the prompt, all layers. */
  readonly experts: number;
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
  /** Only where the contender knows. */
  readonly steps: StepFigures | undefined;
  /** Undefined for llama.cpp, and where everything is resident. */
  readonly firstPrompt: FirstPromptBytes | undefined;
  /** What else the contender wants kept with the result. */
  readonly details: Readonly<Record<string, unknown>>;
}
