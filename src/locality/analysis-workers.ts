/**
 * Several threads analyse one trace: each takes the next part when it is done with one, and hands its sums over in the end.
 * Whole numbers add up the same in any order, so the result does not depend on who took what.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import type { TracePart } from "../trace/trace.ts";
import type { AnalysisProgress } from "./analysis.ts";
import type { AnalysisPlan } from "./analysis-plan.ts";
import { addPhaseSums } from "./phase-sums.ts";
import type { SumsByPhase } from "./sample-analyzer.ts";
import { type PlainError, putTogether } from "./thread-errors.ts";

/** A function of a module that opens the trace in another thread: (argument) => TraceSource, or a promise of one. */
export interface TraceOpener {
  /** URL of the compiled module. */
  readonly module: string;
  /** Name of the function that it exports. */
  readonly name: string;
  /** Its argument; it has to be cloneable. */
  readonly argument: unknown;
}

/** Opens a trace directory in each worker. */
export function directoryOpener(directory: string): TraceOpener {
  return {
    module: compiledModule(import.meta.url, "../trace/index.js").href,
    name: "openTrace",
    argument: directory,
  };
}

export interface WorkerTask {
  readonly plan: AnalysisPlan;
  readonly opener: TraceOpener;
}

export type WorkerRequest = { readonly part: number } | "finish";

export type WorkerReply =
  | { readonly kind: "ready" }
  | { readonly kind: "progress"; readonly tokens: number }
  | { readonly kind: "sums"; readonly sums: SumsByPhase }
  | { readonly kind: "failed"; readonly error: PlainError };

export interface WorkersOptions {
  readonly threads: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: AnalysisProgress) => void) | undefined;
}

export async function analyzeInWorkers(
  plan: AnalysisPlan,
  parts: readonly TracePart[],
  opener: TraceOpener,
  { threads, signal, onProgress }: WorkersOptions,
): Promise<SumsByPhase> {
  signal?.throwIfAborted();
  // Large parts first: what is left at the end is small, and the threads finish together.
  const queue = [...parts].sort((a, b) => a.tokens - b.tokens);
  const totalTokens = parts.reduce((sum, { tokens }) => sum + tokens, 0);
  let doneTokens = 0;
  const task: WorkerTask = { plan, opener };
  const workers = Array.from(
    { length: threads },
    // Without Node's own flags of this process: with `node --input-type=module -e` a worker would not start.
    () => new Worker(compiledModule(import.meta.url, "./analysis-worker.js"), { workerData: task, execArgv: [] }),
  );
  const stop = () => void Promise.all(workers.map((worker) => worker.terminate()));
  const result: SumsByPhase = new Map();
  try {
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise<void>((resolve, reject) => {
            const onAbort = () => reject(signal?.reason);
            signal?.addEventListener("abort", onAbort, { once: true });
            worker.on("error", reject);
            worker.on("exit", () => reject(new Error("a thread of the analysis ended by itself")));
            worker.on("message", (reply: WorkerReply) => {
              switch (reply.kind) {
                case "ready": {
                  const next = queue.pop();
                  worker.postMessage((next === undefined ? "finish" : { part: next.index }) satisfies WorkerRequest);
                  break;
                }
                case "progress":
                  doneTokens += reply.tokens;
                  onProgress?.({ doneTokens, totalTokens });
                  break;
                case "sums":
                  addSums(result, reply.sums);
                  signal?.removeEventListener("abort", onAbort);
                  resolve();
                  break;
                case "failed":
                  reject(putTogether(reply.error));
                  break;
                default:
                  reply satisfies never;
              }
            });
          }),
      ),
    );
    return result;
  } finally {
    stop();
  }
}

function addSums(target: SumsByPhase, other: SumsByPhase): void {
  for (const [phase, sums] of other) {
    const own = target.get(phase);
    if (own === undefined) target.set(phase, sums);
    else addPhaseSums(own, sums);
  }
}
