/** `warmset tune` as a user starts it, watched from outside: for benches that measure the command, its processes included. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../compiled-module.ts";
import type { MemoryCgroup } from "./memory-cgroup.ts";
import { ProcessTreeWatch, type TreeFigures } from "./process-tree.ts";

export interface TuneRun<Document> {
  /** What `--json` prints. */
  readonly document: Document;
  readonly seconds: number;
  readonly tree: TreeFigures;
  /** Highest charge of the cgroup, page cache included; null without one. */
  readonly cgroupPeakBytes: number | null;
}

export interface TuneOptions {
  readonly signal: AbortSignal;
  readonly cgroup?: MemoryCgroup | undefined;
}

/** The command line as a user starts it. @throws Error with its last words when it fails */
export async function tuneCommand<Document>(
  args: readonly string[],
  out: string,
  { signal, cgroup }: TuneOptions,
): Promise<TuneRun<Document>> {
  const program = fileURLToPath(compiledModule(import.meta.url, "../cli/main.js"));
  if (!existsSync(program)) throw new Error(`${program} is missing; compile it first: npm run build`);
  const command = [process.execPath, program, "tune", ...args, "--json", "--quiet", "--out", out];
  const [file, ...rest] = cgroup?.enter(command) ?? command;
  const startedAt = performance.now();
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"] });
  using watch = new ProcessTreeWatch(child.pid ?? process.pid);
  const kill = () => child.kill("SIGTERM");
  signal.addEventListener("abort", kill);
  process.once("exit", kill);
  const text = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (more: string) => {
    text.stdout += more;
  });
  child.stderr.setEncoding("utf8").on("data", (more: string) => {
    text.stderr += more;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => {
    signal.removeEventListener("abort", kill);
    process.removeListener("exit", kill);
  });
  signal.throwIfAborted();
  const figures = cgroup?.figures();
  if (code !== 0 || (figures?.oomKills ?? 0) > 0)
    throw new Error(
      `warmset tune ended with code ${code}, ${figures?.oomKills ?? 0} killed by the limit: ${text.stderr}`,
    );
  return {
    document: JSON.parse(text.stdout) as Document,
    seconds: (performance.now() - startedAt) / 1000,
    tree: watch.figures,
    cgroupPeakBytes: figures?.peakBytes ?? null,
  };
}
