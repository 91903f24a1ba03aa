/**
 * Heads trained on several threads: each takes the next head when it is done with one. A head depends on its own place and
 * the seed alone, so how many threads there are changes the time and nothing else.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import type { HeadTask, TrainedHead, TrainingPlan } from "./train-head.ts";
import type { TrainingSet } from "./training-set.ts";

export interface TrainingWorkerData {
  readonly set: TrainingSet;
  readonly plan: TrainingPlan;
}

export type TrainingReply =
  | { readonly type: "tokens"; readonly tokens: number }
  | { readonly type: "trained"; readonly trained: TrainedHead }
  | { readonly type: "failed"; readonly name: string; readonly message: string; readonly stack: string | undefined };

export interface TrainingWorkersOptions {
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with tokens trained on since the last call. */
  readonly onTokens?: ((tokens: number) => void) | undefined;
}

/** Results in the order of the tasks. */
export async function trainInWorkers(
  data: TrainingWorkerData,
  tasks: readonly HeadTask[],
  { threads, signal, onTokens }: TrainingWorkersOptions,
): Promise<TrainedHead[]> {
  signal?.throwIfAborted();
  const results: TrainedHead[] = new Array(tasks.length);
  let next = 0;
  const workers = Array.from(
    { length: Math.min(threads, tasks.length) },
    () => new Worker(compiledModule(import.meta.url, "./training-worker.js"), { workerData: data, execArgv: [] }),
  );
  try {
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise<void>((resolve, reject) => {
            signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
            let running = -1;
            const give = () => {
              if (next === tasks.length) return resolve();
              running = next++;
              worker.postMessage(tasks[running]);
            };
            worker.on("error", reject);
            worker.on("exit", () => reject(new Error("a thread of the training ended by itself")));
            worker.on("message", (reply: TrainingReply) => {
              switch (reply.type) {
                case "tokens":
                  onTokens?.(reply.tokens);
                  break;
                case "trained":
                  results[running] = reply.trained;
                  give();
                  break;
                case "failed":
                  reject(Object.assign(new Error(reply.message), { name: reply.name, stack: reply.stack }));
                  break;
                default:
                  reply satisfies never;
              }
            });
            give();
          }),
      ),
    );
    return results;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
