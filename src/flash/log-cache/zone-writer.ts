/**
 * The zone that the log is writing: two buffers, one that fills while the other goes to the device, and the list for the footer. It
 * knows no index and picks no zone. Not concurrent: whoever calls `roll`, `writeOut`, `seal` or `begin` lets nobody add meanwhile;
 * reading what is in RAM is always allowed.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import type { HashedKey } from "../key-hash.ts";
import {
  hashHighAt,
  hashLowAt,
  isDeletion,
  MOST_RECORD_BYTES,
  objectBytesAt,
  recordBytes,
  signRecord,
  writeRecord,
} from "./record.ts";
import { type Life, RecordList, VOID_SEQUENCE, writeHeader } from "./zone-format.ts";

/** A stretch of the zone in RAM. All offsets in it are from `base`, which is a page's begin. */
export interface WriteBuffer {
  readonly bytes: Uint8Array;
  base: number;
  /** What lies before is on the device or with it. Whole pages. */
  written: number;
  used: number;
  /** Objects that were put, not copied, since `written`. */
  fresh: number;
}

export class ZoneWriter {
  readonly #device: ZoneDevice;
  readonly #unit: number;
  readonly #sliceBytes: number;
  readonly #list = new RecordList();
  #current: WriteBuffer;
  #other: WriteBuffer;
  /** The write of `#other`, until it is known to have succeeded. */
  #writing: Promise<void> | undefined;
  #writingBytes = 0;
  /** The record that crosses into the last page of `#current`, or the last that did. */
  #crossing = { begin: 0, end: 0 };
  #zone = -1;
  #sequence = 0;
  /** Objects that reached the device for the first time. */
  flushed = 0;

  /** @param sliceBytes of one write, about; whole pages */
  constructor(device: ZoneDevice, unit: number, sliceBytes: number) {
    this.#device = device;
    this.#unit = unit;
    this.#sliceBytes = sliceBytes;
    const capacity = wholePages(sliceBytes + 2 * MOST_RECORD_BYTES) + 2 * PAGE_BYTES;
    this.#current = emptyBuffer(capacity);
    this.#other = emptyBuffer(capacity);
  }

  /** -1 before the first. */
  get zone(): number {
    return this.#zone;
  }

  get ramBytes(): number {
    return this.#current.bytes.length + this.#other.bytes.length + this.#list.ramBytes;
  }

  /** What a kill would lose. */
  get unsavedBytes(): number {
    return this.#current.used - this.#current.written + this.#writingBytes;
  }

  /** Whether the record can be added at once; otherwise `roll`, or when that does not help `seal` and `begin`. */
  fits(bytes: number): boolean {
    const { used, written, bytes: memory } = this.#current;
    return used - written < this.#sliceBytes && used + bytes <= memory.length && this.zoneTakes(bytes);
  }

  /** Whether the zone has room for the record and its line in the footer. */
  zoneTakes(bytes: number): boolean {
    if (this.#zone < 0) return false;
    return this.takesAll(1, bytes);
  }

  /** As `zoneTakes`, for several records of so many bytes together. */
  takesAll(records: number, bytes: number): boolean {
    const end = this.#current.base + this.#current.used + bytes;
    return wholePages(end) + this.#list.footerBytes(records) <= this.#device.zoneBytes;
  }

  /** The record must fit. @param value undefined: a deletion @returns where it begins in the zone */
  add(key: HashedKey, value: Uint8Array | undefined): number {
    const { used, bytes } = this.#current;
    writeRecord(bytes, used, key, value, this.#sequence, this.#unit);
    if (value !== undefined) this.#current.fresh++;
    return this.#added();
  }

  /** A record of another zone, verified; it must fit. @returns where it begins in the zone */
  addCopy(from: Uint8Array, at: number): number {
    const { used, bytes } = this.#current;
    bytes.set(from.subarray(at, at + recordBytes(objectBytesAt(from, at), this.#unit)), used);
    signRecord(bytes, used, this.#sequence);
    return this.#added();
  }

  /** The buffer that holds the record at this offset of the zone; undefined when it must be read from the device. */
  bufferOf(offset: number): WriteBuffer | undefined {
    if (offset >= this.#current.base) return this.#current;
    return this.#writing !== undefined && offset >= this.#other.base ? this.#other : undefined;
  }

  /** Starts writing what is gathered, and goes on in the other buffer. @throws FlashError `read-only`: what is in RAM stays there */
  async roll(): Promise<void> {
    await this.#settle();
    const from = this.#current;
    const to = this.#other;
    const whole = from.used - (from.used % PAGE_BYTES);
    // A record that begins in a written page and ends in one that is not stays whole in RAM.
    const kept = this.#crossing.end > whole ? this.#crossing.begin - (this.#crossing.begin % PAGE_BYTES) : whole;
    to.bytes.set(from.bytes.subarray(kept, from.used));
    to.base = from.base + kept;
    to.written = whole - kept;
    to.used = from.used - kept;
    to.fresh = 0;
    this.#crossing = { begin: this.#crossing.begin - kept, end: this.#crossing.end - kept };
    this.#current = to;
    this.#other = from;
    if (whole > from.written) this.#startWriting(from, whole);
  }

  /** Writes everything, up to the next page's begin. @throws FlashError `read-only` */
  async writeOut(): Promise<void> {
    await this.#settle();
    const buffer = this.#current;
    if (this.#zone < 0 || buffer.used === buffer.written) return;
    const end = wholePages(buffer.used);
    buffer.bytes.fill(0, buffer.used, end);
    await this.#device.append(this.#zone, buffer.bytes.subarray(buffer.written, end));
    buffer.used = end;
    buffer.written = end;
    this.flushed += buffer.fresh;
    buffer.fresh = 0;
  }

  /** Writes everything and the footer: the zone is complete. @throws FlashError `read-only` */
  async seal(): Promise<void> {
    await this.writeOut();
    const end = this.#current.base + this.#current.used;
    await this.#device.append(this.#zone, this.#list.sealed(this.#life(), this.#device.zoneBytes - end));
  }

  /**
   * Goes on in a zone that was reset. Its header is on the device, and safe there, before any record: else a record of this life
   * could be found without it, and be taken for one of a later life with the same sequence number.
   * @throws FlashError `read-only`: the zone before stays the present one
   */
  async begin(zone: number, sequence: number): Promise<void> {
    const header = new Uint8Array(PAGE_BYTES);
    writeHeader(header, { ...this.#life(), sequence });
    await this.#device.append(zone, header);
    await this.#device.sync();
    this.#zone = zone;
    this.#sequence = sequence;
    this.#list.clear();
    this.#crossing = { begin: 0, end: 0 };
    Object.assign(this.#current, { base: PAGE_BYTES, written: 0, used: 0, fresh: 0 });
  }

  /** Marks a zone as one without records. @throws FlashError `read-only` */
  async makeVoid(zone: number): Promise<void> {
    const header = new Uint8Array(PAGE_BYTES);
    writeHeader(header, { ...this.#life(), sequence: VOID_SEQUENCE });
    await this.#device.reset(zone);
    await this.#device.append(zone, header);
  }

  #added(): number {
    const buffer = this.#current;
    const { bytes, used, base } = buffer;
    const end = used + recordBytes(objectBytesAt(bytes, used), this.#unit);
    if (Math.floor(end / PAGE_BYTES) > Math.floor(used / PAGE_BYTES)) this.#crossing = { begin: used, end };
    this.#list.add(hashHighAt(bytes, used), hashLowAt(bytes, used), base + used, isDeletion(bytes, used), this.#unit);
    buffer.used = end;
    return base + used;
  }

  #startWriting(buffer: WriteBuffer, end: number): void {
    this.#writingBytes = end - buffer.written;
    this.#writing = this.#device.append(this.#zone, buffer.bytes.subarray(buffer.written, end));
    // Whoever needs the buffer next meets the error.
    this.#writing.catch(() => {});
  }

  async #settle(): Promise<void> {
    if (this.#writing === undefined) return;
    await this.#writing;
    this.#writing = undefined;
    this.#writingBytes = 0;
    this.flushed += this.#other.fresh;
    this.#other.fresh = 0;
  }

  #life(): Life {
    const { zones, zoneBytes } = this.#device;
    return { sequence: this.#sequence, zones, zonePages: zoneBytes / PAGE_BYTES };
  }
}

export function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

function emptyBuffer(capacity: number): WriteBuffer {
  return { bytes: new Uint8Array(capacity), base: 0, written: 0, used: 0, fresh: 0 };
}
