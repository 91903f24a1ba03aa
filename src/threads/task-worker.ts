/** The other end of `task-workers.ts`: what a thread's program does with the tasks it is sent, one after the other. */
import { parentPort } from "node:worker_threads";
import { type PortableError, toPortable } from "../engine/protocol.ts";

export type TaskReply<Result> =
  | { readonly type: "work"; readonly more: number }
  | { readonly type: "done"; readonly result: Result }
  | { readonly type: "failed"; readonly error: PortableError };

const PROGRESS_INTERVAL_MS = 100;

/** @param run is to call `onWork` often, with the work done since its last call */
export function serveTasks<Task, Result>(run: (task: Task, onWork: (more: number) => void) => Result): void {
  const reply = (message: TaskReply<Result>) => parentPort?.postMessage(message);
  parentPort?.on("message", (task: Task) => {
    let untold = 0;
    let toldAt = performance.now();
    try {
      const result = run(task, (more) => {
        untold += more;
        if (performance.now() - toldAt < PROGRESS_INTERVAL_MS) return;
        reply({ type: "work", more: untold });
        untold = 0;
        toldAt = performance.now();
      });
      reply({ type: "work", more: untold });
      reply({ type: "done", result });
    } catch (error) {
      reply({ type: "failed", error: toPortable(error) });
    }
  });
}
