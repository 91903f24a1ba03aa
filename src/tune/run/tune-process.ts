/** The program of the process that tunes routers, see `engine/job-program.ts`. */
import { serveJob } from "../../engine/job-program.ts";
import { runTuning } from "./run-tuning.ts";
import type { TuningEstimate, TuningJob, TuningProgress, TuningSummary } from "./tuning-job.ts";

export type TuningEvent =
  | { readonly type: "loading"; readonly bytesRead: number; readonly bytesTotal: number }
  | { readonly type: "estimate"; readonly estimate: TuningEstimate }
  | { readonly type: "tuning"; readonly progress: TuningProgress };

serveJob<TuningJob, TuningEvent, TuningSummary>((job, { abortAddress, signal, tell, announce }) =>
  runTuning(job, {
    ...{ abortAddress, signal },
    onLoad: (bytesRead, bytesTotal) => tell({ type: "loading", bytesRead, bytesTotal }),
    onEstimate: (estimate) => announce({ type: "estimate", estimate }),
    onProgress: (progress) => tell({ type: "tuning", progress }),
  }),
);
