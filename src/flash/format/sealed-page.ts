/**
 * A page that proves its own wholeness: what it is for in its last 16 bytes, with a checksum. For pages that are not sets: zone
 * headers and footers, index pages, checkpoints. What the 4,080 bytes before mean is not known here.
 *
 * Tail, little-endian: 4,080 owner u32 (a sequence or group number); 4,084 place u32 (a set or page number); 4,088 kind u32;
 * 4,092 crc32 of all before.
 */
import { crc32 } from "node:zlib";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { readU32, writeU32 } from "./little-endian.ts";

/** Bytes of a sealed page that are its user's. */
export const PAYLOAD_BYTES = PAGE_BYTES - 16;

/** A number for each use, so that one is never read as another. */
export type PageKind = "header" | "footer" | "index" | "checkpoint";

const KINDS: Readonly<Record<PageKind, number>> = {
  header: 0x7a680001,
  footer: 0x7a660001,
  index: 0x7a690001,
  checkpoint: 0x7a630001,
};

export function sealPage(bytes: Uint8Array, at: number, kind: PageKind, owner: number, place: number): void {
  writeU32(bytes, at + PAYLOAD_BYTES, owner);
  writeU32(bytes, at + PAYLOAD_BYTES + 4, place);
  writeU32(bytes, at + PAYLOAD_BYTES + 8, KINDS[kind]);
  writeU32(bytes, at + PAYLOAD_BYTES + 12, checksum(bytes, at));
}

/** Whether the page is whole and of that kind, whoever owns it. */
export function verifyKind(bytes: Uint8Array, at: number, kind: PageKind): boolean {
  const end = at + PAYLOAD_BYTES;
  return readU32(bytes, end + 8) === KINDS[kind] && readU32(bytes, end + 12) === checksum(bytes, at);
}

/** Whether the page is whole, of that kind, that owner and that place. */
export function verifyPage(bytes: Uint8Array, at: number, kind: PageKind, owner: number, place: number): boolean {
  const end = at + PAYLOAD_BYTES;
  if (readU32(bytes, end) !== owner >>> 0 || readU32(bytes, end + 4) !== place) return false;
  return verifyKind(bytes, at, kind);
}

function checksum(bytes: Uint8Array, at: number): number {
  return crc32(bytes.subarray(at, at + PAGE_BYTES - 4));
}
