/**
 * Runs one contender's job as a process of its own, in a memory cgroup if there is one, and says how it ended: with
 * figures, killed by the limit, or failed. It neither makes the cgroup nor interprets figures.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../compiled-module.ts";
import {
  CONTENDER_NODE_FLAGS,
  type ContenderJob,
  type ContenderMessage,
  type ContenderRun,
} from "./contender-protocol.ts";
import type { CgroupFigures, MemoryCgroup } from "./memory-cgroup.ts";

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
}

/** How much of a failed process's last words is kept. */
const STDERR_CHARACTERS = 4000;

/** Rejects only when aborted or when the process cannot be started at all. */
export async function runContender(job: ContenderJob, options: RunContenderOptions = {}): Promise<ContenderOutcome> {
  const { cgroup, signal } = options;
  signal?.throwIfAborted();
  const program = fileURLToPath(compiledModule(import.meta.url, "./contender.js"));
  if (!existsSync(program)) throw new Error(`${program} is missing; compile it first: npm run build`);
  const command = [process.execPath, ...CONTENDER_NODE_FLAGS, program];
  const [file, ...args] = cgroup?.enter(command) ?? command;

  const message: ContenderMessage = { job, startedAtEpochMs: Date.now() };
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
  // The shell that enters the cgroup becomes the contender, so this kills the contender itself.
  const kill = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", kill);
  process.once("exit", kill);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARACTERS);
  });
  // A process that dies before it has read its job closes the pipe; its exit code tells more than this error.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify(message));

  let ended: { code: number | null; killedBy: NodeJS.Signals | null };
  try {
    ended = await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, killedBy) => resolve({ code, killedBy }));
    });
  } finally {
    signal?.removeEventListener("abort", kill);
    process.removeListener("exit", kill);
  }
  signal?.throwIfAborted();

  const figures = cgroup?.figures();
  if (ended.code === 0) return { status: "finished", run: JSON.parse(stdout) as ContenderRun, cgroup: figures };
  if (figures !== undefined && figures.oomKills > 0) return { status: "killed-by-limit", cgroup: figures };
  const how = ended.killedBy ?? `exit code ${ended.code}`;
  return { status: "failed", reason: stderr.trim() === "" ? how : `${how}: ${stderr.trim()}` };
}
