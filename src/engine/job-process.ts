/**
 * A job in a process of its own, for the reasons given in `host.ts`: starts the program (one that calls `serveJob`), passes its
 * events on, and turns its end into the outcome or an error. One job, then the process ends; `ModelProcess` is the one that
 * stays and answers requests.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { openAbortFile, writeAbort } from "./abort-file.ts";
import type { JobMessage, JobRequest } from "./job-program.ts";
import { HOST_NODE_FLAGS, KEPT_STDERR, ModelProcessError } from "./model-process.ts";
import { ModelError } from "./protocol.ts";

export interface JobProcessOptions<Event> {
  /** Show the process's stderr, where llama.cpp's log goes. */
  readonly verbose: boolean;
  /** Has the process give up what it computes, and end. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent: (event: Event) => void;
}

/**
 * @param program compiled, see `compiledModule`
 * @throws ModelError with the name of what went wrong in the process; ModelProcessError when it died; the signal's reason
 */
export async function runJobProcess<Job, Event, Outcome>(
  program: URL,
  job: Job,
  { verbose, signal, onEvent }: JobProcessOptions<Event>,
): Promise<Outcome> {
  signal?.throwIfAborted();
  const abortDescriptor = openAbortFile();
  const child = spawn(process.execPath, [...HOST_NODE_FLAGS, fileURLToPath(program)], {
    stdio: ["ignore", "inherit", "pipe", "ipc", abortDescriptor],
    serialization: "advanced",
  });
  const abort = () => {
    writeAbort(abortDescriptor, 1);
    // Its end is told by "close"; that it is gone already is no news.
    if (child.connected) child.send({ type: "stop" } satisfies JobRequest<Job>, () => {});
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
    return await new Promise<Outcome>((resolve, reject) => {
      let done: { readonly outcome: Outcome } | undefined;
      let failure: Error | undefined;
      child.on("message", (message: JobMessage<Event, Outcome>) => {
        switch (message.type) {
          case "event":
            onEvent(message.event);
            break;
          case "done":
            done = message;
            break;
          case "failed":
            failure = new ModelError(message.error);
            break;
          default:
            message satisfies never;
        }
      });
      child.on("error", reject);
      // Not before the process is gone: then nothing is written any more.
      child.on("close", (code, killedBy) => {
        if (done !== undefined) resolve(done.outcome);
        else reject(failure ?? new ModelProcessError(code, killedBy, stderr));
      });
      child.send({ type: "job", job } satisfies JobRequest<Job>, (error) => {
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
