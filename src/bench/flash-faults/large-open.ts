/** How long a large cache takes to open after a kill in the middle of its writes, and whether what it holds is right. */
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../../compiled-module.ts";
import { Randomness } from "../../predict/randomness.ts";
import { openSubject, type Subject } from "./subject.ts";
import { keyOf, versionOf } from "./written-values.ts";

export interface LargeOpen {
  readonly bytes: number;
  readonly zoneBytes: number;
  readonly objects: number;
  readonly openMs: number;
  /** Bytes that opening read: headers, footers, and the set groups that no index group tells of. */
  readonly openBytesRead: number;
  /** Keys asked for, and found; all with their own value. */
  readonly asked: number;
  readonly found: number;
}

/** More than goes round the zones once: the pool is full. */
const FILL_SHARE = 1.15;
const ASKED = 20_000;

/** @param file made, and removed @throws Error for a value that was not put under its key */
export async function openLargeAfterKill(file: string, bytes: number, signal?: AbortSignal): Promise<LargeOpen> {
  const zoneBytes = 4 * 2 ** 20;
  const zones = Math.floor(bytes / zoneBytes);
  const subject: Subject = { engine: "nemo", zones, zoneBytes, direct: true, punchHoles: false, options: {} };
  try {
    const lastKey = await fillAndKill(file, subject, FILL_SHARE * bytes, signal);
    const begun = performance.now();
    const engine = await openSubject(file, subject);
    const openMs = performance.now() - begun;
    const { deviceBytesRead: openBytesRead, residentObjects: objects } = engine.stats();
    const random = new Randomness(1);
    let found = 0;
    for (let i = 0; i < ASKED; i++) {
      const key = Math.floor(random.next() * lastKey);
      const value = await engine.get(keyOf(key));
      if (value === undefined) continue;
      if (versionOf(key, value) !== 1) throw new Error(`key ${key}: bytes that were never put under it`);
      found++;
    }
    await engine.close();
    return { bytes, zoneBytes, objects, openMs, openBytesRead, asked: ASKED, found };
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/** @returns a key that it had come to */
async function fillAndKill(file: string, subject: Subject, bytes: number, signal: AbortSignal | undefined) {
  const program = fileURLToPath(compiledModule(import.meta.url, "./large-fill.js"));
  const child = spawn(process.execPath, [program, file, JSON.stringify(subject)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", kill);
  process.once("exit", kill);
  let lastKey = 0;
  let written = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    [written, lastKey] = line.split(" ").map(Number);
    if (written >= bytes) kill();
  }
  process.removeListener("exit", kill);
  signal?.removeEventListener("abort", kill);
  signal?.throwIfAborted();
  if (written < bytes) throw new Error("the process that fills the large cache ended by itself");
  return lastKey;
}
