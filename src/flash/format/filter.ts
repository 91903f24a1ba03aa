/**
 * Bloom filters, the same bit of many side by side: a page of one set number holds the filters of its sets in all set groups of an
 * index group, and a key is looked for in eight of them at once. No counting, no removal: a filter is written when its set is final.
 *
 * A page is a table of bits: row r holds bit r of every filter, the first filter in the lowest bit of the row's first byte.
 *
 * Positions come from both halves of the key's hash, stirred at every step. Plain double hashing (low + i x high) shares too many
 * bits between keys where a filter has only 288 of them.
 */
import { FlashError } from "../errors.ts";
import { PAYLOAD_BYTES } from "./sealed-page.ts";

export interface FilterShape {
  /** Bytes of a filter. */
  readonly bytes: number;
  /** Its bits, the rows of a table. */
  readonly bits: number;
  /** Bits set per key. */
  readonly hashes: number;
}

/**
 * The smallest filter, in whole bytes, that is wrong no more often than asked. 20 objects at 0.001: 36 bytes; 40: 72, as in the
 * Nemo paper.
 * @param objects that the filter is sized for, 1 or more
 * @param falsePositives the share of absent keys that it may claim, more than 0 and less than 1
 * @throws FlashError `bad-options`
 */
export function filterShape(objects: number, falsePositives: number): FilterShape {
  const bitsPerObject = -Math.log(falsePositives) / Math.LN2 ** 2;
  const bytes = Math.ceil((objects * bitsPerObject) / 8);
  const bits = bytes * 8;
  if (!(bytes >= 1 && bits <= PAYLOAD_BYTES))
    throw new FlashError(
      "bad-options",
      `filters for ${objects} objects at ${falsePositives} do not fit a page by eights`,
    );
  return { bytes, bits, hashes: Math.max(1, Math.round((bits / objects) * Math.LN2)) };
}

/** Filters that a page of 4,080 bytes has room for. */
export function filtersPerPage(shape: FilterShape): number {
  return Math.floor(PAYLOAD_BYTES / shape.bits) * 8;
}

/** Bytes of a row of that many filters. */
export function rowBytesOf(filters: number): number {
  return Math.ceil(filters / 8);
}

/** Writes the bits of a key's hash, by its two halves. @param into at least `shape.hashes` long */
export function filterPositions(shape: FilterShape, low: number, high: number, into: Uint16Array): void {
  const { bits } = shape;
  let x = low | 0;
  for (let i = 0; i < shape.hashes; i++) {
    x = (Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + high) | 0;
    x ^= x >>> 13;
    // 16 bits of it times the filter's bits: a remainder would cost a division.
    into[i] = Math.imul(x >>> 16, bits) >>> 16;
  }
}

/** Adds a key to a filter. @param at where the table begins @param place of the filter in it */
export function addToFilter(
  bytes: Uint8Array,
  at: number,
  rowBytes: number,
  place: number,
  positions: Uint16Array,
  hashes: number,
): void {
  const column = at + (place >> 3);
  const bit = 1 << (place & 7);
  for (let i = 0; i < hashes; i++) bytes[column + positions[i] * rowBytes] |= bit;
}

/** Makes a filter claim every key. */
export function claimAll(bytes: Uint8Array, at: number, rowBytes: number, place: number, shape: FilterShape): void {
  for (let row = 0; row < shape.bits; row++) bytes[at + row * rowBytes + (place >> 3)] |= 1 << (place & 7);
}

/**
 * Looks for a key in the eight filters from `eighth` x 8 on: a bit each, the first the lowest. 0: it was never added. 1: it was,
 * or this is one of the false positives.
 */
export function searchFilters(
  bytes: Uint8Array,
  at: number,
  rowBytes: number,
  eighth: number,
  positions: Uint16Array,
  hashes: number,
): number {
  const column = at + eighth;
  let found = 0xff;
  for (let i = 0; i < hashes && found !== 0; i++) found &= bytes[column + positions[i] * rowBytes];
  return found;
}
