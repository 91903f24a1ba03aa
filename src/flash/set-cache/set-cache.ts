/**
 * The engine `set`: every key has one bucket of 4 KiB, which is read, changed and written back for each put, its oldest objects
 * dropped for the new one. The least RAM of all engines, 8 bytes a bucket, and the most written: 4,096 bytes for each object.
 */
import type { BlockDevice } from "../device/block-device.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { type EngineStats, type FlashEngine, noStats } from "../engine.ts";
import { FlashError } from "../errors.ts";
import {
  appendEntry,
  clearSet,
  ENTRY_BYTES,
  entryCount,
  entryValue,
  findEntry,
  firstEntry,
  fits,
  MAX_OBJECT_BYTES,
  removeEntry,
  SET_HEADER_BYTES,
  sealSet,
  sequenceLow,
  usedBytes,
  verifySet,
} from "../format/set-page.ts";
import { type HashedKey, setNumberOf } from "../key-hash.ts";
import { BucketFilters } from "./bucket-filters.ts";
import { HEADER_BLOCKS, type Header, readHeader, writeHeader } from "./header-block.ts";

export interface SetCacheOptions {
  /** Opened with another one, the cache is empty: what it held is never returned. 0 to 2^32 - 1. @default 0 */
  readonly salt?: number;
}

/** A read during a write of the same bucket can find half of it; then it is repeated after the write. */
const MOST_READS = 3;

/**
 * Reads two blocks, whatever the size: filters are rebuilt bucket by bucket, when one is read for the first time. Until then a get
 * of an absent key costs a read that its filter would have saved, once for each bucket.
 * @throws FlashError `bad-options`, `not-a-cache`, `other-parameters`, `read-only` when a new cache cannot be written
 */
export async function openSetCache(device: BlockDevice, options: SetCacheOptions = {}): Promise<FlashEngine> {
  const { salt = 0 } = options;
  if (device.blocks <= HEADER_BLOCKS) throw new FlashError("bad-options", "a set cache has three blocks at least");
  if (!(Number.isInteger(salt) && salt >= 0 && salt < 2 ** 32)) {
    throw new FlashError("bad-options", `a salt is 0 to 2^32 - 1, not ${salt}`);
  }
  const found = await readHeader(device);
  if (found !== undefined && found.salt === salt) return new SetCache(device, found, false);
  // Before any bucket: one signed with this generation must not be there from an earlier try.
  const header = { salt, generation: (found?.generation ?? 0) + 1, edition: (found?.edition ?? 0) + 1, objects: 0 };
  await writeHeader(device, header);
  return new SetCache(device, header, true);
}

class SetCache implements FlashEngine {
  readonly name = "set";
  readonly maxObjectBytes = MAX_OBJECT_BYTES;
  readonly #device: BlockDevice;
  readonly #buckets: number;
  readonly #filters: BucketFilters;
  readonly #stats: EngineStats = noStats();
  readonly #before: { readonly written: number; readonly read: number };
  #header: Header;
  /** The last change of a bucket that is under way; a change waits for the one before it. */
  readonly #changes = new Map<number, Promise<void>>();
  readonly #idlePages: Uint8Array[] = [];
  #pages = 0;
  #freshBytes = 0;
  #filledBytes = 0;
  #saving: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(device: BlockDevice, header: Header, isNew: boolean) {
    this.#device = device;
    this.#header = header;
    this.#buckets = device.blocks - HEADER_BLOCKS;
    this.#filters = new BucketFilters(this.#buckets, isNew);
    this.#stats.residentObjects = header.objects;
    this.#before = { written: device.counters.hostBytesWritten, read: device.counters.hostBytesRead };
  }

  async get(key: HashedKey, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.#alive();
    signal?.throwIfAborted();
    this.#stats.gets++;
    const bucket = setNumberOf(key, this.#buckets);
    if (!this.#filters.mayHold(bucket, key.low)) return undefined;
    const page = this.#idlePages.pop() ?? this.#morePages();
    try {
      const wasUnknown = this.#filters.isUnknown(bucket);
      if (!(await this.#readUndisturbed(bucket, page))) return undefined;
      signal?.throwIfAborted();
      if (this.#filters.isUnknown(bucket) && !this.#changes.has(bucket)) this.#filters.fill(bucket, page);
      const entry = findEntry(page, 0, key);
      if (entry < 0) {
        if (!wasUnknown) this.#stats.falsePositives++;
        return undefined;
      }
      // Hidden meanwhile: a put of the key was refused.
      if (this.#stats.readOnly !== undefined && !this.#filters.mayHold(bucket, key.low)) return undefined;
      this.#stats.hitsFlash++;
      return entryValue(page, entry);
    } finally {
      this.#idlePages.push(page);
    }
  }

  async put(key: HashedKey, value: Uint8Array): Promise<boolean> {
    this.#alive();
    this.#stats.puts++;
    // One that is too large replaces the object all the same, by nothing.
    if (key.bytes.length + value.length <= MAX_OBJECT_BYTES) return this.#change(key, value);
    await this.#change(key, undefined);
    return false;
  }

  async delete(key: HashedKey): Promise<void> {
    this.#alive();
    this.#stats.deletes++;
    await this.#change(key, undefined);
  }

  /** @throws FlashError `read-only`, `closed` */
  async flush(): Promise<void> {
    this.#alive();
    await this.#saveHeader();
    const { readOnly } = this.#stats;
    if (readOnly !== undefined) throw new FlashError("read-only", `nothing is written any more: ${readOnly}`);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#saveHeader();
    await this.#device.close();
  }

  stats(): EngineStats {
    const { counters } = this.#device;
    const unitBytes = Math.max(1, this.#stats.fates.flushed * PAGE_BYTES);
    return {
      ...this.#stats,
      fates: { ...this.#stats.fates },
      deviceBytesWritten: counters.hostBytesWritten - this.#before.written,
      deviceBytesRead: counters.hostBytesRead - this.#before.read,
      ram: { index: this.#filters.bytes, buffers: this.#pages * PAGE_BYTES, hotness: 0 },
      fillRate: { fresh: this.#freshBytes / unitBytes, all: this.#filledBytes / unitBytes },
    };
  }

  /** @param value undefined: the key is deleted @returns whether the value is kept now */
  async #change(key: HashedKey, value: Uint8Array | undefined): Promise<boolean> {
    const bucket = setNumberOf(key, this.#buckets);
    const before = this.#changes.get(bucket);
    // Nothing to delete. A change under way may be about to put the key.
    if (value === undefined && before === undefined && !this.#filters.mayHold(bucket, key.low)) return false;
    let done = () => {};
    const turn = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.#changes.set(bucket, turn);
    const page = this.#idlePages.pop() ?? this.#morePages();
    try {
      if (before !== undefined) await before;
      if (this.#stats.readOnly === undefined) return await this.#rewrite(bucket, page, key, value);
      this.#filters.hide(bucket, key.low);
      return false;
    } finally {
      this.#idlePages.push(page);
      if (this.#changes.get(bucket) === turn) this.#changes.delete(bucket);
      done();
    }
  }

  async #rewrite(bucket: number, page: Uint8Array, key: HashedKey, value: Uint8Array | undefined): Promise<boolean> {
    const stats = this.#stats;
    const found = this.#filters.isEmpty(bucket) ? "nothing" : await this.#read(bucket, page);
    if (found !== "set") clearSet(page, 0, bucket);
    const objectsBefore = entryCount(page, 0);
    const old = findEntry(page, 0, key);
    // What could not be read now may be readable later, with the key in it.
    if (old < 0 && value === undefined && found !== "damaged") return false;
    if (old >= 0) removeEntry(page, 0, old);
    let evicted = 0;
    if (value !== undefined) {
      const objectBytes = key.bytes.length + value.length;
      for (; !fits(page, 0, objectBytes); evicted++) removeEntry(page, 0, firstEntry(0));
      appendEntry(page, 0, key, value);
    }
    sealSet(page, 0, this.#header.generation, 0);
    try {
      await this.#device.write(HEADER_BLOCKS + bucket, page);
    } catch (error) {
      if (!(error instanceof FlashError) || error.kind !== "read-only") throw error;
      // On flash the bucket is as it was, or torn: with an older value of the key, perhaps.
      stats.readOnly = error.message;
      this.#filters.empty(bucket);
      stats.residentObjects -= objectsBefore;
      return false;
    }
    this.#filters.fill(bucket, page);
    stats.residentObjects += entryCount(page, 0) - objectsBefore;
    stats.fates.evictedCold += evicted;
    if (old >= 0) stats.fates.replaced++;
    if (value === undefined) return false;
    if (old >= 0) stats.updates++;
    const objectBytes = key.bytes.length + value.length;
    stats.fates.flushed++;
    stats.logicalBytes += objectBytes;
    this.#freshBytes += ENTRY_BYTES + objectBytes;
    this.#filledBytes += usedBytes(page, 0);
    return true;
  }

  /** For a get: not while the bucket is written. @returns whether there is a bucket to look into */
  async #readUndisturbed(bucket: number, page: Uint8Array): Promise<boolean> {
    for (let reads = 1; ; reads++) {
      const change = this.#changes.get(bucket);
      if (change !== undefined) await change;
      this.#stats.setPagesRead++;
      const found = await this.#read(bucket, page);
      if (found === "set") return true;
      if (!this.#changes.has(bucket) || reads === MOST_READS) return false;
      if (found === "damaged") this.#stats.readErrors--;
    }
  }

  /** @returns `nothing`: never written, or of another generation; `damaged`: unreadable or torn, which is counted */
  async #read(bucket: number, page: Uint8Array): Promise<"set" | "nothing" | "damaged"> {
    try {
      await this.#device.read(HEADER_BLOCKS + bucket, page);
    } catch (error) {
      if (!(error instanceof FlashError) || error.kind !== "read-failed") throw error;
      this.#stats.readErrors++;
      return "damaged";
    }
    if (verifySet(page, 0, bucket)) return sequenceLow(page, 0) === this.#header.generation ? "set" : "nothing";
    if (isBlank(page)) return "nothing";
    this.#stats.readErrors++;
    return "damaged";
  }

  /** One after another: of two headers written at a time a kill could leave none. */
  #saveHeader(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      await Promise.all(this.#changes.values());
      if (this.#stats.readOnly !== undefined) return;
      const objects = Math.max(0, this.#stats.residentObjects);
      this.#header = { ...this.#header, edition: this.#header.edition + 1, objects };
      try {
        await writeHeader(this.#device, this.#header);
      } catch (error) {
        if (!(error instanceof FlashError) || error.kind !== "read-only") throw error;
        this.#stats.readOnly = error.message;
      }
    });
    return this.#saving;
  }

  #morePages(): Uint8Array {
    this.#pages++;
    return new Uint8Array(PAGE_BYTES);
  }

  #alive(): void {
    if (this.#closed) throw new FlashError("closed", "the cache was closed");
  }
}

/** As a block that was never written. */
function isBlank(page: Uint8Array): boolean {
  for (let i = 0; i < SET_HEADER_BYTES; i++) if (page[i] !== 0) return false;
  return true;
}
