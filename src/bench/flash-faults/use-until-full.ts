/**
 * Uses a cache whose disk takes no more at some point, and says what became of it: a program, because a limit on file sizes and a
 * file system of its own belong to a process. Prints one `FullDiskReport` as JSON.
 */
import fs from "node:fs";
import { FlashCache } from "../../flash/cache/flash-cache.ts";
import { DATA_OFFSET } from "../../flash/device/cache-file.ts";
import { FlashError } from "../../flash/errors.ts";
import { keysFor, openSubject, type Subject } from "./subject.ts";
import { keyOf, versionOf, writtenValue } from "./written-values.ts";

export interface FullDiskReport {
  /** Why nothing is written any more. */
  readonly readOnly: string | undefined;
  readonly kept: number;
  readonly refused: number;
  /** Refusals that were thrown: flash holds an older value that cannot be taken back. */
  readonly thrown: number;
  /** Keys answered after that, all with what was set last. */
  readonly answered: number;
}

export interface FullDiskUse {
  readonly path: string;
  readonly subject: Subject;
  /**
   * Makes the cache first, gives the space of all but its first pages back and fills the disk: so that a preallocated file meets
   * ENOSPC after all.
   */
  readonly fillDisk: boolean;
}

/** Of what another process put, and of what this one puts. */
export const VERSIONS = { before: 1, now: 2 } as const;
/** So that a failed write is not just one among many others that come after it. */
const SETS_AFTER = 200;

/** Puts every key once, and writes it. */
export async function fill(path: string, subject: Subject): Promise<void> {
  const cache = new FlashCache(await openSubject(path, subject));
  for (let key = 0; key < keysFor(subject); key++)
    await cache.set(keyOf(key).bytes, writtenValue(key, VERSIONS.before));
  await cache.flush();
  await cache.close();
}

if (process.argv[2] !== undefined) {
  // A write past the limit on file sizes: EFBIG is to be met, not the signal.
  process.on("SIGXFSZ", () => {});
  process.stdout.write(JSON.stringify(await useUntilFull(JSON.parse(process.argv[2]) as FullDiskUse)));
}

async function useUntilFull({ path, subject, fillDisk }: FullDiskUse): Promise<FullDiskReport> {
  if (fillDisk) await makeOnFullDisk(path, subject);
  const cache = new FlashCache(await openSubject(path, subject));
  const keys = keysFor(subject);
  let [kept, refused, thrown, answered] = [0, 0, 0, 0];
  const newest = new Map<number, number | undefined>();
  for (let i = 0, after = 0; after < SETS_AFTER; i++) {
    if (i > 20 * keys) throw new Error("the disk never became full");
    const key = (i * 37) % keys;
    try {
      const isKept = await cache.set(keyOf(key).bytes, writtenValue(key, VERSIONS.now));
      newest.set(key, isKept ? VERSIONS.now : undefined);
      if (isKept) kept++;
      else refused++;
    } catch (error) {
      if (!(error instanceof FlashError) || error.kind !== "read-only") throw error;
      newest.delete(key);
      thrown++;
    }
    if (cache.stats().engine.readOnly !== undefined) after++;
  }
  for (let key = 0; key < keys; key++) {
    const value = await cache.get(keyOf(key).bytes);
    if (value === undefined) continue;
    const version = versionOf(key, value);
    const allowed = newest.has(key) ? [newest.get(key)] : Object.values(VERSIONS);
    if (!(allowed as (number | undefined)[]).includes(version))
      throw new Error(`key ${key} has version ${version}, not ${allowed}`);
    answered++;
  }
  const { readOnly } = cache.stats().engine;
  await cache.close();
  return { readOnly, kept, refused, thrown, answered };
}

async function makeOnFullDisk(path: string, subject: Subject): Promise<void> {
  await fill(path, subject);
  const { size } = fs.statSync(path);
  fs.truncateSync(path, DATA_OFFSET + Math.floor(0.4 * (size - DATA_OFFSET)));
  fs.truncateSync(path, size);
  const hog = fs.openSync(`${path}.hog`, "w");
  const bytes = new Uint8Array(4096);
  try {
    for (;;) fs.writeSync(hog, bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  } finally {
    fs.closeSync(hog);
  }
}
