/**
 * The program of the process that records a trace (see `engine/job-program.ts`); it writes the trace itself, so nothing that is
 * recorded crosses a border.
 */
import { serveJob } from "../../engine/job-program.ts";
import type { RecordingJob, RecordingProgress, RecordingSummary } from "./recording-job.ts";
import { runRecording } from "./run-recording.ts";

export type RecorderEvent =
  | { readonly type: "loading"; readonly bytesRead: number; readonly bytesTotal: number }
  | { readonly type: "recording"; readonly progress: RecordingProgress };

serveJob<RecordingJob, RecorderEvent, RecordingSummary>((job, { abortAddress, tell }) =>
  runRecording(job, {
    abortAddress,
    onLoad: (bytesRead, bytesTotal) => tell({ type: "loading", bytesRead, bytesTotal }),
    onProgress: (progress) => tell({ type: "recording", progress }),
  }),
);
