/**
 * A set: one page of 4,096 bytes with the objects of one hash, packed, oldest first. All functions take the buffer and where the
 * page begins in it, so that sets lie side by side in a big buffer and nothing is allocated to look at one. Not concurrent, and
 * no judge of what to drop.
 *
 * Little-endian. Page: 0 crc32 of bytes 4 to 4,095; 4 magic u16; 6 entries u16; 8 bytes of entries u16; 10 zero u16; 12 set
 * number u32; 16 zone sequence u64; 24 entries. Entry: 0 key hash u64; 8 key length u16; 10 value length u16; 12 flags u8;
 * 13 spare u8, the engine's own; 14 key; value.
 *
 * The checksum is zlib's crc32 and not crc32c: node computes it natively, 4 KiB in well under a microsecond, where crc32c in
 * JavaScript takes several.
 */
import { crc32 } from "node:zlib";
import type { HashedKey } from "../key-hash.ts";
import { readU16, readU32, writeU16, writeU32 } from "./little-endian.ts";

export const SET_BYTES = 4096;
export const SET_HEADER_BYTES = 24;
/** What an object takes beside its key and value. */
export const ENTRY_BYTES = 14;
/** Bytes of a set that entries may fill. */
export const SET_CAPACITY = SET_BYTES - SET_HEADER_BYTES;
/** The largest object, key + value, that a set can hold. */
export const MAX_OBJECT_BYTES = SET_CAPACITY - ENTRY_BYTES;
/** A flag: the key was deleted, and older copies of it are not to be found. */
export const TOMBSTONE = 1;

/** "s" and the version of the layout. */
const MAGIC = 0x7301;
/** Up to here a loop is faster than setting up a native copy. */
const SHORT_COPY_BYTES = 48;

/** Makes the page an empty set. Bytes past the header may be left as they are. */
export function clearSet(bytes: Uint8Array, at: number, setNumber: number): void {
  bytes.fill(0, at, at + SET_HEADER_BYTES);
  writeU16(bytes, at + 4, MAGIC);
  writeU32(bytes, at + 12, setNumber);
}

/** Bytes of the entries, overhead included: 0 to SET_CAPACITY. */
export function usedBytes(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at + 8);
}

export function entryCount(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at + 6);
}

/** The number that the page was cleared with. */
export function setNumberIn(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 12);
}

/** The zone sequence that the page was sealed with. */
export function sequenceLow(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 16);
}

export function sequenceHigh(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 20);
}

/** Where the newest entry of the key begins, or -1. A tombstone is an entry. */
export function findEntry(bytes: Uint8Array, at: number, key: HashedKey): number {
  const { low, high } = key;
  const first = low & 0xff;
  const end = endOfEntries(bytes, at);
  let found = -1;
  for (let offset = at + SET_HEADER_BYTES; offset < end; offset = nextEntry(bytes, offset)) {
    if (bytes[offset] !== first || readU32(bytes, offset) !== low || readU32(bytes, offset + 4) !== high) continue;
    if (sameKey(bytes, offset, key.bytes)) found = offset;
  }
  return found;
}

/** Whether an object of that many bytes, key + value, finds room. */
export function fits(bytes: Uint8Array, at: number, objectBytes: number): boolean {
  return usedBytes(bytes, at) + ENTRY_BYTES + objectBytes <= SET_CAPACITY;
}

/** False when it does not fit. An older entry of the key is left where it is. @param flags TOMBSTONE or 0 */
export function appendEntry(bytes: Uint8Array, at: number, key: HashedKey, value: Uint8Array, flags = 0): boolean {
  const keyBytes = key.bytes.length;
  const size = ENTRY_BYTES + keyBytes + value.length;
  const used = usedBytes(bytes, at);
  if (used + size > SET_CAPACITY) return false;
  const offset = at + SET_HEADER_BYTES + used;
  writeU32(bytes, offset, key.low);
  writeU32(bytes, offset + 4, key.high);
  writeU16(bytes, offset + 8, keyBytes);
  writeU16(bytes, offset + 10, value.length);
  bytes[offset + 12] = flags;
  bytes[offset + 13] = 0;
  copyInto(bytes, offset + ENTRY_BYTES, key.bytes, 0, keyBytes);
  copyInto(bytes, offset + ENTRY_BYTES + keyBytes, value, 0, value.length);
  counted(bytes, at, used + size, 1);
  return true;
}

/** Appends another page's entry as it stands, flags and spare byte included. False when it does not fit. */
export function appendCopy(bytes: Uint8Array, at: number, from: Uint8Array, fromOffset: number): boolean {
  const size = entryBytes(from, fromOffset);
  const used = usedBytes(bytes, at);
  if (used + size > SET_CAPACITY) return false;
  copyInto(bytes, at + SET_HEADER_BYTES + used, from, fromOffset, size);
  counted(bytes, at, used + size, 1);
  return true;
}

/** Takes the entry out; those after it move down. */
export function removeEntry(bytes: Uint8Array, at: number, offset: number): void {
  const size = entryBytes(bytes, offset);
  bytes.copyWithin(offset, offset + size, endOfEntries(bytes, at));
  counted(bytes, at, usedBytes(bytes, at) - size, -1);
}

/** Makes an entry a tombstone where it lies: the key stays, the value's room is free. */
export function entomb(bytes: Uint8Array, at: number, offset: number): void {
  const freed = valueBytesOf(bytes, offset);
  const end = nextEntry(bytes, offset);
  bytes.copyWithin(end - freed, end, endOfEntries(bytes, at));
  writeU16(bytes, offset + 10, 0);
  bytes[offset + 12] |= TOMBSTONE;
  writeU16(bytes, at + 8, usedBytes(bytes, at) - freed);
}

/** Walk: `for (let e = firstEntry(at); e < endOfEntries(bytes, at); e = nextEntry(bytes, e))`. */
export function firstEntry(at: number): number {
  return at + SET_HEADER_BYTES;
}

export function nextEntry(bytes: Uint8Array, offset: number): number {
  return offset + entryBytes(bytes, offset);
}

export function endOfEntries(bytes: Uint8Array, at: number): number {
  return at + SET_HEADER_BYTES + usedBytes(bytes, at);
}

/** Overhead, key and value. */
export function entryBytes(bytes: Uint8Array, offset: number): number {
  return ENTRY_BYTES + keyBytesOf(bytes, offset) + valueBytesOf(bytes, offset);
}

/** What a tombstone of the entry's key would take. */
export function tombstoneBytes(bytes: Uint8Array, offset: number): number {
  return ENTRY_BYTES + keyBytesOf(bytes, offset);
}

/** Lower half of the key's hash. */
export function entryLow(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset);
}

/** Upper half of the key's hash. */
export function entryHigh(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset + 4);
}

/** A copy. */
export function entryKey(bytes: Uint8Array, offset: number): Uint8Array {
  return copyOf(bytes, offset + ENTRY_BYTES, keyBytesOf(bytes, offset));
}

/** A copy. */
export function entryValue(bytes: Uint8Array, offset: number): Uint8Array {
  return copyOf(bytes, offset + ENTRY_BYTES + keyBytesOf(bytes, offset), valueBytesOf(bytes, offset));
}

/** Where the newest entry of the same key as another page's entry begins, or -1. */
export function findSameKey(bytes: Uint8Array, at: number, other: Uint8Array, otherOffset: number): number {
  const end = endOfEntries(bytes, at);
  let found = -1;
  for (let offset = at + SET_HEADER_BYTES; offset < end; offset = nextEntry(bytes, offset))
    if (sameEntryKey(bytes, offset, other, otherOffset)) found = offset;
  return found;
}

/** Whether two entries, of any two pages, are of the same key. */
export function sameEntryKey(bytes: Uint8Array, offset: number, other: Uint8Array, otherOffset: number): boolean {
  const end = ENTRY_BYTES + keyBytesOf(bytes, offset);
  // The hash and the key length lie before the value length, which may differ.
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== other[otherOffset + i]) return false;
  for (let i = ENTRY_BYTES; i < end; i++) if (bytes[offset + i] !== other[otherOffset + i]) return false;
  return true;
}

export function isTombstone(bytes: Uint8Array, offset: number): boolean {
  return (bytes[offset + 12] & TOMBSTONE) !== 0;
}

/** The engine's own byte: 0 in a new entry. */
export function entrySpare(bytes: Uint8Array, offset: number): number {
  return bytes[offset + 13];
}

/** @param spare 0 to 255 */
export function setEntrySpare(bytes: Uint8Array, offset: number, spare: number): void {
  bytes[offset + 13] = spare;
}

/** Signs the set with its zone's sequence number, both halves 0 to 2^32 - 1, and zeroes what no entry fills. */
export function sealSet(bytes: Uint8Array, at: number, sequenceLowHalf: number, sequenceHighHalf: number): void {
  bytes.fill(0, endOfEntries(bytes, at), at + SET_BYTES);
  writeU32(bytes, at + 16, sequenceLowHalf);
  writeU32(bytes, at + 20, sequenceHighHalf);
  writeU32(bytes, at, checksum(bytes, at));
}

/** Whether the page is a sealed set of that number, whole, with every entry inside it: only then may it be walked. */
export function verifySet(bytes: Uint8Array, at: number, setNumber: number): boolean {
  if (at + SET_BYTES > bytes.length || readU16(bytes, at + 4) !== MAGIC) return false;
  if (readU32(bytes, at + 12) !== setNumber || usedBytes(bytes, at) > SET_CAPACITY) return false;
  return readU32(bytes, at) === checksum(bytes, at) && entriesEndWhereTheySay(bytes, at);
}

function entriesEndWhereTheySay(bytes: Uint8Array, at: number): boolean {
  const end = endOfEntries(bytes, at);
  let offset = firstEntry(at);
  for (let left = entryCount(bytes, at); left > 0; left--) {
    if (offset + ENTRY_BYTES > end) return false;
    offset = nextEntry(bytes, offset);
  }
  return offset === end;
}

function checksum(bytes: Uint8Array, at: number): number {
  return crc32(bytes.subarray(at + 4, at + SET_BYTES));
}

function counted(bytes: Uint8Array, at: number, used: number, more: 1 | -1): void {
  writeU16(bytes, at + 6, entryCount(bytes, at) + more);
  writeU16(bytes, at + 8, used);
}

function sameKey(bytes: Uint8Array, offset: number, key: Uint8Array): boolean {
  if (keyBytesOf(bytes, offset) !== key.length) return false;
  const begin = offset + ENTRY_BYTES;
  for (let i = 0; i < key.length; i++) if (bytes[begin + i] !== key[i]) return false;
  return true;
}

function keyBytesOf(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + 8);
}

function valueBytesOf(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + 10);
}

function copyOf(bytes: Uint8Array, begin: number, count: number): Uint8Array {
  const copy = new Uint8Array(count);
  copyInto(copy, 0, bytes, begin, count);
  return copy;
}

function copyInto(to: Uint8Array, at: number, from: Uint8Array, begin: number, count: number): void {
  if (count > SHORT_COPY_BYTES) to.set(from.subarray(begin, begin + count), at);
  else for (let i = 0; i < count; i++) to[at + i] = from[begin + i];
}
