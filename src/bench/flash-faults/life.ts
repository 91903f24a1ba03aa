/**
 * One life of a process that uses a cache until it is killed: opens the file, asks for every key, then puts, gets, deletes, flushes
 * and now and then closes and opens, telling the journal. Started by `KillRun` with the journal as descriptor 3; it never ends by
 * itself unless something is wrong.
 */
import fs from "node:fs";
import type { FlashEngine } from "../../flash/engine.ts";
import { Randomness } from "../../predict/randomness.ts";
import { type DoomedWrite, doomedDevices } from "./doomed-device.ts";
import { type Change, JournalWriter, type Seen } from "./journal.ts";
import { openSubject, type Subject } from "./subject.ts";
import { keyOf, versionOf, writtenValue } from "./written-values.ts";

export interface LifeMessage {
  readonly path: string;
  readonly subject: Subject;
  readonly keys: number;
  readonly seed: number;
  /** Of the first change; each takes the next number. */
  readonly firstVersion: number;
  /** Undefined: the kill comes from outside. */
  readonly doomed: DoomedWrite | undefined;
}

/** Told on stdout when it is reached: before the file is opened, and when all keys were asked for. */
export type LifeStage = "begun" | "asked";

const JOURNAL_FD = 3;
/** Keys asked for, or changed, side by side. */
const AT_ONCE = 64;
const DELETED = 0;

const message = JSON.parse(process.argv[2]) as LifeMessage;
const { path, subject, keys, seed } = message;
const journal = new JournalWriter(JOURNAL_FD);
const random = new Randomness(seed);
const between = doomedDevices(journal, message.doomed);
/** After so many of the changes made together. A flush of nemo writes set groups that are not full, and so fewer objects. */
const flushShare = subject.engine === "nemo" ? 0.1 : 0.25;
let version = message.firstVersion;
/** What this process has put or seen: newest version, or DELETED. Nothing older may be seen any more. */
const newest = new Map<number, number>();
/** Keys put or deleted since the last flush. */
let changed = new Set<number>();

tellKiller("begun");
try {
  await live();
} catch (error) {
  journal.tell({ what: "wrong", text: error instanceof Error ? `${error.stack}` : String(error) });
  process.exitCode = 1;
}

/** At once: a write that Node puts off would tell the time of something later. */
function tellKiller(stage: LifeStage): void {
  fs.writeSync(1, `${stage}\n`);
}

async function live(): Promise<void> {
  for (;;) {
    const engine = await opened();
    await sweep(engine);
    const batches = Math.ceil(random.next() ** 3 * 150);
    for (let i = 0; i < batches; i++) {
      await changeSome(engine);
      if (random.next() < flushShare) await flush(engine);
    }
    journal.tell({ what: "closing" });
    await engine.close();
    journal.tell({ what: "closed" });
  }
}

async function opened(): Promise<FlashEngine> {
  const begun = performance.now();
  const engine = await openSubject(path, subject, between);
  journal.tell({ what: "opened", ms: performance.now() - begun });
  const { readOnly } = engine.stats();
  if (readOnly !== undefined) throw new Error(`opened read-only: ${readOnly}`);
  return engine;
}

async function sweep(engine: FlashEngine): Promise<void> {
  for (let first = 0; first < keys; first += AT_ONCE) {
    const asked = Array.from({ length: Math.min(AT_ONCE, keys - first) }, (_, i) => first + i);
    const seen = await ask(engine, asked);
    if (seen.length > 0) journal.tell({ what: "found", seen });
  }
  journal.tell({ what: "swept" });
  tellKiller("asked");
}

/** Different keys at once: two changes of one key at once have no order to check. */
async function changeSome(engine: FlashEngine): Promise<void> {
  const first = Math.floor(random.next() * keys);
  const changes: Change[] = [];
  const asked: number[] = [];
  for (let i = 0; i < AT_ONCE; i++) {
    // A stride that spreads them, and a few keys that are used far more often.
    const key = i % 8 === 0 ? (first + i) % 50 : (first + i * 131) % keys;
    if (asked.includes(key) || changes.some((change) => change.key === key)) continue;
    const what = random.next();
    if (what < 0.35) asked.push(key);
    else changes.push({ key, isDelete: what > 0.94 });
  }
  journal.tell({ what: "changing", version, changes });
  const calls: Promise<unknown>[] = [ask(engine, asked)];
  for (const { key, isDelete } of changes) {
    const mine = version++;
    newest.set(key, isDelete ? DELETED : mine);
    changed.add(key);
    calls.push(isDelete ? engine.delete(keyOf(key)) : put(engine, key, mine));
  }
  await Promise.all(calls);
}

async function put(engine: FlashEngine, key: number, mine: number): Promise<void> {
  if (!(await engine.put(keyOf(key), writtenValue(key, mine)))) throw new Error(`key ${key} was not taken`);
}

async function flush(engine: FlashEngine): Promise<void> {
  const { unsavedBytes } = engine.stats();
  await engine.flush();
  journal.tell({ what: "flushed", version: version - 1, unsavedBytes });
  const asked = [...changed].filter((key) => newest.get(key) !== DELETED);
  changed = new Set();
  journal.tell({ what: "kept", seen: await ask(engine, asked) });
}

async function ask(engine: FlashEngine, asked: readonly number[]): Promise<Seen[]> {
  const answers = await Promise.all(asked.map((key) => engine.get(keyOf(key))));
  const seen: Seen[] = [];
  for (const [i, answer] of answers.entries()) {
    const key = asked[i];
    if (answer === undefined) continue;
    const found = versionOf(key, answer);
    const known = newest.get(key);
    if (found < 0) throw new Error(`key ${key}: bytes that were never put`);
    if (known !== undefined && found !== known) throw new Error(`key ${key}: version ${found}, not ${known}`);
    newest.set(key, found);
    seen.push({ key, version: found });
  }
  return seen;
}
