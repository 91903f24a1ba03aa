/**
 * A record of the log: one object, or the news that a key was deleted. It says whether it is whole and of which zone's life it is;
 * where it lies and what is newer is the index's business.
 *
 * Little-endian: 0 crc32 of all that follows, begun with the zone's sequence number, so that what a zone held before its last reset
 * never passes; 4 value length u16; 6 key length and kind u16; 8 hash, lower 16 bits of the lower half; 10 hash, upper half u32;
 * 14 key; value; zeros up to a multiple of the log's unit. 48 bits of hash are what the index and the footer use.
 */
import { crc32 } from "node:zlib";
import { readU16, readU32, writeU16, writeU32 } from "../format/little-endian.ts";
import { MAX_OBJECT_BYTES } from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";

export const RECORD_HEADER_BYTES = 14;
/** 2^31 places of 64 bytes are 128 GiB; records are padded by half a unit in the mean. */
export const LARGEST_UNIT = 64;
/** The largest object is that of the engines with sets, so that all engines keep the same ones. */
export const MOST_RECORD_BYTES = RECORD_HEADER_BYTES + MAX_OBJECT_BYTES + LARGEST_UNIT;

const KEY_LENGTH = 0x3fff;
const OBJECT = 0x4000;
const DELETION = 0x8000;

/** With header and padding. @param unit power of two */
export function recordBytes(objectBytes: number, unit: number): number {
  return (RECORD_HEADER_BYTES + objectBytes + unit - 1) & -unit;
}

/** @param value undefined: the key is deleted */
export function writeRecord(
  bytes: Uint8Array,
  at: number,
  key: HashedKey,
  value: Uint8Array | undefined,
  sequence: number,
  unit: number,
): void {
  const keyBytes = key.bytes.length;
  const valueBytes = value === undefined ? 0 : value.length;
  writeU16(bytes, at + 4, valueBytes);
  writeU16(bytes, at + 6, keyBytes | (value === undefined ? DELETION : OBJECT));
  writeU16(bytes, at + 8, key.low);
  writeU32(bytes, at + 10, key.high);
  bytes.set(key.bytes, at + RECORD_HEADER_BYTES);
  if (value !== undefined) bytes.set(value, at + RECORD_HEADER_BYTES + keyBytes);
  const end = at + RECORD_HEADER_BYTES + keyBytes + valueBytes;
  for (let i = end; i < at + recordBytes(keyBytes + valueBytes, unit); i++) bytes[i] = 0;
  signRecord(bytes, at, sequence);
}

/** Makes a record, or a copy of one, belong to a zone's present life. @param sequence the zone's */
export function signRecord(bytes: Uint8Array, at: number, sequence: number): void {
  writeU32(bytes, at, checksum(bytes, at, sequence));
}

/** Whether a whole record of that life begins here and ends before `end`. */
export function verifyRecord(bytes: Uint8Array, at: number, end: number, sequence: number): boolean {
  if (at + RECORD_HEADER_BYTES > end) return false;
  const kind = bytes[at + 7] >>> 6;
  const objectBytes = objectBytesAt(bytes, at);
  // Before the checksum: a search through damaged bytes asks this at every one of them.
  if (kind < 1 || kind > 2 || objectBytes > MAX_OBJECT_BYTES) return false;
  return at + RECORD_HEADER_BYTES + objectBytes <= end && readU32(bytes, at) === checksum(bytes, at, sequence);
}

export function isDeletion(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 7] >>> 6 === DELETION >>> 14;
}

/** Key and value. */
export function objectBytesAt(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at + 4) + (readU16(bytes, at + 6) & KEY_LENGTH);
}

/** The lower half's lower 16 bits. */
export function hashLowAt(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at + 8);
}

export function hashHighAt(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 10);
}

/** Compares hash and key. The record must be verified, or in RAM. */
export function isOfKey(bytes: Uint8Array, at: number, key: HashedKey): boolean {
  const { bytes: wanted, low, high } = key;
  if (hashHighAt(bytes, at) !== high || hashLowAt(bytes, at) !== (low & 0xffff)) return false;
  if ((readU16(bytes, at + 6) & KEY_LENGTH) !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[at + RECORD_HEADER_BYTES + i] !== wanted[i]) return false;
  return true;
}

/** A copy. */
export function valueAt(bytes: Uint8Array, at: number): Uint8Array {
  const begin = at + RECORD_HEADER_BYTES + (readU16(bytes, at + 6) & KEY_LENGTH);
  return new Uint8Array(bytes.subarray(begin, begin + readU16(bytes, at + 4)));
}

function checksum(bytes: Uint8Array, at: number, sequence: number): number {
  const end = at + RECORD_HEADER_BYTES + objectBytesAt(bytes, at);
  // The lower 32 bits of the sequence number: a zone's lives are not 2^32 zones apart.
  return crc32(bytes.subarray(at + 4, end), sequence >>> 0);
}
