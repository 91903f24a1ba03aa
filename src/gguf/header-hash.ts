/** What tells one model's files from another's without reading weights: SHA-256 of parts of them. */
import { createHash, type Hash } from "node:crypto";
import fs from "node:fs";
import type { GgufFile } from "./open.ts";

const CHUNK_BYTES = 2 ** 20;

/** Of everything before the weights (metadata and tensor layout), of all shards in order. @returns 64 hexadecimal digits */
export function headerHash(gguf: GgufFile): string {
  const hash = createHash("sha256");
  for (const { path, dataOffset } of gguf.shards) hashRange(hash, path, 0, dataOffset);
  return hash.digest("hex");
}

export function hashRange(hash: Hash, file: string, offset: number, bytes: number): void {
  const descriptor = fs.openSync(file, "r");
  try {
    const chunk = Buffer.alloc(Math.min(bytes, CHUNK_BYTES));
    for (let done = 0; done < bytes; ) {
      const read = fs.readSync(descriptor, chunk, 0, Math.min(chunk.length, bytes - done), offset + done);
      if (read === 0) throw new Error(`${file} became shorter while it was read`);
      hash.update(chunk.subarray(0, read));
      done += read;
    }
  } finally {
    fs.closeSync(descriptor);
  }
}
