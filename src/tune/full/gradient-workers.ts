/**
 * A batch's sequences shared out among threads, each with the whole model and one ggml thread: two ggml threads on one
 * graph spin at every barrier, and on cores shared with others were 20 times slower than one (70 GFLOP/s against 3).
 * Gradients are added in the threads' order, so the same number of threads gives the same bits.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../../compiled-module.ts";
import type { BatchLosses } from "./batch-losses.ts";
import type { GradientRequest, LayeredModelOptions } from "./layered-model.ts";
import type { LocalityTermsOptions } from "./locality-terms.ts";
import type { OriginalStatesData } from "./original-states.ts";
import type { TrainingSequence } from "./sequence.ts";

export interface GradientWorkerData {
  readonly model: string;
  readonly options: LayeredModelOptions;
  readonly terms: LocalityTermsOptions | undefined;
  readonly originals: OriginalStatesData | undefined;
  /** Shared memory: the main thread writes gates between tasks, the worker its gradients during one. */
  readonly gates: readonly Float32Array[];
  readonly gradients: readonly Float32Array[];
}

export type WorkerRequest = Omit<GradientRequest, "terms" | "originals" | "ids">;

export type GradientTask =
  | { readonly type: "train"; readonly sequences: readonly TrainingSequence[]; readonly request: WorkerRequest }
  | { readonly type: "evaluate"; readonly sequences: readonly TrainingSequence[]; readonly compared: boolean };

export type GradientReply =
  | { readonly type: "done"; readonly losses: BatchLosses }
  | { readonly type: "failed"; readonly name: string; readonly message: string; readonly stack: string | undefined };

export interface GradientWorkersOptions {
  readonly model: string;
  readonly threads: number;
  /** Of each thread. */
  readonly memory: LayeredModelOptions;
  readonly terms: LocalityTermsOptions | undefined;
  /** Where the original model's states are kept. @default nowhere */
  readonly originals?: OriginalStatesData | undefined;
  /** Lengths of the gates' arrays, by layer. */
  readonly gateSizes: readonly number[];
  readonly signal?: AbortSignal | undefined;
}

export class GradientWorkers implements AsyncDisposable {
  /** What the threads compute with; change it between calls only. */
  readonly gates: readonly Float32Array[];
  readonly #gradients: readonly (readonly Float32Array[])[];
  readonly #workers: readonly Worker[];
  readonly #signal: AbortSignal | undefined;

  constructor({ model, threads, memory, terms, originals, gateSizes, signal }: GradientWorkersOptions) {
    this.#signal = signal;
    this.gates = shared(gateSizes);
    this.#gradients = Array.from({ length: threads }, () => shared(gateSizes));
    this.#workers = this.#gradients.map((gradients) => {
      const data: GradientWorkerData = { model, options: memory, terms, originals, gates: this.gates, gradients };
      return new Worker(compiledModule(import.meta.url, "./gradient-worker.js"), { workerData: data, execArgv: [] });
    });
  }

  /** Gradients of the losses' means, by layer, and each thread's losses. @throws the signal's reason */
  async train(
    sequences: readonly TrainingSequence[],
    request: WorkerRequest,
  ): Promise<{ gradients: Float32Array[]; losses: BatchLosses[] }> {
    const shares = shareOut(sequences, this.#workers.length);
    const losses = await this.#all(shares.map((share) => ({ type: "train", sequences: share, request })));
    const gradients = this.gates.map(({ length }, layer) => {
      const sum = new Float32Array(length);
      for (const own of this.#gradients) for (let i = 0; i < length; i++) sum[i] += own[layer][i];
      return sum;
    });
    return { gradients, losses };
  }

  /** @param compared with the original model, too @throws the signal's reason */
  evaluate(sequences: readonly TrainingSequence[], compared: boolean): Promise<BatchLosses[]> {
    return this.#all(
      shareOut(sequences, this.#workers.length).map((share) => ({ type: "evaluate", sequences: share, compared })),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  async #all(tasks: readonly GradientTask[]): Promise<BatchLosses[]> {
    this.#signal?.throwIfAborted();
    return Promise.all(this.#workers.map((worker, i) => this.#one(worker, tasks[i])));
  }

  #one(worker: Worker, task: GradientTask): Promise<BatchLosses> {
    const signal = this.#signal;
    return new Promise<BatchLosses>((resolve, reject) => {
      // One by one: removeAllListeners would also take what a Worker itself listens with.
      const settle = () => {
        signal?.removeEventListener("abort", onAbort);
        worker.off("error", fail).off("exit", onExit).off("message", onReply);
      };
      const fail = (error: unknown) => {
        settle();
        reject(error);
      };
      const onAbort = () => fail(signal?.reason);
      const onExit = () => fail(new Error("a thread of the training ended by itself"));
      const onReply = (reply: GradientReply) => {
        settle();
        if (reply.type === "done") resolve(reply.losses);
        else reject(Object.assign(new Error(reply.message), { name: reply.name, stack: reply.stack }));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      worker.once("error", fail).once("exit", onExit).once("message", onReply);
      worker.postMessage(task);
    });
  }
}

const shared = (sizes: readonly number[]) => sizes.map((size) => new Float32Array(new SharedArrayBuffer(size * 4)));

/** Long sequences first, each to whom has least; within a share in the given order. */
function shareOut(sequences: readonly TrainingSequence[], parts: number): TrainingSequence[][] {
  const owner = new Map<number, number>();
  const loads = new Array<number>(parts).fill(0);
  const byLength = [...sequences.keys()].sort((a, b) => sequences[b].tokens.length - sequences[a].tokens.length);
  for (const index of byLength) {
    const least = loads.indexOf(Math.min(...loads));
    owner.set(index, least);
    loads[least] += sequences[index].tokens.length;
  }
  return loads.map((_, part) => sequences.filter((_, index) => owner.get(index) === part));
}
