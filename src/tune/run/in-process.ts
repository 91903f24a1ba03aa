/**
 * The public way to tune routers and to evaluate them: starts the process that does it (`tune-process.ts`), passes its progress
 * on, and turns its end into a result or an error.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import { compiledModule } from "../../compiled-module.ts";
import { openAbortFile, writeAbort } from "../../engine/abort-file.ts";
import { HOST_NODE_FLAGS, ModelProcessError } from "../../engine/model-process.ts";
import { ModelError } from "../../engine/protocol.ts";
import type { EvaluationJob, EvaluationProgress, EvaluationResult } from "../eval/evaluation.ts";
import type { ProcessMessage, ProcessRequest } from "./tune-process.ts";
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

const KEPT_STDERR = 4000;

/**
 * Tunes a model's routers and writes the adapter.
 * @throws ModelError with the name of what went wrong, see `runTuning`; ModelProcessError when the process died; the signal's
 *   reason
 */
export async function tuneRouters(job: TuningJob, options: TuneRoutersOptions = {}): Promise<TuningSummary> {
  const outcome = await runInProcess({ type: "tune", job }, job.engine.verbose, options.signal, (message) => {
    if (message.type === "loading") options.onLoad?.(message.bytesRead, message.bytesTotal);
    else if (message.type === "estimate") options.onEstimate?.(message.estimate);
    else if (message.type === "tuning") options.onProgress?.(message.progress);
  });
  if (outcome.type !== "tuned") throw new Error("the process answered what it was not asked");
  return outcome.summary;
}

/** Compares variants of a model's routers. @throws as `tuneRouters`, see `runEvaluation` */
export async function evaluateRouters(
  job: EvaluationJob,
  options: EvaluateRoutersOptions = {},
): Promise<EvaluationResult> {
  const outcome = await runInProcess({ type: "evaluate", job }, job.engine.verbose, options.signal, (message) => {
    if (message.type === "loading") options.onLoad?.(message.bytesRead, message.bytesTotal);
    else if (message.type === "evaluating") options.onProgress?.(message.progress);
  });
  if (outcome.type !== "evaluated") throw new Error("the process answered what it was not asked");
  return outcome.result;
}

async function runInProcess(
  request: ProcessRequest,
  verbose: boolean,
  signal: AbortSignal | undefined,
  onMessage: (message: ProcessMessage) => void,
): Promise<Extract<ProcessMessage, { type: "tuned" | "evaluated" }>> {
  signal?.throwIfAborted();
  const abortDescriptor = openAbortFile();
  const program = compiledModule(import.meta.url, "./tune-process.js");
  const child = spawn(process.execPath, [...HOST_NODE_FLAGS, program.pathname], {
    stdio: ["ignore", "inherit", "pipe", "ipc", abortDescriptor],
    serialization: "advanced",
  });
  const abort = () => {
    writeAbort(abortDescriptor, 1);
    if (child.connected) child.send({ type: "stop" } satisfies ProcessRequest);
  };
  const kill = () => void child.kill("SIGKILL");
  signal?.addEventListener("abort", abort);
  process.once("exit", kill);
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-KEPT_STDERR);
    if (verbose) process.stderr.write(text);
  });
  try {
    return await new Promise((resolve, reject) => {
      let outcome: Extract<ProcessMessage, { type: "tuned" | "evaluated" }> | undefined;
      let failure: Error | undefined;
      child.on("message", (message: ProcessMessage) => {
        if (message.type === "tuned" || message.type === "evaluated") outcome = message;
        else if (message.type === "failed") failure = new ModelError(message.error);
        else onMessage(message);
      });
      child.on("error", reject);
      // Not before the process is gone: then nothing is written any more.
      child.on("close", (code, killedBy) => {
        if (outcome !== undefined) resolve(outcome);
        else reject(failure ?? new ModelProcessError(code, killedBy, stderr));
      });
      child.send(request, (error) => {
        if (error !== null) failure ??= error;
      });
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
    process.removeListener("exit", kill);
    fs.closeSync(abortDescriptor);
  }
}
