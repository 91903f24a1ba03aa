/**
 * The program of the process that tunes or evaluates: one job by message, progress and the outcome as messages. A process for the
 * reasons given in `engine/host.ts`. It is told to stop in two ways at once: a byte for the graph that is being computed, and a
 * message for everything else.
 */
import { ABORT_DESCRIPTOR } from "../../engine/abort-file.ts";
import { type PortableError, toPortable } from "../../engine/protocol.ts";
import { dieWithParent, mapShared, PAGE_BYTES } from "../../memory/libc.ts";
import type { EvaluationJob, EvaluationProgress, EvaluationResult } from "../eval/evaluation.ts";
import { runEvaluation } from "../eval/run-evaluation.ts";
import { runTuning } from "./run-tuning.ts";
import type { TuningEstimate, TuningJob, TuningProgress, TuningSummary } from "./tuning-job.ts";

export type ProcessRequest =
  | { readonly type: "tune"; readonly job: TuningJob }
  | { readonly type: "evaluate"; readonly job: EvaluationJob }
  | { readonly type: "stop" };

export type ProcessMessage =
  | { readonly type: "loading"; readonly bytesRead: number; readonly bytesTotal: number }
  | { readonly type: "estimate"; readonly estimate: TuningEstimate }
  | { readonly type: "tuning"; readonly progress: TuningProgress }
  | { readonly type: "evaluating"; readonly progress: EvaluationProgress }
  | { readonly type: "tuned"; readonly summary: TuningSummary }
  | { readonly type: "evaluated"; readonly result: EvaluationResult }
  | { readonly type: "failed"; readonly error: PortableError };

const PROGRESS_INTERVAL_MS = 100;

// In the middle of a batch nothing is noticed: without this it computes on after its parent was killed.
if (process.platform === "linux") dieWithParent();
const abortAddress = process.platform === "linux" ? mapShared(ABORT_DESCRIPTOR, PAGE_BYTES) : undefined;
const stop = new AbortController();
let toldAt = 0;

function send(message: ProcessMessage): void {
  process.send?.(message);
}

/** The last message, gone before the channel closes: a result of megabytes is otherwise lost with it. */
function deliver(message: ProcessMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

/** Progress, now and then. */
function tell(message: ProcessMessage): void {
  const now = performance.now();
  if (now - toldAt < PROGRESS_INTERVAL_MS) return;
  toldAt = now;
  send(message);
}

async function work(request: Exclude<ProcessRequest, { type: "stop" }>): Promise<void> {
  const events = {
    ...{ abortAddress, signal: stop.signal },
    onLoad: (bytesRead: number, bytesTotal: number) => tell({ type: "loading", bytesRead, bytesTotal }),
  };
  try {
    if (request.type === "tune") {
      const summary = await runTuning(request.job, {
        ...events,
        onEstimate: (estimate) => send({ type: "estimate", estimate }),
        onProgress: (progress) => tell({ type: "tuning", progress }),
      });
      await deliver({ type: "tuned", summary });
    } else {
      const onProgress = (progress: EvaluationProgress) => tell({ type: "evaluating", progress });
      await deliver({ type: "evaluated", result: await runEvaluation(request.job, { ...events, onProgress }) });
    }
  } catch (error) {
    await deliver({ type: "failed", error: toPortable(error) });
  }
  process.disconnect();
}

process.on("message", (request: ProcessRequest) => {
  if (request.type === "stop") stop.abort(new Error("stopped"));
  else void work(request);
});
// The terminal sends Ctrl-C to the whole group; the parent decides what it means.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(0));
