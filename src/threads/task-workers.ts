/**
 * Tasks worked on by several threads: each takes the next one when it is done with one, so that memory is one task's per
 * thread. For tasks that depend on nothing but themselves and what all threads are given, so that how many threads there are
 * changes the time and nothing else. The program of a thread calls `serveTasks`.
 */
import { Worker } from "node:worker_threads";
import type { PortableError } from "../engine/protocol.ts";
import type { TaskReply } from "./task-worker.ts";

export interface TaskWorkersOptions<Task, Result> {
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the work done since the last call, in whatever the tasks count it. */
  readonly onWork?: ((more: number) => void) | undefined;
  /** Called with each result as it is there, in the order they end in. */
  readonly onResult?: ((result: Result) => void) | undefined;
  /** Of a task that failed. @default one with the same name, message and stack */
  readonly errorOf?: ((error: PortableError, task: Task) => Error) | undefined;
}

/**
 * Results in the order of the tasks. The first task that fails ends them all.
 * @param program compiled, see `compiledModule`
 * @param shared given to each thread, once
 * @throws what a task threw, or the signal's reason
 */
export async function runTasks<Task, Result>(
  program: URL,
  shared: unknown,
  tasks: readonly Task[],
  { threads, signal, onWork, onResult, errorOf = sameError }: TaskWorkersOptions<Task, Result>,
): Promise<Result[]> {
  signal?.throwIfAborted();
  const results: Result[] = new Array(tasks.length);
  let next = 0;
  const workers = Array.from(
    { length: Math.min(threads, tasks.length) },
    // Without Node's own flags of this process: with `node --input-type=module -e` a worker would not start.
    () => new Worker(program, { workerData: shared, execArgv: [] }),
  );
  let abort = () => {};
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
          worker.on("exit", () => reject(new Error("A thread ended by itself. Please report this.")));
          worker.on("message", (reply: TaskReply<Result>) => {
            switch (reply.type) {
              case "work":
                onWork?.(reply.more);
                break;
              case "done":
                results[running] = reply.result;
                onResult?.(reply.result);
                give();
                break;
              case "failed":
                reject(errorOf(reply.error, tasks[running]));
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
    signal?.removeEventListener("abort", abort);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function sameError({ name, message, stack }: PortableError): Error {
  return Object.assign(new Error(message), { name, stack });
}
