/**
 * A cache's file with bits flipped, pages overwritten, swapped or cut off behind its back, and the cache opened on it: it may have
 * lost anything, and be refused, but what it returns was put under that key, and it works on.
 */
import fs from "node:fs";
import { DATA_OFFSET } from "../../flash/device/cache-file.ts";
import { PAGE_BYTES } from "../../flash/device/zone-device.ts";
import type { FlashEngine } from "../../flash/engine.ts";
import { FlashError } from "../../flash/errors.ts";
import type { Randomness } from "../../predict/randomness.ts";
import { keysFor, openSubject, type Subject } from "./subject.ts";
import { keyOf, versionOf, writtenValue } from "./written-values.ts";

export interface DamageFigures {
  /** Openings of a damaged file, and those of them that were refused. */
  opened: number;
  refused: number;
  flippedBits: number;
  otherDamage: number;
  /** Values returned, all of them right. */
  seen: number;
  /** Pages that the cache itself found damaged. */
  readErrors: number;
}

export function noDamage(): DamageFigures {
  return { opened: 0, refused: 0, flippedBits: 0, otherDamage: 0, seen: 0, readErrors: 0 };
}

const REFUSALS: readonly string[] = ["not-a-cache", "other-parameters"];
/** Above every version of a life. */
const VERSION = 2 ** 32 - 1;
const PUTS = 300;

/** Damages the file and uses it. @throws Error for a wrong value, and for what an opening should not throw */
export async function useDamaged(
  file: string,
  subject: Subject,
  random: Randomness,
  figures: DamageFigures,
): Promise<void> {
  damage(file, random, figures);
  figures.opened++;
  let engine: FlashEngine;
  try {
    engine = await openSubject(file, subject);
  } catch (error) {
    if (!(error instanceof FlashError) || !REFUSALS.includes(error.kind)) throw error;
    figures.refused++;
    return;
  }
  const keys = keysFor(subject);
  await askAll(engine, keys, figures);
  for (let i = 0; i < PUTS; i++) {
    const key = Math.floor(random.next() * keys);
    await engine.put(keyOf(key), writtenValue(key, VERSION));
  }
  await engine.flush();
  await askAll(engine, keys, figures);
  figures.readErrors += engine.stats().readErrors;
  await engine.close();
}

function damage(file: string, random: Randomness, figures: DamageFigures): void {
  const fd = fs.openSync(file, "r+");
  const { size } = fs.fstatSync(fd);
  const page = Buffer.alloc(PAGE_BYTES);
  const anyPage = () => DATA_OFFSET + PAGE_BYTES * Math.floor((random.next() * (size - DATA_OFFSET)) / PAGE_BYTES);
  for (let flips = Math.ceil(random.next() * 40); flips > 0; flips--) {
    const at = anyPage() + Math.floor(random.next() * PAGE_BYTES);
    fs.readSync(fd, page, 0, 1, at);
    page[0] ^= 1 << Math.floor(random.next() * 8);
    fs.writeSync(fd, page, 0, 1, at);
    figures.flippedBits++;
  }
  for (let more = Math.floor(random.next() * 4); more > 0; more--) {
    figures.otherDamage++;
    const what = random.next();
    if (what < 0.3) page.fill(0);
    else if (what < 0.5) for (let i = 0; i < PAGE_BYTES; i++) page[i] = random.next() * 256;
    // A whole page of the cache's own, in the wrong place.
    else fs.readSync(fd, page, 0, PAGE_BYTES, anyPage());
    fs.writeSync(fd, page, 0, PAGE_BYTES, anyPage());
  }
  if (random.next() < 0.2) {
    figures.otherDamage++;
    fs.ftruncateSync(fd, anyPage());
  }
  fs.closeSync(fd);
}

async function askAll(engine: FlashEngine, keys: number, figures: DamageFigures): Promise<void> {
  for (let key = 0; key < keys; key++) {
    const value = await engine.get(keyOf(key));
    if (value === undefined) continue;
    if (versionOf(key, value) < 0) throw new Error(`key ${key}: bytes that were never put under it`);
    figures.seen++;
  }
}
