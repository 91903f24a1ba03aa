/**
 * Simulated runs on worker threads: each takes the next run that waits. The trace is in shared memory; only what a run is
 * and what it came to is sent. A run that fails is an answer like others: one broken policy does not end a suite of a hundred runs.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../../compiled-module.ts";
import type { RunFigures } from "./figures.ts";
import type { SimulatedRun, SimulationGround, TaughtPolicy } from "./simulated-run.ts";

export type RunTask =
  | { readonly type: "run"; readonly run: SimulatedRun }
  | { readonly type: "teach"; readonly run: Omit<SimulatedRun, "mode" | "batch"> };

export type RunReply =
  | { readonly type: "run"; readonly figures: RunFigures }
  | { readonly type: "teach"; readonly taught: TaughtPolicy }
  | { readonly type: "failed"; readonly reason: string };

interface Waiting {
  readonly task: RunTask;
  readonly resolve: (reply: RunReply) => void;
  readonly reject: (error: Error) => void;
}

export class RunWorkers implements AsyncDisposable {
  readonly #workers: readonly Worker[];
  readonly #idle: Worker[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #running = new Map<Worker, Waiting>();
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#fail(this.#signal?.reason as Error);

  constructor(ground: SimulationGround, threads: number, signal?: AbortSignal) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(compiledModule(import.meta.url, "./run-worker.js"), { workerData: ground });
      worker.on("message", (reply: RunReply) => {
        this.#running.get(worker)?.resolve(reply);
        this.#running.delete(worker);
        this.#idle.push(worker);
        this.#next();
      });
      worker.on("error", (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
      this.#idle.push(worker);
      return worker;
    });
  }

  /** @throws what ends the whole suite: an abort, or a worker's end */
  async do(task: RunTask): Promise<RunReply> {
    this.#signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject });
      this.#next();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #next(): void {
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      const worker = this.#idle.pop() as Worker;
      const waiting = this.#waiting.shift() as Waiting;
      this.#running.set(worker, waiting);
      worker.postMessage(waiting.task);
    }
  }

  #fail(error: Error): void {
    for (const { reject } of [...this.#running.values(), ...this.#waiting.splice(0)]) reject(error);
    this.#running.clear();
  }
}
