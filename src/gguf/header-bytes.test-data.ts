/**
 * Builds GGUF headers byte by byte for tests, sound or lying, independently of the writer under test; and files that
 * are mostly hole, so that a model of any size costs only its header.
 */
import fs from "node:fs";
import os from "node:os";
import nodePath from "node:path";

export class HeaderBytes {
  readonly #pieces: Buffer[] = [];

  raw(bytes: Uint8Array | string): this {
    this.#pieces.push(Buffer.from(bytes as string));
    return this;
  }

  u32(value: number): this {
    const piece = Buffer.alloc(4);
    piece.writeUInt32LE(value);
    return this.raw(piece);
  }

  u64(value: number | bigint): this {
    const piece = Buffer.alloc(8);
    piece.writeBigUInt64LE(BigInt(value));
    return this.raw(piece);
  }

  text(value: string): this {
    return this.u64(Buffer.byteLength(value)).raw(value);
  }

  start(tensors: number | bigint, entries: number | bigint, version = 3): this {
    return this.raw("GGUF").u32(version).u64(tensors).u64(entries);
  }

  stringEntry(key: string, value: string): this {
    return this.text(key).u32(8).text(value);
  }

  u32Entry(key: string, value: number): this {
    return this.text(key).u32(4).u32(value);
  }

  tensor(name: string, shape: readonly (number | bigint)[], type: number, offset: number | bigint): this {
    this.text(name).u32(shape.length);
    for (const length of shape) this.u64(length);
    return this.u32(type).u64(offset);
  }

  bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}

/** A folder for one test file's files, and how to remove it. */
export function temporaryFolder(): { file: (name: string) => string; remove: () => void } {
  const folder = fs.mkdtempSync(nodePath.join(os.tmpdir(), "warmset-gguf-"));
  return {
    file: (name) => nodePath.join(folder, name),
    remove: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

/** Writes `bytes` and lets the file end at `fileBytes`, by a hole or by cutting. */
export function writeSparse(path: string, bytes: Uint8Array, fileBytes: number): void {
  fs.writeFileSync(path, bytes);
  fs.truncateSync(path, fileBytes);
}

/** The error that `act` throws; fails if it throws none. */
export function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
