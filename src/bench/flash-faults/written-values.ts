/**
 * Keys and values of the fault runs: a value tells its key and version and fills the rest with bytes that follow from both, so that
 * whoever reads one can say whose it is and whether every byte of it is right, without having kept it.
 */
import { type HashedKey, hashKey } from "../../flash/key-hash.ts";

/** Key and version. */
const HEAD_BYTES = 8;
/** Some are long, so that sets have different numbers of objects and records cross pages. */
const SHORT_BYTES = 400;
const LONG_BYTES = 2000;
const LONG_EVERY = 16;

/** Of the small caches, whose keys are asked for again and again. */
const KEPT_KEYS = 50_000;

const keys: HashedKey[] = [];

/** Every seventh key is longer. @param number 0 upward */
export function keyOf(number: number): HashedKey {
  const key =
    keys[number] ??
    hashKey(new TextEncoder().encode(`${number % 7 === 0 ? "a key that is longer " : "key "}${number}`));
  if (number < KEPT_KEYS) keys[number] = key;
  return key;
}

/** The number of a key's bytes, or -1. */
export function keyNumberOf(bytes: Uint8Array): number {
  const number = Number(Buffer.from(bytes).toString("latin1").split(" ").at(-1));
  return Number.isSafeInteger(number) && number >= 0 && Buffer.compare(keyOf(number).bytes, bytes) === 0 ? number : -1;
}

/** @param key and @param version 0 to 2^32 - 1 */
export function writtenValue(key: number, version: number): Uint8Array {
  let state = Math.imul(key + 1, 0x9e3779b1) ^ Math.imul(version + 1, 0x85ebca6b);
  const random = () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) | 0;
    return state >>> 8;
  };
  const value = Buffer.allocUnsafe(HEAD_BYTES + (random() % (random() % LONG_EVERY === 0 ? LONG_BYTES : SHORT_BYTES)));
  value.writeUInt32LE(key, 0);
  value.writeUInt32LE(version, 4);
  for (let i = HEAD_BYTES; i < value.length; i++) value[i] = random();
  return value;
}

/** The version of a value of that key; -1 when it is another key's, or a byte is wrong. */
export function versionOf(key: number, value: Uint8Array): number {
  if (value.length < HEAD_BYTES) return -1;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  const version = bytes.readUInt32LE(4);
  return bytes.equals(writtenValue(key, version)) ? version : -1;
}
