/**
 * The messages between a program and the process that runs its model (`host.ts`). Types only. Requests carry an id and
 * are answered by exactly one `done` or `failed` with that id; a generation sends `piece` messages before.
 * Aborting is not a message, because the host does not look at messages while it computes: it is a byte of shared memory.
 */
import type { ChatMessage, SamplerOptions } from "../llama/index.ts";
import type { CacheBias } from "../routing/cache-bias.ts";
import type { GenerationLimits, GenerationSummary } from "./generation.ts";
import type { MemoryPlan } from "./memory-plan.ts";
import type { MemoryBudget } from "./options.ts";
import type { RouterOption } from "./router-override.ts";
import type { SessionStatistics } from "./session.ts";

/** What the host opens; plain data, so the policy goes by name. */
export interface OpenRequest {
  readonly path: string;
  readonly memory: MemoryBudget;
  readonly policy: string;
  /** "off", "auto", or a file, see `openPolicy`. */
  readonly learned: string;
  /** A predictor's file, for the policy that wants one. */
  readonly predictor?: string | undefined;
  /** A file of expert maps, likewise. */
  readonly maps?: string | undefined;
  /** File in which hints are kept. */
  readonly hints?: string | undefined;
  readonly cacheBias?: CacheBias | undefined;
  readonly router?: RouterOption | undefined;
  readonly contextSize?: number | undefined;
  readonly microBatchTokens?: number | undefined;
  readonly threads?: number | undefined;
  readonly backend?: "owned" | "page-cache" | undefined;
  readonly io?: "auto" | "direct" | "pread" | undefined;
  readonly reservedBytes: number;
  readonly verbose?: boolean | undefined;
  /** Stop after planning: no weights are read. */
  readonly planOnly?: boolean | undefined;
}

export interface ModelInfo {
  readonly path: string;
  /** llama.cpp's one-line description. */
  readonly description: string;
  readonly architecture: string;
  readonly contextSize: number;
  readonly trainedContextSize: number;
  readonly microBatchTokens: number;
  readonly hasChatTemplate: boolean;
  readonly policy: string;
  /** All experts are in memory; nothing is streamed. */
  readonly resident: boolean;
  readonly plan: MemoryPlan;
  readonly load: { readonly ms: number; readonly bytesRead: number };
  /** Downgrades and warnings, one sentence each. */
  readonly notes: readonly string[];
  readonly threads: number;
  /** What the llama.cpp libraries call themselves. */
  readonly llamaVersion: string;
}

export type Prompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly tokens: Int32Array }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly template?: string | undefined };

export interface GenerateRequest {
  readonly prompt: Prompt;
  readonly sampling: SamplerOptions;
  readonly limits: GenerationLimits;
}

export type Request =
  | { readonly type: "open"; readonly id: number; readonly open: OpenRequest }
  | { readonly type: "generate"; readonly id: number; readonly generate: GenerateRequest }
  | { readonly type: "tokenize"; readonly id: number; readonly text: string; readonly special: boolean }
  | { readonly type: "statistics"; readonly id: number }
  | { readonly type: "close"; readonly id: number };

export interface FailedMessage {
  readonly type: "failed";
  readonly id: number;
  readonly error: PortableError;
}

export type Reply =
  | { readonly type: "progress"; readonly id: number; readonly bytesRead: number; readonly bytesTotal: number }
  | { readonly type: "piece"; readonly id: number; readonly text: string; readonly token: number }
  | {
      readonly type: "done";
      readonly id: number;
      readonly result: ModelInfo | GenerateResult | SessionStatistics | Int32Array | undefined;
    }
  | { readonly type: "note"; readonly id: 0; readonly text: string }
  | FailedMessage;

export interface GenerateResult {
  readonly summary: GenerationSummary;
  /** Counters of the session before and after, so that the caller can tell this generation's share. */
  readonly before: SessionStatistics;
  readonly after: SessionStatistics;
}

/** An error's name, message and own data, as plain data. */
export interface PortableError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

export function toPortable(error: unknown): PortableError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: undefined, data: {} };
  const data: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error))
    if (
      key !== "name" &&
      (value === null || ["string", "number", "boolean"].includes(typeof value) || Array.isArray(value))
    )
      data[key] = value;
  return { name: error.name, message: error.message, stack: error.stack, data };
}

/** The error of the host's process with the same name, message and data; told apart by `name`. */
export class ModelError extends Error {
  override readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(error: PortableError) {
    super(error.message);
    this.name = error.name;
    this.data = error.data;
    if (error.stack !== undefined) this.stack = error.stack;
  }
}
