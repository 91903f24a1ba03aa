/**
 * How a zone of the log begins and ends. Its first page holds a stamp, twice; records follow; a full zone ends with its footer, the
 * list of its records, whose last 64 bytes are a stamp again. So a zone is known, ordered and indexed by three reads, and one
 * without a whole footer is read record by record.
 *
 * Stamp, little-endian, 64 bytes: 0 crc32 of bytes 4 to 63; 4 magic u32; 8 version u16; 10 zero u16; 12 sequence u64; 20 zones
 * u32; 24 pages of a zone u32; 28 records u32, 32 pages of the footer u32 and 36 crc32 of the list, all three 0 in a header.
 * List entry, 8 bytes: 0 hash, upper half u32; 4 hash, lower 16 bits; 6 units from the record before (the first: from the zone's
 * begin), 0x8000 added for a deletion.
 */
import { crc32 } from "node:zlib";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { readU16, readU32, writeU16, writeU32 } from "../format/little-endian.ts";

const STAMP_BYTES = 64;
const LIST_ENTRY_BYTES = 8;
/** In the first page, so that one flipped bit or torn sector does not lose a zone that has no footer yet. */
const SECOND_STAMP = PAGE_BYTES / 2;
const MAGIC = "WLOG";
const VERSION = 1;
const DELETION = 0x8000;

/** In the header of a zone that was given up. */
export const VOID_SEQUENCE = 0;

export interface Stamp {
  /** 1 upward, one more for each zone begun; or VOID_SEQUENCE. */
  readonly sequence: number;
  readonly zones: number;
  readonly zonePages: number;
  readonly records: number;
  readonly footerPages: number;
  readonly listCrc: number;
}

/** Where a record lies and whose it is. */
export interface ListedRecord {
  high: number;
  /** Lower 16 bits of the lower half. */
  low: number;
  /** From the zone's begin. */
  offset: number;
  deletion: boolean;
}

export type Life = Pick<Stamp, "sequence" | "zones" | "zonePages">;

export function writeHeader(page: Uint8Array, life: Life): void {
  page.fill(0, 0, PAGE_BYTES);
  writeStamp(page, 0, { ...life, records: 0, footerPages: 0, listCrc: 0 });
  page.copyWithin(SECOND_STAMP, 0, STAMP_BYTES);
}

/** @throws FlashError `other-parameters` for another version of the format */
export function readHeader(page: Uint8Array): Stamp | undefined {
  return readStamp(page, 0) ?? readStamp(page, SECOND_STAMP);
}

/** @param page the zone's last */
export function readTrailer(page: Uint8Array): Stamp | undefined {
  const stamp = readStamp(page, PAGE_BYTES - STAMP_BYTES);
  return stamp !== undefined && stamp.footerPages > 0 ? stamp : undefined;
}

/** Whether the page is one of ours though its stamps are not whole: a write of it was cut off, or a bit has flipped. */
export function looksLikeHeader(page: Uint8Array): boolean {
  const magic = Buffer.from(MAGIC, "latin1");
  for (const at of [0, SECOND_STAMP]) if (magic.equals(page.subarray(at + 4, at + 8))) return true;
  // Cut off within the first bytes: the checksum and a part of the magic, nothing after them.
  const written = page.subarray(4, 8);
  return page.subarray(8).every((byte) => byte === 0) && written.every((byte, i) => byte === 0 || byte === magic[i]);
}

/** The list of a zone's records, as its footer holds it. Grows; one is kept for the zone that is written. */
export class RecordList {
  #bytes = new Uint8Array(PAGE_BYTES);
  #records = 0;
  #lastOffset = 0;

  get ramBytes(): number {
    return this.#bytes.byteLength;
  }

  /** Whole pages that the footer takes once `more` records were added. */
  footerBytes(more: number): number {
    const bytes = (this.#records + more) * LIST_ENTRY_BYTES + STAMP_BYTES;
    return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  }

  clear(): void {
    this.#records = 0;
    this.#lastOffset = 0;
  }

  /** @param offset from the zone's begin, a multiple of `unit` */
  add(high: number, low: number, offset: number, deletion: boolean, unit: number): void {
    const at = this.#records * LIST_ENTRY_BYTES;
    if (at + LIST_ENTRY_BYTES > this.#bytes.length) this.#enlarge(2 * this.#bytes.length);
    const bytes = this.#bytes;
    const units = (offset - this.#lastOffset) / unit;
    writeU32(bytes, at, high);
    writeU16(bytes, at + 4, low);
    writeU16(bytes, at + 6, units | (deletion ? DELETION : 0));
    this.#records++;
    this.#lastOffset = offset;
  }

  /** The footer: list, zeros, stamp. Valid until the next `add`. @param bytes whole pages, at least `footerBytes(0)` */
  sealed(life: Life, bytes: number): Uint8Array {
    if (bytes > this.#bytes.length) this.#enlarge(bytes);
    const listed = this.#records * LIST_ENTRY_BYTES;
    const footer = this.#bytes.subarray(0, bytes);
    footer.fill(0, listed);
    writeStamp(footer, bytes - STAMP_BYTES, {
      ...life,
      records: this.#records,
      footerPages: bytes / PAGE_BYTES,
      listCrc: crc32(footer.subarray(0, listed)),
    });
    return footer;
  }

  #enlarge(bytes: number): void {
    const larger = new Uint8Array(bytes);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Whether a footer is the one that the trailer tells of, whole. */
export function verifyList(footer: Uint8Array, trailer: Stamp): boolean {
  const listed = trailer.records * LIST_ENTRY_BYTES;
  return listed + STAMP_BYTES <= footer.length && crc32(footer.subarray(0, listed)) === trailer.listCrc;
}

/** Fills in the next record of a verified list. @param record the one before; at first one with offset 0 */
export function readListed(footer: Uint8Array, index: number, unit: number, record: ListedRecord): void {
  const at = index * LIST_ENTRY_BYTES;
  record.high = readU32(footer, at);
  record.low = readU16(footer, at + 4);
  const units = readU16(footer, at + 6);
  record.offset += (units & (DELETION - 1)) * unit;
  record.deletion = units >= DELETION;
}

function writeStamp(bytes: Uint8Array, at: number, stamp: Stamp): void {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + at, STAMP_BYTES);
  view.fill(0);
  view.write(MAGIC, 4, "latin1");
  view.writeUInt16LE(VERSION, 8);
  view.writeUInt32LE(stamp.sequence >>> 0, 12);
  view.writeUInt32LE(Math.floor(stamp.sequence / 2 ** 32), 16);
  view.writeUInt32LE(stamp.zones, 20);
  view.writeUInt32LE(stamp.zonePages, 24);
  view.writeUInt32LE(stamp.records, 28);
  view.writeUInt32LE(stamp.footerPages, 32);
  view.writeUInt32LE(stamp.listCrc, 36);
  view.writeUInt32LE(crc32(view.subarray(4)), 0);
}

function readStamp(bytes: Uint8Array, at: number): Stamp | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + at, STAMP_BYTES);
  if (view.toString("latin1", 4, 8) !== MAGIC || view.readUInt32LE(0) !== crc32(view.subarray(4))) return undefined;
  const version = view.readUInt16LE(8);
  if (version !== VERSION) {
    throw new FlashError("other-parameters", `the log has format version ${version}, this program writes ${VERSION}`);
  }
  return {
    sequence: view.readUInt32LE(12) + view.readUInt32LE(16) * 2 ** 32,
    zones: view.readUInt32LE(20),
    zonePages: view.readUInt32LE(24),
    records: view.readUInt32LE(28),
    footerPages: view.readUInt32LE(32),
    listCrc: view.readUInt32LE(36),
  };
}
