/**
 * The public API: a model that runs in a process of its own under a memory budget, and text that streams out of it.
 * Everything here is asynchronous and can be aborted; the work is done by `host.ts`.
 */
import type { ChatMessage, SamplerOptions } from "../llama/index.ts";
import type { CacheBias } from "../routing/cache-bias.ts";
import type { CacheBiasStatistics } from "../routing/cache-prior-router.ts";
import { type MemoryOption, memoryBudget } from "./byte-size.ts";
import type { GenerationLimits, StopReason } from "./generation.ts";
import { ModelProcess } from "./model-process.ts";
import { DEFAULT_POLICY } from "./options.ts";
import type { GenerateResult, ModelInfo, Prompt, Reply } from "./protocol.ts";
import type { RouterOption } from "./router-override.ts";
import type { SessionStatistics } from "./session.ts";
import { type ExpertCounts, expertCounts } from "./statistics.ts";

export interface OpenModelOptions {
  /**
   * Budget of all processes that belong to the model: "6GiB", "50%" (of the file), "auto" (what the machine or its cgroup has
   * left), "all" (no limit), or bytes. @default "auto"
   */
  readonly memory?: MemoryOption;
  /** Budget of the experts alone, instead of `memory`: "12MiB", "50%" (of all experts), or bytes. */
  readonly expertMemory?: MemoryOption;
  /** What stays in memory and what is read ahead, see `policyNames()`. @default "warmset" */
  readonly policy?: string;
  /**
   * Whether what a policy learns is kept for the next run with this model: "off", "auto" (in the cache folder), or a file.
   * @default "off"
   */
  readonly learned?: string;
  /** For the policy promoe: the file of a predictor of this model (`warmset train-predictor`). @default none */
  readonly predictor?: string;
  /** For the policy finemoe: a file of expert maps of this model (`warmset maps`). @default what it had learned, or none */
  readonly maps?: string;
  /**
   * File in which it is kept what prompts use, for when they come again; see docs/hints.md. Made when it does not exist.
   * @default none
   */
  readonly hints?: string;
  /**
   * Lossy: route decoded tokens to experts that are in memory where that is close enough, see docs/cache-bias.md.
   * @default the model's own routing
   */
  readonly cacheBias?: CacheBias | undefined;
  /** Tuned routers in the place of the model's own; its file is not touched. @default the model's own */
  readonly router?: RouterOption | undefined;
  /** Tokens of prompt and answer together at most. @default the smaller of 4096 and the model's own */
  readonly contextSize?: number;
  /** Tokens computed at once at most. @default 512, less when the budget needs it */
  readonly microBatchTokens?: number;
  /** Threads that compute. @default as many as the process may use */
  readonly threads?: number;
  /** Memory of our own, or the page cache. @default "owned" */
  readonly backend?: "owned" | "page-cache";
  /** How files are read. @default "auto": O_DIRECT and AIO where they work */
  readonly io?: "auto" | "direct" | "pread";
  /** Ends the opening. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (bytesRead: number, bytesTotal: number) => void;
  /** Told what goes wrong later without ending anything; `info.notes` has what is known at the opening. @default a warning of Node's */
  readonly onNote?: (text: string) => void;
  /** Only plan: `info.plan` is complete, nothing can be generated. @default false */
  readonly planOnly?: boolean;
  /** Show llama.cpp's log on stderr. @default false */
  readonly verbose?: boolean;
}

export interface GenerateOptions extends GenerationLimits, SamplerOptions {
  /** Ends the generation, also inside the prompt. */
  readonly signal?: AbortSignal;
  /**
   * What becomes of an aborted generation: rejected with the signal's reason, or resolved with what there was until
   * then and the stop reason "aborted". @default "reject"
   */
  readonly onAbort?: "reject" | "resolve";
}

export interface GenerationResult {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  /** Tokens of the prompt that were in the context from the call before. */
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  readonly stopReason: StopReason;
  /** Undefined with a temperature of 0, which draws nothing. */
  readonly seed: number | undefined;
  /** From the call to the first token. */
  readonly ttftMs: number;
  /** Time per output token after the first: mean, median and 95th percentile; 0 when there was none. */
  readonly tpotMs: { readonly mean: number; readonly p50: number; readonly p95: number };
  readonly tokensPerSecond: number;
  readonly experts: ExpertCounts;
  readonly times: SessionStatistics["times"];
  readonly peakRssBytes: number | undefined;
  /** What the policy's mechanisms have done since the model was opened; undefined when it does not tell. */
  readonly policyFigures: Readonly<Record<string, number>> | undefined;
  /** How far routing was moved since the model was opened; undefined without a cache bias, or when nothing is streamed. */
  readonly cacheBias: CacheBiasStatistics | undefined;
}

/** Text as it is generated; `result` resolves when it is complete. */
export interface Generation extends AsyncIterable<string> {
  readonly result: Promise<GenerationResult>;
}

/**
 * Opens a MoE GGUF file (any shard of a split one).
 *
 * @example
 * await using model = await openModel("model.gguf", { memory: "6GiB" });
 * for await (const piece of model.generate("Once upon a time", { maxTokens: 100 })) process.stdout.write(piece);
 *
 * @throws ModelError with the name of what went wrong: GgufError, UnsupportedModelError, ModelLoadError,
 *   BudgetTooSmallError, ...; ModelProcessError when the process died; the signal's reason when aborted.
 */
export async function openModel(path: string, options: OpenModelOptions = {}): Promise<MoeModel> {
  const memory = memoryBudget(path, options);
  const child = new ModelProcess({ verbose: options.verbose ?? false, onNote: options.onNote });
  try {
    const info = await child.request<ModelInfo>(
      {
        type: "open",
        open: {
          path,
          memory,
          policy: options.policy ?? DEFAULT_POLICY,
          learned: options.learned ?? "off",
          predictor: options.predictor,
          maps: options.maps,
          hints: options.hints,
          cacheBias: options.cacheBias,
          router: options.router,
          contextSize: options.contextSize,
          microBatchTokens: options.microBatchTokens,
          threads: options.threads,
          backend: options.backend,
          io: options.io,
          reservedBytes: process.memoryUsage.rss(),
          planOnly: options.planOnly,
          verbose: options.verbose,
        },
      },
      (reply) => {
        if (reply.type === "progress") options.onProgress?.(reply.bytesRead, reply.bytesTotal);
      },
      options.signal,
    );
    // The signal may have fired after the last read.
    options.signal?.throwIfAborted();
    return new MoeModel(child, info);
  } catch (error) {
    await child.close();
    throw error;
  }
}

export class MoeModel implements AsyncDisposable {
  readonly info: ModelInfo;
  readonly #process: ModelProcess;

  /** Use `openModel`. */
  constructor(child: ModelProcess, info: ModelInfo) {
    this.#process = child;
    this.info = info;
  }

  /** Process id of the process that runs the model. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Continues a text as it is, without a chat template. */
  generate(prompt: string | Int32Array, options: GenerateOptions = {}): Generation {
    return this.#start(
      typeof prompt === "string" ? { kind: "text", text: prompt } : { kind: "tokens", tokens: prompt },
      options,
    );
  }

  /** Answers the last message, with the model's own chat template (or `template`, Jinja). */
  chat(messages: readonly ChatMessage[], options: GenerateOptions & { readonly template?: string } = {}): Generation {
    const { template, ...rest } = options;
    return this.#start({ kind: "chat", messages, template }, rest);
  }

  /** Token ids of a text; `special` also recognises control tokens and adds what the model wants at the start. */
  tokenize(text: string, options: { readonly special?: boolean } = {}): Promise<Int32Array> {
    return this.#process.request<Int32Array>({ type: "tokenize", text, special: options.special ?? false });
  }

  /** Counters since the model was opened. */
  stats(): Promise<SessionStatistics> {
    return this.#process.request<SessionStatistics>({ type: "statistics" });
  }

  /** Frees the model; pending calls are rejected. */
  close(): Promise<void> {
    return this.#process.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(prompt: Prompt, { signal, onAbort = "reject", ...options }: GenerateOptions): Generation {
    const { maxTokens, stop, ignoreEndOfGeneration, ...sampling } = options;
    const limits: GenerationLimits = {
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(stop === undefined ? {} : { stop }),
      ...(ignoreEndOfGeneration === undefined ? {} : { ignoreEndOfGeneration }),
    };
    const pieces: string[] = [];
    let wake = () => {};
    let finished = false;
    const onReply = (reply: Reply) => {
      if (reply.type !== "piece" || reply.text === "") return;
      pieces.push(reply.text);
      wake();
    };
    const stopped = new AbortController();
    const either = signal === undefined ? stopped.signal : AbortSignal.any([signal, stopped.signal]);
    const result = this.#process
      .request<GenerateResult>({ type: "generate", generate: { prompt, sampling, limits } }, onReply, either)
      .then((reply) => {
        if (reply.summary.stopReason === "aborted" && onAbort === "reject") either.throwIfAborted();
        return toResult(reply);
      })
      .finally(() => {
        finished = true;
        wake();
      });
    // Whoever iterates gets the error there; whoever only awaits `result` gets it there.
    result.catch(() => {});
    async function* iterate(): AsyncGenerator<string> {
      try {
        for (;;) {
          const piece = pieces.shift();
          if (piece !== undefined) yield piece;
          else if (finished) break;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
        await result;
      } finally {
        // A consumer that leaves the loop early does not want the rest computed.
        if (!finished) stopped.abort();
      }
    }
    return { result, [Symbol.asyncIterator]: iterate };
  }
}

function toResult({ summary, before, after }: GenerateResult): GenerationResult {
  const sorted = [...summary.tokenMs].sort((a, b) => a - b);
  const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  const total = sorted.reduce((sum, ms) => sum + ms, 0);
  return {
    text: summary.text,
    tokens: summary.tokens,
    promptTokens: summary.promptTokens,
    cachedTokens: summary.cachedTokens,
    generatedTokens: summary.tokens.length,
    stopReason: summary.stopReason,
    seed: summary.seed,
    ttftMs: summary.promptMs,
    tpotMs: { mean: sorted.length === 0 ? 0 : total / sorted.length, p50: quantile(0.5), p95: quantile(0.95) },
    tokensPerSecond: total === 0 ? 0 : (1000 * sorted.length) / total,
    experts: expertCounts(before, after),
    times: {
      wallMs: after.times.wallMs - before.times.wallMs,
      stallMs: after.times.stallMs - before.times.stallMs,
      managementMs: after.times.managementMs - before.times.managementMs,
      predictionMs: after.times.predictionMs - before.times.predictionMs,
      computeMs: after.times.computeMs - before.times.computeMs,
    },
    peakRssBytes: after.peakBytes,
    policyFigures: after.policyFigures,
    cacheBias: after.cacheBias,
  };
}
