/**
 * The public way to record a trace: checks what can be checked at once, starts the process that records
 * (`recorder-process.ts`), passes its progress on and turns its end into a result or an error.
 */
import fs from "node:fs";
import { compiledModule } from "../../compiled-module.ts";
import { type MemoryOption, memoryBudget } from "../../engine/byte-size.ts";
import { runJobProcess } from "../../engine/job-process.ts";
import { DEFAULT_POLICY } from "../../engine/options.ts";
import type { RouterOption } from "../../engine/router-override.ts";
import type { Prompt } from "../../workload/prompt.ts";
import { TraceError } from "../trace-error.ts";
import { traceJsonPath } from "../trace-json.ts";
import { RecordingInputError } from "./errors.ts";
import type { RecorderEvent } from "./recorder-process.ts";
import type {
  GenerateSettings,
  PromptFormat,
  RecordingJob,
  RecordingProgress,
  RecordingSummary,
} from "./recording-job.ts";
import { checkTextFile, type TextFile } from "./text-samples.ts";

export interface RecordTraceOptions {
  /** GGUF file of a MoE model, any shard of a split one. */
  readonly model: string;
  /** Texts to record; the domain of each is its file's name without ending unless it says another. */
  readonly texts?: readonly (string | TextFile)[];
  /** Or prompts, each a sample with what the model goes on with; see `readPrompts` and `selectPrompts` of `warmset/workload`. */
  readonly prompts?: readonly Prompt[];
  /**
   * Conversations by the model's chat template and texts as they are ("given"), or all prompts by it ("chat"), or all
   * without it ("raw"). @default "given"
   */
  readonly promptFormat?: PromptFormat;
  /** Directory of the trace. There must be none in it, unless `resume`. */
  readonly directory: string;
  /** Go on with what an interrupted recording left there, if there is any. @default false */
  readonly resume?: boolean;
  /** Tokens of a sample. @default 512 */
  readonly sampleLength?: number;
  /** Samples of each text at most, from its start on. @default all */
  readonly samples?: number;
  /** Keep the routers' distributions over all experts. @default false */
  readonly probs?: boolean;
  /** Keep the routers' inputs. @default false */
  readonly hidden?: boolean;
  /** Let the model go on from the start of each sample instead of giving it all. @default texts are given whole */
  readonly generate?: RecordGeneration;
  /** Budget of all processes: "6GiB", "50%" (of the file), "auto", "all", or bytes. @default "auto" */
  readonly memory?: MemoryOption;
  /** Budget of the experts alone, instead of `memory`. */
  readonly expertMemory?: MemoryOption;
  /** What stays in memory when not all does, see `policyNames()`. @default "warmset" */
  readonly policy?: string;
  /** Tuned routers in the place of the model's own. @default the model's own */
  readonly router?: RouterOption | undefined;
  /** Tokens computed at once at most. @default 512, less when the budget needs it */
  readonly microBatchTokens?: number;
  /** Threads that compute. @default as many as the process may use */
  readonly threads?: number;
  /** Memory of our own, or the page cache. @default "owned" */
  readonly backend?: "owned" | "page-cache";
  /** How files are read. @default "auto" */
  readonly io?: "auto" | "direct" | "pread";
  /** Ends the recording at the next layer; whole samples stay, and `resume` goes on from there. */
  readonly signal?: AbortSignal;
  /** Called while weights are read. */
  readonly onLoad?: (bytesRead: number, bytesTotal: number) => void;
  readonly onProgress?: (progress: RecordingProgress) => void;
  /** Sentences for the trace's description, such as where the prompts are from. @default none */
  readonly notes?: readonly string[];
  /** Show llama.cpp's log on stderr. @default false */
  readonly verbose?: boolean;
}

export interface RecordGeneration {
  /** Tokens to generate; fewer when the model ends. Texts need it. @default each prompt's own `outputTokens` */
  readonly tokens?: number;
  /** Tokens of a sample's start, or of a prompt at most. @default 32 of a text, all of a prompt */
  readonly promptTokens?: number;
  /** Go on after the model's end-of-generation token. @default false */
  readonly ignoreEndOfGeneration?: boolean;
  /** 0 always takes the most likely token. @default 0.8 */
  readonly temperature?: number;
  /** @default 40 */
  readonly topK?: number;
  /** @default 0.95 */
  readonly topP?: number;
  /** @default 0.05 */
  readonly minP?: number;
  /** Of the first sample; each later one has the next number, so that a resumed recording draws the same. @default 0 */
  readonly seed?: number;
}

const DEFAULT_SAMPLE_LENGTH = 512;

/**
 * Records the routing of a model over texts into a directory of Parquet files.
 *
 * @example
 * await recordTrace({ model: "model.gguf", texts: ["prose.txt", "code.txt"], directory: "trace" });
 *
 * @throws RecordingInputError for texts and settings; TraceError for the directory; ModelError with the name of what went
 *   wrong in the model's process; ModelProcessError when that died; the signal's reason when aborted
 */
export async function recordTrace(options: RecordTraceOptions): Promise<RecordingSummary> {
  options.signal?.throwIfAborted();
  const job = recordingJob(options);
  for (const text of job.texts) checkTextFile(text);
  const existing = traceJsonPath(job.directory);
  if (!job.resume && fs.existsSync(existing))
    throw new TraceError(
      "exists",
      { file: existing },
      "is already there. Resume that trace, remove it, or choose another directory.",
    );
  const { signal, onLoad, onProgress } = options;
  const program = compiledModule(import.meta.url, "./recorder-process.js");
  return await runJobProcess<RecordingJob, RecorderEvent, RecordingSummary>(program, job, {
    ...{ verbose: job.engine.verbose, signal },
    onEvent: (event) => {
      if (event.type === "loading") onLoad?.(event.bytesRead, event.bytesTotal);
      else onProgress?.(event.progress);
    },
  });
}

/** @throws RecordingInputError, ByteSizeError, GgufError, UnsupportedModelError */
function recordingJob(options: RecordTraceOptions): RecordingJob {
  const { model, directory, texts = [], prompts, samples, microBatchTokens, threads, backend, io } = options;
  const sampleLength = options.sampleLength ?? DEFAULT_SAMPLE_LENGTH;
  // A prompt that nothing comes after would be a text.
  const generate = options.generate ?? (prompts === undefined ? undefined : {});
  if (texts.length === 0 && (prompts ?? []).length === 0)
    throw new RecordingInputError("no-text", "No text. Give at least one file or prompt to record.");
  if (texts.length > 0 && prompts !== undefined)
    throw new RecordingInputError("option", "Give texts or prompts, not both.");
  if (prompts === undefined && generate !== undefined && generate.tokens === undefined)
    throw new RecordingInputError("option", "Say how many tokens the model goes on for.");
  // A sample of one token has no next one, and its segments no length.
  wholeNumber("sampleLength", sampleLength, 2);
  if (samples !== undefined) wholeNumber("samples", samples, 1);
  if (microBatchTokens !== undefined) wholeNumber("microBatchTokens", microBatchTokens, 1);
  return {
    model,
    directory,
    texts: texts.map((text) => (typeof text === "string" ? { path: text } : text)),
    prompts: prompts === undefined ? undefined : { list: prompts, format: options.promptFormat ?? "given" },
    notes: options.notes,
    resume: options.resume ?? false,
    sampleLength,
    samples,
    generate: generate === undefined ? undefined : generation(generate),
    probs: options.probs ?? false,
    hidden: options.hidden ?? false,
    engine: {
      memory: memoryBudget(model, options),
      policy: options.policy ?? DEFAULT_POLICY,
      router: options.router,
      microBatchTokens,
      threads,
      backend,
      io,
      reservedBytes: process.memoryUsage.rss(),
      verbose: options.verbose ?? false,
    },
  };
}

function generation(options: RecordGeneration): GenerateSettings {
  const { tokens, promptTokens, ignoreEndOfGeneration = false, seed = 0 } = options;
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0.05 } = options;
  if (tokens !== undefined) wholeNumber("tokens to generate", tokens, 1);
  if (promptTokens !== undefined) wholeNumber("promptTokens", promptTokens, 1);
  wholeNumber("seed", seed, 0);
  return { tokens, promptTokens, ignoreEndOfGeneration, temperature, topK, topP, minP, seed };
}

function wholeNumber(name: string, value: number, smallest: number): void {
  if (!Number.isSafeInteger(value) || value < smallest)
    throw new RecordingInputError("option", `${name} must be a whole number from ${smallest} on, not ${value}.`);
}
