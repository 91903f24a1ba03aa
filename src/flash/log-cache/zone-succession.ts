/**
 * Which zone is written next and what becomes of the one that makes room for it: first in, first out, with the objects that were
 * read copied forward if asked for. Zones that an earlier process left unfinished are copied forward once, at the first write. Its
 * caller lets nobody put or delete meanwhile.
 *
 * Why nothing older comes back: a zone goes only after all older ones, so what replaces or deletes a record outlives it; and a zone
 * that is given up before it is written again is marked as void at once, since a key that the index has forgotten can be deleted
 * without a record of that.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import type { Fates } from "../engine.ts";
import type { LogIndex } from "./log-index.ts";
import {
  hashHighAt,
  hashLowAt,
  isDeletion,
  MOST_RECORD_BYTES,
  objectBytesAt,
  recordBytes,
  verifyRecord,
} from "./record.ts";
import type { LogFound } from "./recovery.ts";
import { type ListedRecord, readListed } from "./zone-format.ts";
import { type Footer, readFooter, readZone, scanRecords } from "./zone-reader.ts";
import type { ZoneWriter } from "./zone-writer.ts";

/** Pages read at once around a record that is copied forward: its neighbours are often wanted too. */
const WINDOW_PAGES = 32;

export interface SuccessionOptions {
  readonly unit: number;
  /** Of a zone's bytes, copied forward at most. 0: nothing is, and no zone is kept in reserve for it. */
  readonly readmitShare: number;
}

export class ZoneSuccession {
  readonly #device: ZoneDevice;
  readonly #index: LogIndex;
  readonly #writer: ZoneWriter;
  readonly #fates: Fates;
  readonly #unit: number;
  readonly #readmitBytes: number;
  readonly #live: number[];
  readonly #free: number[];
  #unfinished: number[];
  readonly #sequences: Float64Array;
  #lastSequence: number;
  /** Bytes of records copied forward. */
  copiedBytes = 0;

  constructor(
    device: ZoneDevice,
    index: LogIndex,
    writer: ZoneWriter,
    found: LogFound,
    fates: Fates,
    options: SuccessionOptions,
  ) {
    this.#device = device;
    this.#index = index;
    this.#writer = writer;
    this.#fates = fates;
    this.#unit = options.unit;
    this.#readmitBytes = options.readmitShare * device.zoneBytes;
    this.#live = found.live;
    this.#free = found.free;
    this.#unfinished = found.unfinished;
    this.#sequences = found.sequences;
    this.#lastSequence = found.lastSequence;
  }

  /** Of the zone's present life. A read that began under another one has failed. */
  sequenceOf(zone: number): number {
    return this.#sequences[zone];
  }

  /** Completes the zone that is written and begins another. @throws FlashError `read-only` */
  async next(): Promise<void> {
    if (this.#writer.zone >= 0) await this.#writer.seal();
    if (this.#free.length === 0) this.#free.push(await this.#evictOldest(0));
    const zone = this.#free[0];
    this.#lastSequence++;
    // Before the reset: a read that fails for it is told from one that fails.
    this.#sequences[zone] = this.#lastSequence;
    if (this.#device.written(zone) > 0) await this.#device.reset(zone);
    await this.#writer.begin(zone, this.#lastSequence);
    this.#free.shift();
    this.#live.push(zone);
    for (const left of this.#unfinished.splice(0)) await this.#moveForward(left);
    if (this.#readmitBytes === 0 || this.#free.length > 0) return;
    const evicted = await this.#evictOldest(this.#readmitBytes);
    await this.#writer.makeVoid(evicted);
    this.#free.push(evicted);
  }

  /** Forgets the oldest zone's objects, but for those that it copies forward. @returns the zone, which may be overwritten */
  async #evictOldest(readmitBytes: number): Promise<number> {
    const zone = this.#live[0];
    this.#unfinished = this.#unfinished.filter((other) => other !== zone);
    const footer = await readFooter(this.#device, zone, this.#sequences[zone]);
    if (footer === undefined) this.#forgetZone(zone);
    else await this.#forgetListed(zone, footer, readmitBytes);
    this.#live.shift();
    return zone;
  }

  async #forgetListed(zone: number, footer: Footer, readmitBytes: number): Promise<void> {
    const index = this.#index;
    const begin = this.#beginOf(zone);
    const window = new ReadWindow(this.#device, zone);
    const record: ListedRecord = { high: 0, low: 0, offset: 0, deletion: false };
    let left = readmitBytes;
    for (let i = 0; i < footer.records; i++) {
      readListed(footer.list, i, this.#unit, record);
      const { high, low, offset } = record;
      const place = begin + offset / this.#unit;
      if (left > 0 && !record.deletion && index.wasRead(low, high, place)) {
        const copied = await this.#copyRecord(zone, offset, window);
        left = copied === 0 ? left : left - copied;
        if (copied > 0) this.#fates.readmitted++;
      }
      if (index.find(low, high) === place) {
        index.remove(low, high);
        this.#fates.evictedCold++;
      }
    }
  }

  /** For a zone without a list of its records. */
  #forgetZone(zone: number): void {
    this.#fates.evictedCold += this.#index.removeRange(this.#beginOf(zone), this.#beginOf(zone + 1));
  }

  /** @returns its bytes; 0 when it cannot be read or the zone that is written is full */
  async #copyRecord(zone: number, offset: number, window: ReadWindow): Promise<number> {
    const at = await window.reach(offset);
    if (at < 0 || !verifyRecord(window.bytes, at, window.bytes.length, this.#sequences[zone])) return 0;
    return this.#copy(window.bytes, at);
  }

  async #copy(bytes: Uint8Array, at: number): Promise<number> {
    const size = recordBytes(objectBytesAt(bytes, at), this.#unit);
    if (!this.#writer.zoneTakes(size)) return 0;
    if (!this.#writer.fits(size)) await this.#writer.roll();
    const low = hashLowAt(bytes, at);
    const high = hashHighAt(bytes, at);
    const offset = this.#writer.addCopy(bytes, at);
    if (!isDeletion(bytes, at)) this.#index.set(low, high, this.#beginOf(this.#writer.zone) + offset / this.#unit);
    this.copiedBytes += size;
    return size;
  }

  /** Copies what still counts in a zone that has no footer, so that it neither wastes the rest of its room nor slows the next open. */
  async #moveForward(zone: number): Promise<void> {
    const bytes = await readZone(this.#device, zone);
    const index = this.#index;
    const begin = this.#beginOf(zone);
    const wanted = scanRecords(bytes, this.#sequences[zone], this.#unit).filter((at) => {
      const place = index.find(hashLowAt(bytes, at), hashHighAt(bytes, at));
      // A deletion counts for as long as nothing newer of the key is there: copied later than that, it would delete it.
      return isDeletion(bytes, at) ? place === 0 : place === begin + at / this.#unit;
    });
    const size = wanted.reduce((sum, at) => sum + recordBytes(objectBytesAt(bytes, at), this.#unit), 0);
    if (!this.#writer.takesAll(wanted.length, size)) return;
    for (const at of wanted) await this.#copy(bytes, at);
    await this.#writer.writeOut();
    await this.#device.sync();
    this.#forgetZone(zone);
    this.#live.splice(this.#live.indexOf(zone), 1);
    await this.#writer.makeVoid(zone);
    this.#free.push(zone);
  }

  #beginOf(zone: number): number {
    return (zone * this.#device.zoneBytes) / this.#unit;
  }
}

/** Reads records of a zone in ascending order, several pages at a time. */
class ReadWindow {
  readonly #device: ZoneDevice;
  readonly #zone: number;
  #page = 0;
  bytes: Uint8Array = new Uint8Array(0);

  constructor(device: ZoneDevice, zone: number) {
    this.#device = device;
    this.#zone = zone;
  }

  /** Makes the whole record that begins there lie in `bytes`. @returns where, or -1 when it cannot be read */
  async reach(offset: number): Promise<number> {
    const zonePages = this.#device.zoneBytes / PAGE_BYTES;
    const end = Math.min(offset + MOST_RECORD_BYTES, this.#device.zoneBytes);
    if (offset < this.#page * PAGE_BYTES || end > this.#page * PAGE_BYTES + this.bytes.length) {
      const page = Math.floor(offset / PAGE_BYTES);
      try {
        this.bytes = await this.#device.read(this.#zone, page, Math.min(WINDOW_PAGES, zonePages - page));
        this.#page = page;
      } catch {
        this.bytes = new Uint8Array(0);
        return -1;
      }
    }
    return offset - this.#page * PAGE_BYTES;
  }
}
