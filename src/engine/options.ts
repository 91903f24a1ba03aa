/** What can be said when a model is opened, with the defaults. Sizes are bytes here; parsing "6GiB" is the command line's. */
import type { Policy } from "../cache/policy.ts";
import type { HintLink } from "../flash/hints/hint-link.ts";
import type { RouterStop } from "../llama/graph-hook.ts";
import type { openFiles } from "../memory/open-files.ts";
import type { CacheBias } from "../routing/cache-bias.ts";
import type { LearnedFile } from "./learned-file.ts";
import type { RouterOption } from "./router-override.ts";

export const DEFAULT_POLICY = "warmset";

/** How much memory may be used: of the whole process, for the experts alone, or no limit. */
export type MemoryBudget =
  | { readonly kind: "process"; readonly bytes: number }
  | { readonly kind: "experts"; readonly bytes: number }
  | { readonly kind: "all" };

/**
 * Is told every decision of a router, after the engine has acted on it and before the graph goes on. An error that it
 * throws ends the call under way and is thrown there.
 */
export type RoutingTap = (stop: RouterStop) => void;

export interface SessionHints {
  readonly link: HintLink;
  /** Model, quantisation, routers and tokenizer: what the hints are good for. */
  readonly salt: string;
}

export interface SessionOptions {
  /** @default {kind: "all"} */
  readonly memory?: MemoryBudget;
  /** @default warmset */
  readonly policy?: Policy;
  /**
   * Lossy: while experts are streamed, decoded tokens are routed to experts that are in memory where the bias says so.
   * @default the model's own routing
   */
  readonly cacheBias?: CacheBias | undefined;
  /** Tuned routers in the place of the model's own, in memory only. @default the model's own */
  readonly router?: RouterOption | undefined;
  /** Where what the policy has learned is put when the session is disposed of, see `openPolicy`. @default nowhere */
  readonly learned?: LearnedFile;
  /** What prompts used when they came before, added to the policy; closed with the session. @default no hints */
  readonly hints?: SessionHints | undefined;
  /** Tokens of one sequence at most. @default the smaller of 4096 and what the model was trained with */
  readonly contextSize?: number;
  /** Sequences side by side. @default 1 */
  readonly maxSequences?: number;
  /** Tokens computed at once at most; smaller when the budget needs it. @default 512 */
  readonly microBatchTokens?: number;
  /** Threads that compute. @default as many as the process may use */
  readonly threads?: number;
  /** Keep ggml's compute threads alive between groups of nodes while experts are streamed. @default true */
  readonly threadPool?: boolean;
  /** Spinning of idle compute threads, see `ThreadPoolOptions.poll`. @default 50, as llama.cpp's own programs */
  readonly poll?: number;
  /** Logits per batch at most. @default maxSequences */
  readonly maxOutputs?: number;
  /** Where experts live: memory of our own, the page cache, or llama.cpp's ordinary mapping. @default "owned" */
  readonly backend?: "owned" | "page-cache";
  /** How files are read. @default "auto" */
  readonly io?: "auto" | "direct" | "pread";
  /** Move pages from evicted to new experts instead of freeing them. @default true */
  readonly recyclePages?: boolean;
  /** Opens and reads the files; the seam where tests put faults and slow disks. @default openFiles of `memory/` */
  readonly openFiles?: typeof openFiles;
  /** Bytes that another process holds for this one (its parent), part of the budget. @default 0 */
  readonly reservedBytes?: number;
  /** Turns non-zero when a running call is to be given up: address of a byte. @default none */
  readonly abortAddress?: number;
  /** Called while weights are read at load. */
  readonly onProgress?: (bytesRead: number, bytesTotal: number) => void;
  /** Sees all routing, also of a model that is resident. @default nobody looks, and a resident model runs without stops */
  readonly onRouted?: RoutingTap;
  /** Stop once the plan is made: no weights are read, and nothing can be generated. @default false */
  readonly planOnly?: boolean;
  /** Copy llama.cpp's log to stderr. @default false */
  readonly verbose?: boolean;
}
