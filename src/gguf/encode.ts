/**
 * The three encodings that every part of a GGUF header is made of. Counterpart of `header-cursor.ts`.
 */
import { GgufError } from "./errors.ts";

export function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** A length-prefixed name that the reader will take: 1 to `maxBytes` bytes, well-formed, without NUL. */
export function encodeName(name: string, maxBytes: number, path: string): Uint8Array {
  const bytes = Buffer.from(name, "utf8");
  if (bytes.length === 0 || bytes.length > maxBytes || bytes.includes(0) || bytes.toString("utf8") !== name)
    throw new GgufError(
      "bad-name",
      path,
      undefined,
      `the name ${JSON.stringify(name)} must have 1 to ${maxBytes} bytes of UTF-8 and no NUL.`,
    );
  return Buffer.concat([u64(bytes.length), bytes]);
}
