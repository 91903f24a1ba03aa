/**
 * The lanes of a sweep on worker threads. The trace is read once, by the thread that calls, and each sample is posted to
 * all workers; none gets so far behind that samples pile up.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import type { TraceSample } from "../trace/trace.ts";
import { type SampleSignals, sharedFloats } from "./sample-signals.ts";
import type { SimulationRow } from "./simulation-row.ts";
import type { Lane, LaneConditions } from "./sweep.ts";

export interface SweepWorkerData {
  readonly lanes: readonly Lane[];
  readonly conditions: LaneConditions;
}

/** A sample to replay, or undefined at the end. */
export type SweepMessage = { readonly sample: TraceSample; readonly signals: SampleSignals } | undefined;

export type SweepReply =
  | { readonly type: "done" }
  | { readonly type: "rows"; readonly rows: readonly SimulationRow[] }
  | { readonly type: "failed"; readonly name: string; readonly message: string; readonly stack: string | undefined };

/** Samples that a worker may have lying before it: enough not to wait for the reader, little enough to hold. */
const SAMPLES_AHEAD = 4;

export class SweepWorkers implements AsyncDisposable {
  readonly #lanes: readonly Lane[];
  readonly #workers: readonly LaneWorker[];

  constructor(lanes: readonly Lane[], conditions: LaneConditions, threads: number, signal?: AbortSignal) {
    this.#lanes = lanes;
    // Dealt out like cards: neighbours are sizes of the same policies, which take the same time.
    this.#workers = Array.from(
      { length: threads },
      (_, worker) => new LaneWorker({ lanes: lanes.filter((_, i) => i % threads === worker), conditions }, signal),
    );
  }

  async sample(sample: TraceSample, signals: SampleSignals): Promise<void> {
    const compact = withOwnBuffers(sample);
    await Promise.all(this.#workers.map((worker) => worker.send({ sample: compact, signals })));
  }

  async rows(): Promise<SimulationRow[]> {
    const byWorker = await Promise.all(this.#workers.map((worker) => worker.finish()));
    return this.#lanes.map((_, i) => byWorker[i % byWorker.length][Math.floor(i / byWorker.length)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

/**
 * Posting a view of a larger buffer would copy all of that buffer. The routers' inputs, of which a sample of a large model
 * has hundreds of megabytes, are not copied for each worker.
 */
function withOwnBuffers({ hidden, ...sample }: TraceSample): TraceSample {
  const shared = hidden === undefined ? undefined : sharedFloats(hidden.length);
  if (hidden !== undefined) shared?.set(hidden);
  const entries = Object.entries(sample).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) && value.byteLength < value.buffer.byteLength ? (value as Float32Array).slice() : value,
  ]);
  return { ...(Object.fromEntries(entries) as TraceSample), hidden: shared };
}

class LaneWorker {
  readonly #worker: Worker;
  #ahead = 0;
  #rows: readonly SimulationRow[] | undefined;
  #error: Error | undefined;
  /** Wakes whoever waits for the worker. */
  #wake = () => {};
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#wake();

  constructor(workerData: SweepWorkerData, signal: AbortSignal | undefined) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    this.#worker = new Worker(compiledModule(import.meta.url, "./sweep-worker.js"), {
      workerData,
      execArgv: [],
    });
    this.#worker.on("message", (reply: SweepReply) => {
      if (reply.type === "done") this.#ahead--;
      else if (reply.type === "rows") this.#rows = reply.rows;
      else this.#error = Object.assign(new Error(reply.message), { name: reply.name, stack: reply.stack });
      this.#wake();
    });
    this.#worker.on("error", (error) => {
      this.#error ??= error instanceof Error ? error : new Error(String(error));
      this.#wake();
    });
  }

  async send(message: SweepMessage): Promise<void> {
    await this.#until(() => this.#ahead < SAMPLES_AHEAD);
    this.#ahead++;
    this.#worker.postMessage(message);
  }

  async finish(): Promise<readonly SimulationRow[]> {
    this.#worker.postMessage(undefined satisfies SweepMessage);
    await this.#until(() => this.#rows !== undefined);
    return this.#rows as readonly SimulationRow[];
  }

  async close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    await this.#worker.terminate();
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      this.#signal?.throwIfAborted();
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#error !== undefined) throw this.#error;
  }
}
