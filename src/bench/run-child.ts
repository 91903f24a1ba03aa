/**
 * One of the bench's programs as a process of its own: a message on its stdin, one JSON document on its stdout. It is
 * killed with the bench, whatever ends that, and says in its last words why it failed. It knows nothing of what is measured.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../compiled-module.ts";

export type ChildOutcome =
  | { readonly status: "finished"; readonly result: unknown }
  | { readonly status: "failed"; readonly reason: string };

export interface RunChildOptions {
  readonly nodeFlags: readonly string[];
  /** Wraps the command line, such as `MemoryCgroup.enter`; what it starts must become the command. @default as it is */
  readonly enter?: ((command: readonly string[]) => readonly string[]) | undefined;
  /** Called with the id of the process once there is one. */
  readonly onStart?: (pid: number) => void;
  /** Kills the process and rejects with the signal's reason. @default runs to its end */
  readonly signal?: AbortSignal | undefined;
  /** A process that takes longer is killed and has failed. @default as long as it takes */
  readonly timeoutMs?: number | undefined;
}

/** How much of a failed process's last words is kept. */
const STDERR_CHARACTERS = 4000;

/** `module` is a compiled file of this folder, such as `./contender.js`. Rejects only when aborted. */
export async function runBenchChild(module: string, message: unknown, options: RunChildOptions): Promise<ChildOutcome> {
  const { nodeFlags, signal, timeoutMs } = options;
  signal?.throwIfAborted();
  const program = fileURLToPath(compiledModule(import.meta.url, module));
  if (!existsSync(program)) throw new Error(`${program} is missing; compile it first: npm run build`);
  const command = [process.execPath, ...nodeFlags, program];
  const [file, ...args] = options.enter?.(command) ?? command;

  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
  if (child.pid !== undefined) options.onStart?.(child.pid);
  const kill = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", kill);
  process.once("exit", kill);
  let late = false;
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          late = true;
          kill();
        }, timeoutMs);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARACTERS);
  });
  // A process that dies before it has read its message closes the pipe; its exit code tells more than this error.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify(message));

  const ended = await new Promise<{ code: number | null; killedBy: NodeJS.Signals | null; problem?: Error }>(
    (resolve) => {
      child.once("error", (problem) => resolve({ code: null, killedBy: null, problem }));
      child.once("close", (code, killedBy) => resolve({ code, killedBy }));
    },
  );
  clearTimeout(timer);
  signal?.removeEventListener("abort", kill);
  process.removeListener("exit", kill);
  signal?.throwIfAborted();

  const failed = (how: string): ChildOutcome => ({
    status: "failed",
    reason: stderr.trim() === "" ? how : `${how}: ${stderr.trim()}`,
  });
  if (late) return failed(`killed after ${timeoutMs} ms`);
  if (ended.problem !== undefined) return failed(ended.problem.message);
  if (ended.code !== 0) return failed(ended.killedBy ?? `exit code ${ended.code}`);
  try {
    return { status: "finished", result: JSON.parse(stdout) };
  } catch {
    return failed(`printed no result but ${JSON.stringify(stdout.slice(0, 200))}`);
  }
}
