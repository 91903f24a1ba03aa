/** The program of one step of the comparison of stores, see `StoreJob`. Records are hints of the demo model: 130 bytes, keys of 16. */
import { readFileSync } from "node:fs";
import type { ComparedStore } from "../../flash/compare/compared-store.ts";
import { openEngineStore } from "../../flash/compare/engine-store.ts";
import { openLmdbStore } from "../../flash/compare/lmdb-store.ts";
import { openSqliteStore } from "../../flash/compare/sqlite-store.ts";
import { dieWithParent } from "../../memory/libc.ts";
import { Randomness } from "../../predict/randomness.ts";
import { readMessage, writeResult } from "../child-message.ts";
import { quantile } from "../quantile.ts";
import type { FillFigures, GetFigures, StoreJob } from "./store-protocol.ts";

const HINT_BYTES = 130;
/** As a prompt of 500 tokens asks and a busy server records. */
const BATCH = 64;
/** Per record with its key and what engines add, and room to spare: a full cache would evict. */
const FILE_BYTES_PER_RECORD = 260;
const LEAST_FILE_BYTES = 64 * 2 ** 20;

dieWithParent();
writeResult(await run(readMessage() as StoreJob));

async function run(job: StoreJob): Promise<FillFigures | GetFigures> {
  const startMs = performance.now();
  const store = await open(job);
  const openMs = performance.now() - startMs;
  switch (job.step) {
    case "fill":
      return fill(store, job.records);
    case "gets":
      return look(store, job, openMs);
    case "die":
      return await die(store, job.records);
    default:
      return job.step satisfies never;
  }
}

function open({ store, path, records }: StoreJob): Promise<ComparedStore> {
  if (store === "sqlite") return openSqliteStore(path);
  if (store === "lmdb") return openLmdbStore(path);
  const megabytes = Math.ceil(Math.max(LEAST_FILE_BYTES, records * FILE_BYTES_PER_RECORD) / 2 ** 20);
  return openEngineStore(path, { engine: store, sizeBytes: megabytes * 2 ** 20 });
}

async function fill(store: ComparedStore, records: number): Promise<FillFigures> {
  const before = writtenBytes();
  const startMs = performance.now();
  for (let n = 0; n < records; n += BATCH) await store.putMany(batch(n, Math.min(records, n + BATCH)));
  const putMs = performance.now() - startMs;
  await store.flush();
  const rssBytes = process.memoryUsage.rss();
  await store.close();
  return {
    ...{ name: store.name, durability: store.durability, rssBytes },
    putsPerSecond: (1000 * records) / putMs,
    seconds: (performance.now() - startMs) / 1000,
    bytesWritten: writtenBytes() - before,
    bytesOnDisk: store.bytesOnDisk(),
  };
}

async function look(store: ComparedStore, { records, gets }: StoreJob, openMs: number): Promise<GetFigures> {
  const random = new Randomness(1);
  const us: number[] = [];
  let found = 0;
  let wrong = 0;
  for (let i = 0; i < gets; i++) {
    const n = Math.floor(random.next() * records);
    const key = keyOf(n);
    const startMs = performance.now();
    const [value] = await store.getMany([key]);
    us.push(1000 * (performance.now() - startMs));
    if (value === undefined) continue;
    found++;
    if (Buffer.compare(value, hintOf(n)) !== 0) wrong++;
  }
  const rssBytes = process.memoryUsage.rss();
  await store.close();
  return {
    ...{ openMs, wrong, rssBytes, foundShare: found / gets },
    ...{ p50Us: quantile(us, 0.5), p99Us: quantile(us, 0.99), p9999Us: quantile(us, 0.9999) },
  };
}

/** Puts a tenth of the records again, the same values, and is killed while the last of them are written. */
async function die(store: ComparedStore, records: number): Promise<never> {
  for (let n = 0; n < records / 10; n += BATCH) {
    const written = store.putMany(batch(n, Math.min(records, n + BATCH)));
    if (n + BATCH >= records / 10) process.kill(process.pid, "SIGKILL");
    await written;
  }
  throw new Error("it was not killed");
}

function batch(from: number, to: number): (readonly [Uint8Array, Uint8Array])[] {
  return Array.from({ length: to - from }, (_, i) => [keyOf(from + i), hintOf(from + i)] as const);
}

/** As even as a hash. */
function keyOf(n: number): Uint8Array {
  const words = new Uint32Array(4);
  let state = n;
  for (let i = 0; i < 4; i++) {
    state = Math.imul(state ^ (state >>> 16), 0x85ebca6b) + 0x9e3779b9;
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    words[i] = state ^ (state >>> 16);
  }
  // No two alike.
  words[3] = n;
  return new Uint8Array(words.buffer);
}

function hintOf(n: number): Uint8Array {
  return Uint8Array.from({ length: HINT_BYTES }, (_, i) => (n >>> (i % 24)) & 0xff);
}

function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? Number.NaN);
}
