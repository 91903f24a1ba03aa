/** The program of the process that compares routers, see `engine/job-program.ts`. */
import { serveJob } from "../../engine/job-program.ts";
import type { EvaluationJob, EvaluationProgress, EvaluationResult } from "./evaluation.ts";
import { runEvaluation } from "./run-evaluation.ts";

export type EvaluationEvent =
  | { readonly type: "loading"; readonly bytesRead: number; readonly bytesTotal: number }
  | { readonly type: "evaluating"; readonly progress: EvaluationProgress };

serveJob<EvaluationJob, EvaluationEvent, EvaluationResult>((job, { abortAddress, signal, tell }) =>
  runEvaluation(job, {
    ...{ abortAddress, signal },
    onLoad: (bytesRead, bytesTotal) => tell({ type: "loading", bytesRead, bytesTotal }),
    onProgress: (progress) => tell({ type: "evaluating", progress }),
  }),
);
