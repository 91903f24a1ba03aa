/**
 * Layers tuned on several threads: each takes the next layer when it is done with one, so that memory is one layer's inputs
 * per thread. A layer depends on its own task alone, so how many threads there are changes the time and nothing else.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import type { InputFiles } from "./captured-inputs.ts";
import { TuneError, type TuneErrorKind } from "./errors.ts";
import type { LayerResult, LayerTask } from "./layer-tasks.ts";

export type LayerReply =
  | { readonly type: "tokens"; readonly tokens: number }
  | { readonly type: "done"; readonly result: LayerResult }
  | {
      readonly type: "failed";
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      /** Of a TuneError. */
      readonly kind: TuneErrorKind | undefined;
    };

export interface LayerWorkersOptions {
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with tokens worked on since the last call. */
  readonly onTokens?: ((tokens: number) => void) | undefined;
  /** Called with each layer as it is done, in the order they end in. */
  readonly onLayer?: ((result: LayerResult) => void) | undefined;
}

/** Results in the order of the tasks. @throws TuneError, or the signal's reason */
export async function runInWorkers(
  files: InputFiles,
  tasks: readonly LayerTask[],
  { threads, signal, onTokens, onLayer }: LayerWorkersOptions,
): Promise<LayerResult[]> {
  signal?.throwIfAborted();
  const results: LayerResult[] = new Array(tasks.length);
  let next = 0;
  const workers = Array.from(
    { length: Math.min(threads, tasks.length) },
    () => new Worker(compiledModule(import.meta.url, "./layer-worker.js"), { workerData: files }),
  );
  let abort: (() => void) | undefined;
  try {
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort);
    });
    const done = workers.map(
      (worker) =>
        new Promise<void>((resolve, reject) => {
          let running = -1;
          const give = () => {
            if (next === tasks.length) return resolve();
            running = next++;
            worker.postMessage(tasks[running]);
          };
          worker.on("error", reject);
          worker.on("exit", () => reject(new Error("a thread of the tuning ended by itself")));
          worker.on("message", (reply: LayerReply) => {
            switch (reply.type) {
              case "tokens":
                onTokens?.(reply.tokens);
                break;
              case "done":
                results[running] = reply.result;
                onLayer?.(reply.result);
                give();
                break;
              case "failed":
                reject(failure(reply, tasks[running].layer));
                break;
              default:
                reply satisfies never;
            }
          });
          give();
        }),
    );
    await Promise.race([Promise.all(done), aborted]);
    return results;
  } finally {
    if (abort !== undefined) signal?.removeEventListener("abort", abort);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function failure({ name, message, stack, kind }: LayerReply & { type: "failed" }, layer: number): Error {
  if (kind !== undefined) return new TuneError(kind, `MoE layer ${layer}: ${message}`);
  return Object.assign(new Error(message), { name, stack });
}
