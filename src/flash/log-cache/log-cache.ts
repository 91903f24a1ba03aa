/**
 * The engine `log`: objects appended to zones one after another, every one of them in a RAM index, whole zones evicted oldest
 * first. Least written and read of all engines, and the most RAM: about 80 bits an object. Not for objects above 4,058 bytes.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { type EngineStats, type Fates, type FlashEngine, noStats } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { MAX_OBJECT_BYTES } from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";
import { LogIndex } from "./log-index.ts";
import {
  isDeletion,
  isOfKey,
  LARGEST_UNIT,
  MOST_RECORD_BYTES,
  objectBytesAt,
  RECORD_HEADER_BYTES,
  recordBytes,
  valueAt,
  verifyRecord,
} from "./record.ts";
import { recoverLog } from "./recovery.ts";
import { ZoneSuccession } from "./zone-succession.ts";
import { type WriteBuffer, wholePages, ZoneWriter } from "./zone-writer.ts";

export interface LogCacheOptions {
  /** Bytes of one write; two such buffers are in RAM. At most a quarter of a zone is used. @default 1 MiB */
  readonly bufferBytes?: number;
  /**
   * Of an evicted zone, the share whose objects are copied forward because they were read since they were written, 0 to 0.9. Above
   * 0, one zone is kept empty.
   * @default 0
   */
  readonly readmitShare?: number;
}

/** A header, a record across two pages and a footer. */
const FEWEST_ZONE_PAGES = 4;
/** Sets the index's partitions only. */
const EXPECTED_RECORD_BYTES = 256;
const READ_BYTES = wholePages(MOST_RECORD_BYTES) + PAGE_BYTES;
/** A zone that is reset while it is read: its record may have been copied forward, and once more. */
const MOST_READS = 3;

/**
 * Reads footers only, and zones without one record by record; writes nothing before the first put or delete.
 * @throws FlashError `bad-options`, `not-a-cache`, `other-parameters`
 */
export async function openLogCache(device: ZoneDevice, options: LogCacheOptions = {}): Promise<FlashEngine> {
  const { bufferBytes = 2 ** 20, readmitShare = 0 } = options;
  checkOptions(device, bufferBytes, readmitShare);
  const capacityBytes = device.zones * device.zoneBytes;
  let unit = 1;
  while (capacityBytes / unit >= 2 ** 31) unit *= 2;
  if (unit > LARGEST_UNIT) throw new FlashError("bad-options", "a log has at most 128 GiB: open several");
  const index = new LogIndex(capacityBytes / EXPECTED_RECORD_BYTES);
  const found = await recoverLog(device, index, unit);
  const slice = Math.min(bufferBytes, device.zoneBytes / 4);
  const writer = new ZoneWriter(device, unit, Math.max(PAGE_BYTES, slice - (slice % PAGE_BYTES)));
  const stats = noStats();
  const succession = new ZoneSuccession(device, index, writer, found, stats.fates, { unit, readmitShare });
  return new LogCache({ device, unit, index, writer, succession, stats });
}

interface Parts {
  readonly device: ZoneDevice;
  readonly unit: number;
  readonly index: LogIndex;
  readonly writer: ZoneWriter;
  readonly succession: ZoneSuccession;
  readonly stats: EngineStats;
}

class LogCache implements FlashEngine {
  readonly name = "log";
  readonly maxObjectBytes = MAX_OBJECT_BYTES;
  readonly #device: ZoneDevice;
  readonly #unit: number;
  readonly #unitsPerZone: number;
  readonly #index: LogIndex;
  readonly #writer: ZoneWriter;
  readonly #succession: ZoneSuccession;
  readonly #stats: EngineStats;
  readonly #writtenBefore: number;
  readonly #readBefore: number;
  readonly #resetsBefore: number;
  #freshBytes = 0;
  /** Memory for reads, as much as was ever in use at a time. */
  readonly #idleMemory: Uint8Array[] = [];
  #memories = 0;
  /** Whoever needs the writer for longer than a call waits for the one before. */
  #lastTurn: Promise<void> = Promise.resolve();
  #turns = 0;
  #closed = false;

  constructor({ device, unit, index, writer, succession, stats }: Parts) {
    this.#device = device;
    this.#unit = unit;
    this.#unitsPerZone = device.zoneBytes / unit;
    this.#index = index;
    this.#writer = writer;
    this.#succession = succession;
    this.#stats = stats;
    this.#writtenBefore = device.counters.hostBytesWritten;
    this.#readBefore = device.counters.hostBytesRead;
    this.#resetsBefore = device.counters.resets;
  }

  async get(key: HashedKey, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.#alive();
    signal?.throwIfAborted();
    this.#stats.gets++;
    const place = this.#index.find(key.low, key.high);
    if (place === 0) return undefined;
    const buffer = this.#bufferOf(place);
    return buffer === undefined ? this.#getFromFlash(key, signal) : this.#fromRam(key, place, buffer);
  }

  async put(key: HashedKey, value: Uint8Array): Promise<boolean> {
    this.#alive();
    this.#stats.puts++;
    const objectBytes = key.bytes.length + value.length;
    if (objectBytes > MAX_OBJECT_BYTES) {
      // What was kept under the key is no longer its value.
      await this.#remove(key);
      return false;
    }
    if (this.#turns === 0 && this.#stats.readOnly === undefined) {
      if (this.#writer.fits(recordBytes(objectBytes, this.#unit))) {
        this.#keep(key, value);
        return true;
      }
    }
    return this.#write(key, value);
  }

  async delete(key: HashedKey): Promise<void> {
    this.#alive();
    this.#stats.deletes++;
    await this.#remove(key);
  }

  /** @throws FlashError `read-only`, `closed` */
  async flush(): Promise<void> {
    this.#alive();
    await this.#inTurn(() => this.#writeOut());
    const { readOnly } = this.#stats;
    if (readOnly !== undefined) throw new FlashError("read-only", `nothing is written any more: ${readOnly}`);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#inTurn(async () => {
      await this.#writeOut();
      await this.#device.close();
    });
  }

  stats(): EngineStats {
    const stats = this.#stats;
    const { counters } = this.#device;
    const written = counters.hostBytesWritten - this.#writtenBefore;
    const unsavedBytes = this.#writer.unsavedBytes;
    // The list of the present zone and what is gathered are not written yet, but what they hold is counted.
    const units = Math.max(1, written + unsavedBytes);
    const index = this.#index.bytes - this.#index.markBytes + this.#device.zones * Float64Array.BYTES_PER_ELEMENT;
    const fates: Fates = { ...stats.fates, flushed: this.#writer.flushed };
    return {
      ...stats,
      deviceBytesWritten: written,
      deviceBytesRead: counters.hostBytesRead - this.#readBefore,
      zoneResets: counters.resets - this.#resetsBefore,
      residentObjects: this.#index.count,
      ram: {
        index,
        buffers: this.#writer.ramBytes + this.#memories * READ_BYTES,
        hotness: this.#index.markBytes,
      },
      fates,
      fillRate: { fresh: this.#freshBytes / units, all: (this.#freshBytes + this.#succession.copiedBytes) / units },
      unsavedBytes,
    };
  }

  /** Adds the record, for which there is room. */
  #keep(key: HashedKey, value: Uint8Array): void {
    const stats = this.#stats;
    const offset = this.#writer.add(key, value);
    const place = this.#writer.zone * this.#unitsPerZone + offset / this.#unit;
    if (this.#index.set(key.low, key.high, place) !== 0) {
      stats.updates++;
      stats.fates.replaced++;
    }
    const objectBytes = key.bytes.length + value.length;
    stats.logicalBytes += objectBytes;
    this.#freshBytes += recordBytes(objectBytes, this.#unit);
  }

  async #remove(key: HashedKey): Promise<void> {
    if (this.#turns === 0 && this.#index.find(key.low, key.high) === 0) return;
    await this.#write(key, undefined);
  }

  /** @param value undefined: the key is deleted @returns false when nothing can be written any more: then the key is a miss */
  #write(key: HashedKey, value: Uint8Array | undefined): Promise<boolean> {
    const objectBytes = key.bytes.length + (value?.length ?? 0);
    return this.#inTurn(async () => {
      if (await this.#makeRoom(recordBytes(objectBytes, this.#unit))) {
        if (value !== undefined) {
          this.#keep(key, value);
          return true;
        }
        // Older copies of a key that the index does not know are deleted already.
        if (this.#index.find(key.low, key.high) !== 0) this.#writer.add(key, undefined);
      }
      if (this.#index.remove(key.low, key.high) !== 0) this.#stats.fates.replaced++;
      return false;
    });
  }

  async #makeRoom(bytes: number): Promise<boolean> {
    if (this.#stats.readOnly !== undefined) return false;
    return this.#orReadOnly(async () => {
      while (!this.#writer.fits(bytes)) {
        if (this.#writer.zoneTakes(bytes)) await this.#writer.roll();
        else await this.#succession.next();
      }
    });
  }

  async #writeOut(): Promise<void> {
    if (this.#stats.readOnly !== undefined) return;
    await this.#orReadOnly(async () => {
      await this.#writer.writeOut();
      await this.#device.sync();
    });
  }

  /** @returns false when the device takes no more writes */
  async #orReadOnly(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof FlashError) || error.kind !== "read-only") throw error;
      this.#stats.readOnly = error.message;
      return false;
    }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#lastTurn;
    let done = () => {};
    this.#lastTurn = new Promise((resolve) => {
      done = resolve;
    });
    this.#turns++;
    await before;
    try {
      return await work();
    } finally {
      this.#turns--;
      done();
    }
  }

  /** Where the record is in RAM still. */
  #bufferOf(place: number): WriteBuffer | undefined {
    if (Math.floor(place / this.#unitsPerZone) !== this.#writer.zone) return undefined;
    return this.#writer.bufferOf((place % this.#unitsPerZone) * this.#unit);
  }

  #fromRam(key: HashedKey, place: number, buffer: WriteBuffer): Uint8Array | undefined {
    const at = (place % this.#unitsPerZone) * this.#unit - buffer.base;
    if (!isOfKey(buffer.bytes, at, key)) return undefined;
    this.#index.markRead(key.low, key.high, place);
    this.#stats.hitsRam++;
    return valueAt(buffer.bytes, at);
  }

  async #getFromFlash(key: HashedKey, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const memory = this.#idleMemory.pop() ?? this.#moreMemory();
    try {
      for (let reads = 0; reads < MOST_READS; reads++) {
        const place = this.#index.find(key.low, key.high);
        if (place === 0) return undefined;
        const buffer = this.#bufferOf(place);
        if (buffer !== undefined) return this.#fromRam(key, place, buffer);
        const zone = Math.floor(place / this.#unitsPerZone);
        const sequence = this.#succession.sequenceOf(zone);
        const offset = (place % this.#unitsPerZone) * this.#unit;
        const whole = await this.#readRecord(memory, zone, offset, sequence);
        signal?.throwIfAborted();
        // The zone was evicted meanwhile, and other records lie in it.
        if (this.#succession.sequenceOf(zone) !== sequence) continue;
        if (whole) return this.#found(key, place, memory, offset % PAGE_BYTES);
        this.#stats.readErrors++;
        return undefined;
      }
      return undefined;
    } finally {
      this.#idleMemory.push(memory);
    }
  }

  /** Reads the page where the record begins, and the next if it does not end there. @returns whether a whole record was read */
  async #readRecord(memory: Uint8Array, zone: number, offset: number, sequence: number): Promise<boolean> {
    const page = Math.floor(offset / PAGE_BYTES);
    const at = offset % PAGE_BYTES;
    const firstPages = at + RECORD_HEADER_BYTES > PAGE_BYTES ? 2 : 1;
    try {
      await this.#readPages(memory, 0, zone, page, firstPages);
      const end = at + RECORD_HEADER_BYTES + objectBytesAt(memory, at);
      const pages = wholePages(end) / PAGE_BYTES;
      if (end - at > MOST_RECORD_BYTES) return false;
      if (pages > firstPages) {
        await this.#readPages(memory, firstPages * PAGE_BYTES, zone, page + firstPages, pages - firstPages);
      }
      return verifyRecord(memory, at, end, sequence);
    } catch (error) {
      // `bad-access`: past the write pointer of a zone that was reset meanwhile, or of a length that a flipped bit made up.
      if (!(error instanceof FlashError) || (error.kind !== "read-failed" && error.kind !== "bad-access")) throw error;
      return false;
    }
  }

  async #readPages(memory: Uint8Array, at: number, zone: number, page: number, pages: number): Promise<void> {
    this.#stats.setPagesRead += pages;
    await this.#device.read(zone, page, pages, memory.subarray(at, at + pages * PAGE_BYTES));
  }

  #found(key: HashedKey, place: number, memory: Uint8Array, at: number): Uint8Array | undefined {
    if (isDeletion(memory, at) || !isOfKey(memory, at, key)) {
      this.#stats.falsePositives++;
      return undefined;
    }
    this.#index.markRead(key.low, key.high, place);
    this.#stats.hitsFlash++;
    return valueAt(memory, at);
  }

  #moreMemory(): Uint8Array {
    this.#memories++;
    return new Uint8Array(READ_BYTES);
  }

  #alive(): void {
    if (this.#closed) throw new FlashError("closed", "the cache was closed");
  }
}

function checkOptions(device: ZoneDevice, bufferBytes: number, readmitShare: number): void {
  const fewest = readmitShare > 0 ? 3 : 2;
  if (device.zones < fewest || device.zoneBytes < FEWEST_ZONE_PAGES * PAGE_BYTES) {
    throw new FlashError("bad-options", `a log needs ${fewest} zones of ${FEWEST_ZONE_PAGES} pages at least`);
  }
  if (!(bufferBytes >= PAGE_BYTES)) throw new FlashError("bad-options", "the buffer has one page at least");
  if (!(readmitShare >= 0 && readmitShare <= 0.9)) {
    throw new FlashError("bad-options", `the share that is readmitted is 0 to 0.9, not ${readmitShare}`);
  }
}
