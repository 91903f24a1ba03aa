/**
 * Keys and their 64-bit hash: hashed once, at the door. The function is part of the format on flash and must not change: two
 * lanes of 32 bits over the key's little-endian words, mixed into each other at the end. Not for secrets.
 */

export interface HashedKey {
  readonly bytes: Uint8Array;
  /** Upper and lower half of the hash, 0 to 2^32 - 1. */
  readonly high: number;
  readonly low: number;
}

/** @param salt 0 to 2^32 - 1; another salt is another key */
export function hashKey(bytes: Uint8Array, salt = 0): HashedKey {
  let a = 0x9e3779b9 ^ salt;
  let b = 0x85ebca6b ^ Math.imul(salt, 0xc2b2ae35);
  const words = bytes.length & ~3;
  let i = 0;
  for (; i < words; i += 4) {
    const word = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    a = Math.imul(a ^ word, 0xcc9e2d51);
    a = (a << 15) | (a >>> 17);
    b = Math.imul(b ^ word, 0x1b873593);
    b = (b << 13) | (b >>> 19);
    a = (a + b) | 0;
  }
  let tail = bytes.length;
  for (let shift = 0; i < bytes.length; i++, shift += 8) tail ^= bytes[i] << (shift + 8);
  a = mixed(a ^ tail);
  b = mixed(b + Math.imul(tail, 0xe6546b64) + bytes.length);
  a = mixed(a + b);
  b = mixed(b ^ a);
  return { bytes, high: a >>> 0, low: b >>> 0 };
}

/** Every bit of the input moves every bit of the output. */
function mixed(value: number): number {
  let v = value;
  v = Math.imul(v ^ (v >>> 16), 0x85ebca6b);
  v = Math.imul(v ^ (v >>> 13), 0xc2b2ae35);
  return v ^ (v >>> 16);
}

/** A number from 0 up to `count`, from the hash's upper half: the set that a key lives in. @param count at most 2^32 */
export function setNumberOf(key: Pick<HashedKey, "high">, count: number): number {
  return key.high % count;
}
