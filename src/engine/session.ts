/**
 * One open model in this process: its weights in place, its context, and the synchronous calls that feed it tokens.
 * It holds the thread while a batch is computed, so it runs in a process of its own (`host.ts`); tests and benches use
 * it directly. Sampling and text are not its business.
 */
import fs from "node:fs";
import type { Phase } from "../cache/policy.ts";
import type { CacheStatistics } from "../cache/statistics.ts";
import type { GraphHook } from "../llama/graph-hook.ts";
import { Batch, type Context, type Model } from "../llama/index.ts";
import { viewMemory } from "../memory/libc.ts";
import type { CacheBiasStatistics } from "../routing/cache-prior-router.ts";
import { ContextFullError, DecodeError, ExpertReadError, GenerationAbortedError, ModelChangedError } from "./errors.ts";
import type { ExpertStream } from "./expert-stream.ts";
import { type LearnedFile, writeLearned } from "./learned-file.ts";
import type { MemoryPlan } from "./memory-plan.ts";
import { processMemory } from "./process-memory.ts";

/** A model file that is read while the model runs, as it was when it was opened. */
export interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  readonly bytes: number;
  readonly changedMs: number;
}

/** What `openSession` has put together. */
export interface SessionParts {
  readonly path: string;
  readonly model: Model;
  readonly context: Context;
  readonly plan: MemoryPlan;
  readonly microBatchTokens: number;
  /** Undefined when all experts are resident. */
  readonly streaming: { readonly stream: ExpertStream } | undefined;
  /** Where the policy's learning goes at the end. */
  readonly learned: LearnedFile | undefined;
  /** Undefined when nobody watches the graph: all experts are resident, and no tap was wanted. */
  readonly hook: GraphHook | undefined;
  readonly files: readonly OpenFile[];
  readonly load: { readonly ms: number; readonly bytesRead: number };
  readonly notes: readonly string[];
  readonly abortAddress: number | undefined;
  /** Bytes read from the files so far. */
  readonly bytesRead: () => number;
  /** Gives everything back, in order. */
  readonly dispose: () => void;
}

export interface SessionTimes {
  /** Time inside `decode` calls. */
  readonly wallMs: number;
  readonly stallMs: number;
  readonly managementMs: number;
  readonly predictionMs: number;
  /** What is left: ggml's computing, with the questions it asks of us. */
  readonly computeMs: number;
}

export interface SessionStatistics {
  readonly cache: CacheStatistics | undefined;
  readonly times: SessionTimes;
  readonly bytesRead: number;
  readonly recycledBytes: number;
  readonly graphStops: number;
  readonly graphAsks: number;
  readonly residentBytes: number;
  readonly peakBytes: number | undefined;
  readonly bandwidthBytesPerMs: number;
  /** What the policy's mechanisms have done, see `Policy.figures`; undefined when it does not tell, or nothing is streamed. */
  readonly policyFigures: Readonly<Record<string, number>> | undefined;
  /** How far routing was moved by `SessionOptions.cacheBias`; undefined without it, or when nothing is streamed. */
  readonly cacheBias: CacheBiasStatistics | undefined;
}

export class Session implements Disposable {
  readonly path: string;
  readonly model: Model;
  readonly context: Context;
  readonly plan: MemoryPlan;
  readonly microBatchTokens: number;
  readonly load: { readonly ms: number; readonly bytesRead: number };
  /** What the user should know: downgrades and warnings. */
  readonly notes: readonly string[];
  readonly #parts: SessionParts;
  readonly #batch: Batch;
  readonly #abort: Uint8Array | undefined;
  #iteration = 0;
  #request = -1;
  #requestAnnounced = false;
  #wallMs = 0;
  #disposed = false;

  /** Use `openSession`. */
  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.path = parts.path;
    this.model = parts.model;
    this.context = parts.context;
    this.plan = parts.plan;
    this.microBatchTokens = parts.microBatchTokens;
    this.load = parts.load;
    this.notes = parts.notes;
    this.#batch = new Batch({ capacity: parts.microBatchTokens, sequencesPerToken: 1 });
    this.#abort = parts.abortAddress === undefined ? undefined : new Uint8Array(viewMemory(parts.abortAddress, 1));
  }

  get resident(): boolean {
    return this.#parts.streaming === undefined;
  }

  get stream(): ExpertStream | undefined {
    return this.#parts.streaming?.stream;
  }

  /**
   * What is fed next begins a new request, whatever it looks like: of a prompt whose start is in the context already a
   * single token may be left. Without this, a request begins at position 0 and with several tokens at once.
   */
  startRequest(): void {
    this.#request++;
    this.#requestAnnounced = true;
  }

  /**
   * Appends tokens to a sequence whose next position is `position`, in micro-batches, and returns the logits of the
   * last one (valid until the next call). On any error the sequence is back where it was; recurrent and hybrid models
   * cannot go back, so theirs is empty then.
   * @throws GenerationAbortedError, ExpertReadError, ModelChangedError, ContextFullError, DecodeError
   */
  feed(tokens: readonly number[] | Int32Array, position: number, sequence = 0): Float32Array {
    if (tokens.length === 0) throw new RangeError("feed needs at least one token");
    if (position + tokens.length > this.context.contextSize)
      throw new ContextFullError(position + tokens.length, this.context.contextSize);
    const phase: Phase = tokens.length > 1 ? "prefill" : "decode";
    // A prompt from the start, or what a user added: text that was not generated.
    if (this.#requestAnnounced) this.#requestAnnounced = false;
    else if (position === 0 || phase === "prefill") this.#request++;
    try {
      for (let from = 0; from < tokens.length; from += this.microBatchTokens) {
        const to = Math.min(from + this.microBatchTokens, tokens.length);
        const batch = this.#batch;
        batch.clear();
        for (let i = from; i < to; i++) batch.add(tokens[i], position + i, sequence, i === tokens.length - 1);
        // Policies follow one sequence, the first.
        const at = sequence === 0 ? position + from : undefined;
        this.#compute(batch, phase, Int32Array.from(tokens.slice(from, to)), at);
      }
    } catch (error) {
      if (!this.context.removePositions(sequence, position)) this.context.removePositions(sequence);
      throw error;
    }
    return this.context.logits(-1);
  }

  /**
   * Computes one batch of any tokens of any sequences, at most `microBatchTokens` of them. Logits are read from
   * `context.logits(index)`. A prompt counts as a request of its own.
   */
  decode(batch: Batch, phase: Phase, tokenIds: Int32Array): void {
    if (phase === "prefill" || this.#request < 0) this.#request++;
    this.#compute(batch, phase, tokenIds);
  }

  statistics(): SessionStatistics {
    const { streaming, hook } = this.#parts;
    const times = streaming?.stream.times ?? { stallMs: 0, managementMs: 0, predictionMs: 0 };
    const memory = processMemory();
    return {
      cache: streaming?.stream.cache.statistics(),
      times: {
        wallMs: this.#wallMs,
        ...times,
        // Prediction and management are measured apart although one happens inside the other.
        managementMs: times.managementMs - times.predictionMs,
        computeMs: this.#wallMs - times.stallMs - times.managementMs,
      },
      bytesRead: this.#parts.bytesRead(),
      recycledBytes: streaming?.stream.recycledBytes ?? 0,
      graphStops: hook?.stops ?? 0,
      graphAsks: hook?.asks ?? 0,
      residentBytes: memory.residentBytes,
      peakBytes: memory.peakBytes,
      bandwidthBytesPerMs: streaming?.stream.link.bytesPerMs ?? 0,
      policyFigures: streaming?.stream.cache.policy.figures?.(),
      cacheBias: streaming?.stream.cacheBias,
    };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#closePolicy();
    this.#batch.dispose();
    this.#parts.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #closePolicy(): void {
    const { streaming, learned } = this.#parts;
    if (streaming === undefined) return;
    const { cache } = streaming.stream;
    try {
      const bytes = learned === undefined ? undefined : cache.policy.learned?.();
      cache.close();
      if (learned !== undefined && bytes !== undefined) writeLearned(learned, bytes);
    } catch (error) {
      // Neither a full disk nor a policy that has broken (its call has told) may keep the model's memory; the model was
      // used, and what was learned can be learned again.
      process.emitWarning(`What ${learned?.policy ?? cache.policy.name} has learned is lost: ${String(error)}`);
    }
  }

  #compute(batch: Batch, phase: Phase, tokenIds: Int32Array, position?: number): void {
    const { streaming, hook } = this.#parts;
    this.#checkFiles();
    hook?.begin();
    streaming?.stream.begin(phase, this.#iteration++, this.#request, tokenIds, position);
    const start = performance.now();
    const result = this.context.decode(batch);
    this.#wallMs += performance.now() - start;
    streaming?.stream.finished();
    if (this.#abort !== undefined && this.#abort[0] !== 0) throw new GenerationAbortedError();
    if (hook?.error !== undefined) throw this.#explain(hook.error);
    // The byte may have been cleared since the stream saw it.
    if (hook?.abandoned === true) throw new GenerationAbortedError();
    if (result.status === "ok") return;
    if (result.status === "aborted") throw new GenerationAbortedError();
    if (result.status === "no-slot") throw new ContextFullError(batch.length, this.context.contextSize);
    throw new DecodeError(result.code, result.log);
  }

  /** A read error of a file that was changed meanwhile is told as what it is. */
  #explain(error: unknown): unknown {
    if (error instanceof ExpertReadError && error.errno !== 0) this.#checkFiles();
    return error;
  }

  #checkFiles(): void {
    for (const file of this.#parts.files) {
      // Through the descriptor: a file that was deleted or replaced is still whole for us, one written to is not.
      const stat = fs.fstatSync(file.descriptor);
      if (stat.size !== file.bytes || stat.mtimeMs !== file.changedMs) throw new ModelChangedError(file.path);
    }
  }
}
