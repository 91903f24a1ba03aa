/**
 * A llama.cpp context: the KV cache of one or several sequences, the compute buffers and the decode call. All calls are
 * synchronous and block until the graph is computed. Which tokens to decode, and when to stop, is the engine's.
 */
import { availableParallelism } from "node:os";
import koffi from "koffi";
import type { Batch } from "./batch.ts";
import { ContextCreateError } from "./errors.ts";
import { NativeHandle } from "./handle.ts";
import type { Model } from "./model.ts";
import { FlashAttention, GgmlType, type NativePointer } from "./structs.ts";

export interface ContextOptions {
  /** Tokens that each sequence can hold; llama.cpp rounds up to a multiple of 256. */
  readonly contextSize: number;
  /** Sequences that can be decoded side by side, ids 0 to maxSequences - 1. Default 1. */
  readonly maxSequences?: number;
  /** Most tokens of one `decode` call. Default 512. */
  readonly batchSize?: number;
  /** Most tokens computed at once; `decode` splits a larger batch. Default 512. */
  readonly microBatchSize?: number;
  /**
   * Most tokens of one batch that want logits. llama.cpp reserves vocabulary x this x 4 bytes of compute memory, which
   * for 150,000 tokens and its own default, the whole batch, is 300 MB. Raise it to score texts. Default maxSequences.
   */
  readonly maxOutputs?: number;
  /** Threads when one token is computed. Default: as many as the process may use. */
  readonly threads?: number;
  /** Threads when several tokens are computed. Default: threads. */
  readonly batchThreads?: number;
  /** Type of the keys in the cache. Default F16. */
  readonly typeK?: GgmlType;
  /** Type of the values in the cache; a quantised one needs flash attention. Default F16. */
  readonly typeV?: GgmlType;
  /** Default "auto": on wherever the CPU back end supports it. */
  readonly flashAttention?: "auto" | "on" | "off";
  /**
   * One pool of `contextSize x maxSequences` cells that all sequences share, instead of one of `contextSize` each. A
   * sequence may then grow beyond `contextSize` and a shared prefix is stored once, but every sequence attends over
   * the cells of all: beside a neighbour of 400 tokens a step of the demo model took 1.6 times as long and its logits
   * moved by up to 0.1, where separate caches gave the same bits. Default false.
   */
  readonly unifiedCache?: boolean;
  /**
   * Keep all positions of layers with a sliding window, not the window only. Costs memory on models that have one; without
   * it a prefix older than the window is gone and cannot be reused. Default true, as in llama.cpp.
   */
  readonly fullSlidingWindow?: boolean;
  /** Compute the embeddings of all tokens of a batch, for `Context.embeddings`. Default false. */
  readonly embeddings?: boolean;
  /** Native `ggml_backend_sched_eval_callback`, see `registerEvalCallback`. Default none. */
  readonly evalCallback?: NativePointer;
  /** Native `bool (*)(void *)`, asked after each graph node; true aborts `decode`. Default none. */
  readonly abortCallback?: NativePointer;
  /** What the abort callback is called with. Default NULL. */
  readonly abortUser?: NativePointer;
}

/**
 * What became of a `decode` call.
 * - `ok`: computed; logits can be read.
 * - `no-slot`: the cache has no room for the batch; nothing changed. Make the batch or the cache's contents smaller.
 * - `aborted`: the abort callback said so. Whole micro-batches that were done stay in the cache: ask `lastPosition`.
 * - `failed`: `code` -1 is an invalid batch (nothing changed), below that a failed computation (as after `aborted`).
 */
export type DecodeResult =
  | { readonly status: "ok" }
  | { readonly status: "no-slot" }
  | { readonly status: "aborted" }
  | { readonly status: "failed"; readonly code: number; readonly log: readonly string[] };

const OK: DecodeResult = { status: "ok" };
const NO_SLOT: DecodeResult = { status: "no-slot" };
const ABORTED: DecodeResult = { status: "aborted" };

export interface ContextTimings {
  /** Computing batches of several tokens. */
  readonly promptMs: number;
  readonly promptTokens: number;
  /** Computing batches of one token. */
  readonly evalMs: number;
  readonly evalTokens: number;
  /** Calls that reused the previous graph instead of building a new one. */
  readonly graphsReused: number;
}

/** Views of result rows that are kept; each is only a few words on the JavaScript side. */
const KEPT_VIEWS = 256;

/** @throws ContextCreateError with llama.cpp's own reason */
export function createContext(model: Model, options: ContextOptions): Context {
  const { llama, log } = model.libraries;
  const { maxSequences = 1, batchSize = 512, microBatchSize = 512, embeddings = false } = options;
  const { threads = availableParallelism(), batchThreads = threads } = options;
  const params = llama.llama_context_default_params();
  params.n_ctx = options.contextSize * maxSequences;
  params.n_seq_max = maxSequences;
  params.n_batch = batchSize;
  params.n_ubatch = Math.min(microBatchSize, batchSize);
  // 0 means the whole batch, which embeddings need; fewer than n_seq_max aborts the process
  // (GGML_ASSERT in output_reserve, src/llama-context.cpp:2260).
  params.n_outputs_max = embeddings ? 0 : Math.max(options.maxOutputs ?? maxSequences, maxSequences);
  params.n_threads = threads;
  params.n_threads_batch = batchThreads;
  params.type_k = options.typeK ?? GgmlType.F16;
  params.type_v = options.typeV ?? GgmlType.F16;
  params.flash_attn_type = { auto: FlashAttention.AUTO, on: FlashAttention.ENABLED, off: FlashAttention.DISABLED }[
    options.flashAttention ?? "auto"
  ];
  params.cb_eval = options.evalCallback ?? null;
  params.abort_callback = options.abortCallback ?? null;
  params.abort_callback_data = options.abortUser ?? null;
  params.embeddings = embeddings;
  params.offload_kqv = false;
  params.op_offload = false;
  params.no_perf = false;
  params.swa_full = options.fullSlidingWindow ?? true;
  params.kv_unified = options.unifiedCache ?? false;
  log.clear();
  const address = llama.llama_init_from_model(model.handle.address, params);
  if (address === null) throw new ContextCreateError(log.problems());
  return new Context(model, address, {
    maxSequences,
    maxOutputs: embeddings ? llama.llama_n_batch(address) : params.n_outputs_max,
    unifiedCache: params.kv_unified,
  });
}

export class Context implements Disposable {
  readonly model: Model;
  readonly handle: NativeHandle;
  readonly maxSequences: number;
  readonly maxOutputs: number;
  readonly unifiedCache: boolean;
  /** Cells of the cache over all sequences. */
  readonly cells: number;
  /** Tokens that one sequence can hold, after llama.cpp's rounding; all cells with a unified cache. */
  readonly contextSize: number;
  readonly batchSize: number;
  readonly microBatchSize: number;
  readonly #memory: NativePointer;
  readonly #views = new Map<number, Float32Array>();

  /** Use `createContext`. */
  constructor(
    model: Model,
    address: NativePointer,
    settings: { readonly maxSequences: number; readonly maxOutputs: number; readonly unifiedCache: boolean },
  ) {
    const { llama } = model.libraries;
    this.model = model;
    this.handle = new NativeHandle("context", address, llama.llama_free, model.handle);
    this.maxSequences = settings.maxSequences;
    this.maxOutputs = settings.maxOutputs;
    this.unifiedCache = settings.unifiedCache;
    this.cells = llama.llama_n_ctx(address);
    this.contextSize = llama.llama_n_ctx_seq(address);
    this.batchSize = llama.llama_n_batch(address);
    this.microBatchSize = llama.llama_n_ubatch(address);
    const memory = llama.llama_get_memory(address);
    if (memory === null) {
      this.handle.dispose();
      throw new ContextCreateError([`${model.description} has no decoder`]);
    }
    this.#memory = memory;
  }

  /**
   * Computes the batch and adds its tokens to the cache.
   * @throws RangeError if the batch is empty, larger than `batchSize` or wants more than `maxOutputs` logits (llama.cpp
   * would end the process)
   */
  decode(batch: Batch): DecodeResult {
    const { llama, log } = this.model.libraries;
    if (batch.length === 0 || batch.length > this.batchSize) {
      throw new RangeError(`decode takes 1 to ${this.batchSize} tokens, not ${batch.length}`);
    }
    if (batch.outputCount > this.maxOutputs) {
      throw new RangeError(
        `The batch wants ${batch.outputCount} logits, but the context was made with maxOutputs ${this.maxOutputs}`,
      );
    }
    log.clear();
    const code = llama.llama_decode(this.handle.address, batch.nativeStruct());
    if (code === 0) return OK;
    if (code === 1) return NO_SLOT;
    if (code === 2) return ABORTED;
    return { status: "failed", code, log: log.problems() };
  }

  /**
   * The logits of the batch's `index`-th token (-1: the last output), one per vocabulary entry. This is llama.cpp's own
   * memory, not a copy: it is overwritten by the next `decode` and must not be touched after `dispose()`.
   * @throws RangeError if that token did not want logits
   */
  logits(index: number): Float32Array {
    const row = this.model.libraries.llama.llama_get_logits_ith(this.handle.address, index);
    if (row === 0) throw new RangeError(`The last batch has no logits at index ${index}`);
    return this.#view(row, this.model.vocabulary.size);
  }

  /**
   * Address of the logits of all tokens of the last batch that wanted them, `[outputs][vocabulary]` floats in the batch's
   * order, with the same lifetime as `logits`. For scoring whole texts, where a view of each row would cost more than
   * what is done with it.
   * @throws RangeError if no token wanted logits
   */
  logitsAddress(): number {
    const rows = this.model.libraries.llama.llama_get_logits(this.handle.address);
    if (rows === 0) throw new RangeError("The last batch has no logits");
    return rows;
  }

  /**
   * The embedding of the batch's `index`-th token, `hiddenSize` values, with the same lifetime as `logits`.
   * @throws RangeError without `ContextOptions.embeddings`
   */
  embeddings(index: number): Float32Array {
    const row = this.model.libraries.llama.llama_get_embeddings_ith(this.handle.address, index);
    if (row === 0) throw new RangeError(`The last batch has no embeddings at index ${index}`);
    return this.#view(row, this.model.hiddenSize);
  }

  /**
   * Removes the positions [from, to) of a sequence; `to` -1 means to the end.
   * @returns false if the model cannot: recurrent and hybrid ones only remove whole sequences
   */
  removePositions(sequence: number, from = 0, to = -1): boolean {
    this.#checkSequence(sequence);
    return this.model.libraries.llama.llama_memory_seq_rm(this.#liveMemory(), sequence, from, to);
  }

  /**
   * Makes `target` hold what `source` holds, or the first `positions` of it; what `target` held is dropped. With a unified
   * cache the two share cells; otherwise the keys and values are copied at the next `decode`.
   * @returns false if the model cannot cut the copy at `positions`, and `target` is then empty
   */
  copySequence(source: number, target: number, positions = -1): boolean {
    this.#checkSequence(source);
    this.#checkSequence(target);
    if (source === target) throw new RangeError(`Sequence ${source} cannot be copied onto itself`);
    const { llama } = this.model.libraries;
    const memory = this.#liveMemory();
    llama.llama_memory_seq_rm(memory, target, -1, -1);
    if (positions === 0) return true;
    // Between separate caches only a whole copy is allowed: a partial one aborts the process
    // (GGML_ASSERT is_full in src/llama-kv-cache.cpp, seq_cp). So copy all, then cut.
    llama.llama_memory_seq_cp(memory, source, target, -1, -1);
    if (positions < 0 || llama.llama_memory_seq_rm(memory, target, positions, -1)) return true;
    llama.llama_memory_seq_rm(memory, target, -1, -1);
    return false;
  }

  /** Drops all sequences but this one. */
  keepSequence(sequence: number): void {
    this.#checkSequence(sequence);
    // Not llama_memory_seq_keep: between separate caches it leaves the other sequences as they are.
    for (let other = 0; other < this.maxSequences; other++) if (other !== sequence) this.removePositions(other);
  }

  /** Oldest position that is in the cache, -1 if the sequence is empty. Above 0 when a sliding window dropped some. */
  firstPosition(sequence: number): number {
    this.#checkSequence(sequence);
    return this.model.libraries.llama.llama_memory_seq_pos_min(this.#liveMemory(), sequence);
  }

  /** Newest position that is in the cache, -1 if the sequence is empty. */
  lastPosition(sequence: number): number {
    this.#checkSequence(sequence);
    return this.model.libraries.llama.llama_memory_seq_pos_max(this.#liveMemory(), sequence);
  }

  /** Empties the cache. The old keys and values are left in memory, unreachable. */
  clear(): void {
    this.model.libraries.llama.llama_memory_clear(this.#liveMemory(), false);
  }

  setThreads(threads: number, batchThreads: number = threads): void {
    this.model.libraries.llama.llama_set_n_threads(this.handle.address, threads, batchThreads);
  }

  /** What llama.cpp itself measured since the context was made or `resetTimings`. */
  timings(): ContextTimings {
    const t = this.model.libraries.llama.llama_perf_context(this.handle.address);
    return {
      promptMs: Number(t.t_p_eval_ms),
      promptTokens: Number(t.n_p_eval),
      evalMs: Number(t.t_eval_ms),
      evalTokens: Number(t.n_eval),
      graphsReused: Number(t.n_reused),
    };
  }

  resetTimings(): void {
    this.model.libraries.llama.llama_perf_context_reset(this.handle.address);
  }

  dispose(): void {
    this.#views.clear();
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * A view costs an ArrayBuffer and counts as vocabulary x 4 bytes for V8's collector, so views are kept by address. An
   * address that llama.cpp has just returned is valid for the whole row, whatever lay there before.
   */
  #view(address: number, length: number): Float32Array {
    let view = this.#views.get(address);
    if (view === undefined || view.length !== length) {
      if (this.#views.size >= KEPT_VIEWS) this.#views.clear();
      view = new Float32Array(koffi.view(BigInt(address), length * 4));
      this.#views.set(address, view);
    }
    return view;
  }

  #liveMemory(): NativePointer {
    this.handle.assertUsable();
    return this.#memory;
  }

  /** An id out of range would end the process in a GGML_ASSERT. */
  #checkSequence(sequence: number): void {
    if (!Number.isInteger(sequence) || sequence < 0 || sequence >= this.maxSequences) {
      throw new RangeError(`Sequence ${sequence} is not one of the context's ${this.maxSequences}`);
    }
  }
}
