/**
 * A value as engines keep it: with when it expires and under which salt it was put, behind it. One byte says what is there, so a
 * plain value costs 1 byte, a salt 4 more, a time to live 6 more. Engines know nothing of either.
 */
import { hashKey } from "../key-hash.ts";
import type { ValueMemory } from "./value-memory.ts";

const EXPIRES = 1;
const SALTED = 2;
const EXPIRY_BYTES = 6;
const MARK_BYTES = 4;
/** Beside the value, at most. */
export const MOST_SEAL_BYTES = 1 + MARK_BYTES + EXPIRY_BYTES;

/**
 * A salt as two halves of its hash: one goes into every key's hash, the other stands behind every value, so that values of another
 * salt are not found, and not believed if they are.
 */
export interface Salt {
  readonly hash: number;
  /** Undefined: no salt. */
  readonly mark: number | undefined;
}

export function saltOf(text: string): Salt {
  if (text === "") return { hash: 0, mark: undefined };
  const { low, high } = hashKey(new TextEncoder().encode(text));
  return { hash: low, mark: high };
}

/** @param expiresAtMs as of Date.now(), below 2^48; undefined: never @param memory for what is returned */
export function sealValue(
  value: Uint8Array,
  { mark }: Salt,
  expiresAtMs: number | undefined,
  memory: ValueMemory,
): Uint8Array {
  const sealBytes = 1 + (mark === undefined ? 0 : MARK_BYTES) + (expiresAtMs === undefined ? 0 : EXPIRY_BYTES);
  const sealed = memory.take(value.length + sealBytes);
  sealed.set(value);
  let at = value.length;
  if (mark !== undefined) at = writeNumber(sealed, at, mark, MARK_BYTES);
  if (expiresAtMs !== undefined) at = writeNumber(sealed, at, expiresAtMs, EXPIRY_BYTES);
  sealed[at] = (mark === undefined ? 0 : SALTED) | (expiresAtMs === undefined ? 0 : EXPIRES);
  return sealed;
}

/** The value in the same memory; or why it is none any more. The clock is asked only where the value has a time. */
export function openValue(
  sealed: Uint8Array,
  { mark }: Salt,
  now: () => number = Date.now,
): Uint8Array | "expired" | "foreign" {
  let end = sealed.length - 1;
  const flags = end < 0 ? 0xff : sealed[end];
  if (flags > (EXPIRES | SALTED)) return "foreign";
  if ((flags & EXPIRES) !== 0) {
    end -= EXPIRY_BYTES;
    if (end >= 0 && readNumber(sealed, end, EXPIRY_BYTES) <= now()) return "expired";
  }
  let found: number | undefined;
  if ((flags & SALTED) !== 0) {
    end -= MARK_BYTES;
    found = end < 0 ? undefined : readNumber(sealed, end, MARK_BYTES);
  }
  if (end < 0 || found !== mark) return "foreign";
  // As `subarray`, in half its time.
  return new Uint8Array(sealed.buffer, sealed.byteOffset, end);
}

function writeNumber(bytes: Uint8Array, at: number, value: number, length: number): number {
  let rest = value;
  for (let i = 0; i < length; i++) {
    bytes[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return at + length;
}

function readNumber(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + bytes[at + i];
  return value;
}
