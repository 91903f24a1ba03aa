/**
 * Keeps two writers out of one trace: a file beside `trace.json` that names the process which writes. What a killed one
 * left is noticed and replaced. A writer on another machine, or in another container, is not seen.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TraceError } from "./trace-error.ts";

const FILE_NAME = "trace.lock";
const ATTEMPTS = 5;
const MAKING_MS = 20;

export interface TraceLock {
  release(): Promise<void>;
}

interface Owner {
  readonly pid: number;
  /** When that process was started, in ticks of the kernel: a later one may have its number. Null where unknown. */
  readonly started: string | null;
  /** Of this lock, and no other of the same process. */
  readonly id: string;
}

/** @throws TraceError `in-use`; system errors as they are */
export async function lockTrace(directory: string): Promise<TraceLock> {
  const file = path.join(directory, FILE_NAME);
  const owner: Owner = { pid: process.pid, started: startOf(process.pid) ?? null, id: randomUUID() };
  for (let attempt = 1; ; attempt++) {
    if (await create(file, owner)) return { release: () => release(file, owner.id) };
    const other = await readOwner(file);
    if (attempt === ATTEMPTS || (other !== undefined && isRunning(other)))
      throw new TraceError(
        "in-use",
        { file },
        `says that ${other === undefined ? "another process" : `process ${other.pid}`} is writing this trace. ` +
          "Wait until it has ended, or choose another directory.",
      );
    // A lock without content may be one that is being made; one that stays so is a killed process's.
    if (other === undefined && attempt < ATTEMPTS - 1) await sleep(MAKING_MS);
    else await fs.rm(file, { force: true });
  }
}

/** False when there is a lock. */
async function create(file: string, owner: Owner): Promise<boolean> {
  try {
    await fs.writeFile(file, `${JSON.stringify(owner)}\n`, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function release(file: string, id: string): Promise<void> {
  if ((await readOwner(file))?.id === id) await fs.rm(file, { force: true });
}

/** Undefined when there is no lock, or none of ours. */
async function readOwner(file: string): Promise<Owner | undefined> {
  try {
    const owner = JSON.parse(await fs.readFile(file, "utf8")) as Owner;
    return Number.isSafeInteger(owner.pid) && owner.pid > 0 ? owner : undefined;
  } catch {
    return undefined;
  }
}

function isRunning({ pid, started }: Owner): boolean {
  const now = startOf(pid);
  if (now !== undefined) return started === null || started === now;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It runs, but is somebody else's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Undefined without /proc, or without such a process. */
function startOf(pid: number): string | undefined {
  try {
    // proc_pid_stat(5): the 22nd field; the second one, in brackets, may have spaces.
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19];
  } catch {
    return undefined;
  }
}
