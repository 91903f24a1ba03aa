/** Runs the compiled `warmset` as users do: a process with arguments, pipes and an exit code. Nothing is mocked. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../compiled-module.ts";

export const PROGRAM = fileURLToPath(compiledModule(import.meta.url, "./main.js"));
/** A budget that makes the demo model stream, and one thread: two on busy cores take many times as long. */
export const STREAMING = ["--expert-memory", "50%", "--threads", "1"];

export interface Finished {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  /** Text for stdin. @default nothing */
  readonly stdin?: string;
  /** Keep stdin open behind that text; the test ends it. @default false */
  readonly stdinStaysOpen?: boolean;
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Started {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
}

export function start(args: readonly string[], options: StartOptions = {}): Started {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WARMSET_")));
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    // Nothing is learned from one test to the next, nor put into the cache folder of whoever runs them.
    env: { ...env, WARMSET_LEARNED: "off", ...options.env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A command that ends without reading its input is no failure of the test.
  child.stdin.on("error", () => {});
  child.stdin.write(options.stdin ?? "");
  if (options.stdinStaysOpen !== true) child.stdin.end();
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exitCode, signal) => resolve({ exitCode, signal, stdout, stderr }));
  });
  return { child, finished };
}

export function warmset(args: readonly string[], options: StartOptions = {}): Promise<Finished> {
  return start(args, options).finished;
}

/** Resolves once the stream has said `text`. */
export function said(stream: NodeJS.ReadableStream | null, text: string): Promise<void> {
  return new Promise((resolve) => {
    let all = "";
    stream?.on("data", (piece: string) => {
      all += piece;
      if (all.includes(text)) resolve();
    });
  });
}

/** Process ids of the running children of a process. Linux only. */
export function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        // proc_pid_stat(5): the parent is the second field behind the name in brackets.
        const parent = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1];
        return Number(parent) === pid ? [Number(name)] : [];
      } catch {
        return []; // ended meanwhile
      }
    });
}

/** Resolves once the process has put a listener on SIGHUP, which Node does not do by itself: our signals arrive. Linux only. */
export async function listens(pid: number): Promise<void> {
  const SIGHUP = 1n;
  const caught = () => {
    const [, mask] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return (BigInt(`0x${mask}`) >> (SIGHUP - 1n)) & 1n;
  };
  while (caught() === 0n) await sleep(10);
}

/** Resolves once the process has computed for so long from now on, however busy the machine is. Linux only. */
export async function computed(pid: number, cpuMs: number): Promise<void> {
  const MS_PER_TICK = 10;
  const cpuNow = () => {
    // proc_pid_stat(5): user and system time are the 12th and 13th field behind the name in brackets.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    return MS_PER_TICK * (Number(fields[11]) + Number(fields[12]));
  };
  const end = cpuNow() + cpuMs;
  while (cpuNow() < end) await sleep(10);
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
