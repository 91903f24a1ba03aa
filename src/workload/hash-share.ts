/**
 * Numbers that are drawn by a text instead of a generator: the same text has the same number on every machine, in every
 * order and however much is drawn besides.
 */
import { createHash } from "node:crypto";

/** 48 bits of SHA-256, at least 0 and less than 1. */
export function hashShare(text: string): number {
  return createHash("sha256").update(text).digest().readUIntBE(0, 6) / 2 ** 48;
}
