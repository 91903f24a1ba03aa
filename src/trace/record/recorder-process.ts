/**
 * The program of the process that records a trace: one job by message, progress and the outcome as messages. A process for
 * the reasons given in `engine/host.ts`; it writes the trace itself, so nothing that is recorded crosses a border.
 */
import { ABORT_DESCRIPTOR } from "../../engine/abort-file.ts";
import { type PortableError, toPortable } from "../../engine/protocol.ts";
import { dieWithParent, mapShared, PAGE_BYTES } from "../../memory/libc.ts";
import type { RecordingJob, RecordingProgress, RecordingSummary } from "./recording-job.ts";
import { runRecording } from "./run-recording.ts";

export type RecorderMessage =
  | { readonly type: "loading"; readonly bytesRead: number; readonly bytesTotal: number }
  | { readonly type: "recording"; readonly progress: RecordingProgress }
  | { readonly type: "done"; readonly summary: RecordingSummary }
  | { readonly type: "failed"; readonly error: PortableError };

const PROGRESS_INTERVAL_MS = 100;

// In the middle of a batch nothing is noticed: without this it computes on after its parent was killed.
if (process.platform === "linux") dieWithParent();
const abortAddress = process.platform === "linux" ? mapShared(ABORT_DESCRIPTOR, PAGE_BYTES) : undefined;

let toldAt = 0;
/** Progress that was not told yet. */
let untold: RecorderMessage | undefined;

function send(message: RecorderMessage): void {
  process.send?.(message);
}

/** Progress, now and then. */
function tell(message: RecorderMessage): void {
  untold = message;
  const now = performance.now();
  if (now - toldAt < PROGRESS_INTERVAL_MS) return;
  toldAt = now;
  tellRest();
}

function tellRest(): void {
  if (untold !== undefined) send(untold);
  untold = undefined;
}

async function record(job: RecordingJob): Promise<void> {
  try {
    const summary = await runRecording(job, {
      abortAddress,
      onLoad: (bytesRead, bytesTotal) => tell({ type: "loading", bytesRead, bytesTotal }),
      onProgress: (progress) => tell({ type: "recording", progress }),
    });
    tellRest();
    send({ type: "done", summary });
  } catch (error) {
    // How much was recorded is told even when nothing more will be.
    tellRest();
    send({ type: "failed", error: toPortable(error) });
  }
  process.disconnect();
}

process.once("message", (job) => void record(job as RecordingJob));
// The terminal sends Ctrl-C to the whole group; the parent decides what it means.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(0));
