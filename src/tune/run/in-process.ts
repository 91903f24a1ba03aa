/** The public way to tune routers and to evaluate them, each in a process of its own that does it. */
import { compiledModule } from "../../compiled-module.ts";
import { runJobProcess } from "../../engine/job-process.ts";
import type { EvaluationJob, EvaluationProgress, EvaluationResult } from "../eval/evaluation.ts";
import type { EvaluationEvent } from "../eval/evaluation-process.ts";
import type { TuningEvent } from "./tune-process.ts";
import type { TuningEstimate, TuningJob, TuningProgress, TuningSummary } from "./tuning-job.ts";

export interface TuneRoutersOptions {
  /** Ends the run; whole layers and steps that were kept in the checkpoint stay there. */
  readonly signal?: AbortSignal;
  /** Called while weights are read. */
  readonly onLoad?: (bytesRead: number, bytesTotal: number) => void;
  /** Called once, before anything is computed. */
  readonly onEstimate?: (estimate: TuningEstimate) => void;
  readonly onProgress?: (progress: TuningProgress) => void;
}

export interface EvaluateRoutersOptions extends Pick<TuneRoutersOptions, "signal" | "onLoad"> {
  readonly onProgress?: (progress: EvaluationProgress) => void;
}

/**
 * Tunes a model's routers and writes the adapter.
 * @throws ModelError with the name of what went wrong, see `runTuning`; ModelProcessError when the process died; the signal's
 *   reason
 */
export async function tuneRouters(job: TuningJob, options: TuneRoutersOptions = {}): Promise<TuningSummary> {
  const program = compiledModule(import.meta.url, "./tune-process.js");
  return await runJobProcess<TuningJob, TuningEvent, TuningSummary>(program, job, {
    ...{ verbose: job.engine.verbose, signal: options.signal },
    onEvent: (event) => {
      if (event.type === "loading") options.onLoad?.(event.bytesRead, event.bytesTotal);
      else if (event.type === "estimate") options.onEstimate?.(event.estimate);
      else options.onProgress?.(event.progress);
    },
  });
}

/** Compares variants of a model's routers. @throws as `tuneRouters`, see `runEvaluation` */
export async function evaluateRouters(
  job: EvaluationJob,
  options: EvaluateRoutersOptions = {},
): Promise<EvaluationResult> {
  const program = compiledModule(import.meta.url, "../eval/evaluation-process.js");
  return await runJobProcess<EvaluationJob, EvaluationEvent, EvaluationResult>(program, job, {
    ...{ verbose: job.engine.verbose, signal: options.signal },
    onEvent: (event) => {
      if (event.type === "loading") options.onLoad?.(event.bytesRead, event.bytesTotal);
      else options.onProgress?.(event.progress);
    },
  });
}
