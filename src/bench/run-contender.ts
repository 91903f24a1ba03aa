/**
 * Runs one contender's job as a process of its own, in a memory cgroup if there is one, and says how it ended: with
 * figures, killed by the limit, or failed. It neither makes the cgroup nor interprets figures.
 */
import {
  CONTENDER_NODE_FLAGS,
  type ContenderJob,
  type ContenderMessage,
  type ContenderRun,
} from "./contender-protocol.ts";
import type { CgroupFigures, MemoryCgroup } from "./memory-cgroup.ts";
import { runBenchChild } from "./run-child.ts";

export type ContenderOutcome =
  | { readonly status: "finished"; readonly run: ContenderRun; readonly cgroup: CgroupFigures | undefined }
  /** The kernel killed it because the cgroup's limit could not be held. */
  | { readonly status: "killed-by-limit"; readonly cgroup: CgroupFigures }
  | { readonly status: "failed"; readonly reason: string };

export interface RunContenderOptions {
  /** @default none: the process may use all memory there is */
  readonly cgroup?: MemoryCgroup | undefined;
  /** Kills the process and rejects with the signal's reason. @default runs to its end */
  readonly signal?: AbortSignal | undefined;
  /** A run that takes longer is killed and has failed. @default as long as it takes */
  readonly timeoutMs?: number | undefined;
}

/** Rejects only when aborted. */
export async function runContender(job: ContenderJob, options: RunContenderOptions = {}): Promise<ContenderOutcome> {
  const { cgroup, signal, timeoutMs } = options;
  const message: ContenderMessage = { job, startedAtEpochMs: Date.now() };
  const ended = await runBenchChild("./contender.js", message, {
    nodeFlags: job.nodeFlags ?? CONTENDER_NODE_FLAGS,
    enter: (command) => cgroup?.enter(command) ?? command,
    signal,
    timeoutMs,
  });
  const figures = cgroup?.figures();
  if (ended.status === "finished") return { status: "finished", run: ended.result as ContenderRun, cgroup: figures };
  if (figures !== undefined && figures.oomKills > 0) return { status: "killed-by-limit", cgroup: figures };
  return ended;
}
