/** What a zone of the log holds, read back: its stamps, its footer, or all of it record by record. Judges nothing and keeps nothing. */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { objectBytesAt, RECORD_HEADER_BYTES, recordBytes, verifyRecord } from "./record.ts";
import { looksLikeHeader, readHeader, readTrailer, type Stamp, VOID_SEQUENCE, verifyList } from "./zone-format.ts";

/** Pages of one read of a whole zone: 1 MiB. */
const SLICE_PAGES = 256;

export type ZoneFound =
  | { readonly state: "ours"; readonly stamp: Stamp }
  /** Never written, or given up; or a write of its first page was cut off. */
  | { readonly state: "empty" }
  | { readonly state: "foreign" };

/** @throws FlashError `other-parameters`, `closed` */
export async function inspectZone(device: ZoneDevice, zone: number): Promise<ZoneFound> {
  const pages = Math.floor(device.written(zone) / PAGE_BYTES);
  if (pages === 0) return { state: "empty" };
  let first: Uint8Array;
  let stamp: Stamp | undefined;
  try {
    first = await device.read(zone, 0, 1);
    // Not the trailer where this cannot be made out: the zone may have been about to begin another life, and the trailer may be of
    // one long past, whose records were replaced by others that are gone.
    stamp = readHeader(first);
  } catch (error) {
    if (!(error instanceof FlashError) || error.kind !== "read-failed") throw error;
    first = await readable(device, zone, pages - 1, 1);
    stamp = readTrailer(first);
  }
  if (stamp !== undefined) return stamp.sequence === VOID_SEQUENCE ? { state: "empty" } : { state: "ours", stamp };
  const empty = first.every((byte) => byte === 0) || looksLikeHeader(first);
  return { state: empty ? "empty" : "foreign" };
}

/** The list of all records of that life of the zone; undefined when it has no footer, or none that can be read and is whole. */
export async function readFooter(device: ZoneDevice, zone: number, sequence: number): Promise<Footer | undefined> {
  const pages = device.zoneBytes / PAGE_BYTES;
  if (device.written(zone) < device.zoneBytes) return undefined;
  try {
    const trailer = readTrailer(await device.read(zone, pages - 1, 1));
    if (trailer === undefined || trailer.sequence !== sequence || trailer.footerPages >= pages) return undefined;
    const list = await device.read(zone, pages - trailer.footerPages, trailer.footerPages);
    return verifyList(list, trailer) ? { list, records: trailer.records } : undefined;
  } catch (error) {
    if (error instanceof FlashError && error.kind === "read-failed") return undefined;
    throw error;
  }
}

export interface Footer {
  readonly list: Uint8Array;
  readonly records: number;
}

/** All of a zone that was written; what cannot be read is zeros. */
export async function readZone(device: ZoneDevice, zone: number): Promise<Uint8Array> {
  const pages = Math.floor(device.written(zone) / PAGE_BYTES);
  const bytes = new Uint8Array(pages * PAGE_BYTES);
  for (let page = 0; page < pages; page += SLICE_PAGES) {
    const count = Math.min(SLICE_PAGES, pages - page);
    bytes.set(await readable(device, zone, page, count), page * PAGE_BYTES);
  }
  return bytes;
}

/**
 * Where whole records of that life begin, in order. After a damaged stretch the search goes on unit by unit: the checksum, begun
 * with the sequence number, tells a record from anything else.
 */
export function scanRecords(bytes: Uint8Array, sequence: number, unit: number): number[] {
  const found: number[] = [];
  let at = PAGE_BYTES;
  while (at + RECORD_HEADER_BYTES <= bytes.length) {
    if (verifyRecord(bytes, at, bytes.length, sequence)) {
      found.push(at);
      at += recordBytes(objectBytesAt(bytes, at), unit);
    } else if (isZero(bytes, at)) {
      at = nextNonZero(bytes, at, unit);
    } else {
      at += unit;
    }
  }
  return found;
}

async function readable(device: ZoneDevice, zone: number, page: number, pages: number): Promise<Uint8Array> {
  try {
    return await device.read(zone, page, pages);
  } catch (error) {
    if (!(error instanceof FlashError) || error.kind !== "read-failed") throw error;
    if (pages === 1) return new Uint8Array(PAGE_BYTES);
    const bytes = new Uint8Array(pages * PAGE_BYTES);
    for (let i = 0; i < pages; i++) bytes.set(await readable(device, zone, page + i, 1), i * PAGE_BYTES);
    return bytes;
  }
}

function isZero(bytes: Uint8Array, at: number): boolean {
  return (bytes[at] | bytes[at + 1] | bytes[at + 2] | bytes[at + 3] | bytes[at + 6] | bytes[at + 7]) === 0;
}

/** A record's kind is never 0 at its byte 7, so that none begins more than 7 bytes before the next byte that is not 0. */
function nextNonZero(bytes: Uint8Array, from: number, unit: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] === 0) at++;
  const earliest = Math.max(from + unit, at - RECORD_HEADER_BYTES);
  return Math.ceil(earliest / unit) * unit;
}
