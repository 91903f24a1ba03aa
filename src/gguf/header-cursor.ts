/**
 * Walks forward through the header of one file in chunks that start small and double, and can jump over what nobody
 * asked for. It knows numbers and strings, not what they mean; every way to run off the end is a `GgufError` here.
 */
import fs from "node:fs";
import { GgufError, type GgufErrorReason, systemErrorText } from "./errors.ts";
import { FIRST_CHUNK_BYTES, MAX_CHUNK_BYTES, MAX_HEADER_BYTES } from "./limits.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class HeaderCursor {
  readonly path: string;
  readonly fileBytes: number;
  /** Next byte to be read. */
  offset = 0;
  readonly #fd: number;
  #chunk: Buffer = Buffer.alloc(0);
  #view = new DataView(new ArrayBuffer(0));
  #chunkStart = 0;
  #nextChunkBytes = FIRST_CHUNK_BYTES;

  constructor(fd: number, path: string, fileBytes: number) {
    this.#fd = fd;
    this.path = path;
    this.fileBytes = fileBytes;
  }

  fail(reason: GgufErrorReason, offset: number, sentence: string): never {
    throw new GgufError(reason, this.path, offset, sentence);
  }

  u32(what: string): number {
    const at = this.#take(4, what);
    return this.#view.getUint32(at, true);
  }

  /** A count, length or offset of 64 bits. Above 2^53 - 1 (or negative, if the writer thought it signed) it is refused. */
  size(what: string): number {
    const start = this.offset;
    const at = this.#take(8, what);
    const value = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    if (value > Number.MAX_SAFE_INTEGER)
      this.fail(
        "too-large",
        start,
        `${what} is ${value}, more than any file can hold. Download or convert the file again.`,
      );
    return value;
  }

  /** A length-prefixed name that must be sound: 1 to `maxBytes` bytes of UTF-8 without NUL. */
  name(what: string, maxBytes: number): string {
    const start = this.offset;
    const length = this.size(`the length of ${what}`);
    if (length === 0 || length > maxBytes)
      this.fail(
        "bad-name",
        start,
        `${what} has ${length} bytes; 1 to ${maxBytes} are allowed. Convert the file again.`,
      );
    const at = this.#take(length, what);
    let name: string;
    try {
      name = UTF8.decode(this.#chunk.subarray(at, at + length));
    } catch {
      this.fail("bad-name", start, `${what} is not valid UTF-8. Convert the file again.`);
    }
    // llama.cpp compares names as C strings: what follows a NUL would be seen by us and not by the library.
    if (name.includes("\0")) this.fail("bad-name", start, `${what} contains a NUL byte. Convert the file again.`);
    return name;
  }

  /** The next `length` bytes (at most MAX_CHUNK_BYTES) without copying; valid until the next call. */
  bytes(length: number, what: string): DataView {
    const at = this.#take(length, what);
    return new DataView(this.#view.buffer, this.#view.byteOffset + at, length);
  }

  /** Jumps over `length` bytes without reading them. */
  skip(length: number, what: string): void {
    this.#require(length, what);
    this.offset += length;
  }

  /** Refuses a count of things that cannot fit into what is left of the file, before anything loops over it. */
  requireRoomFor(count: number, bytesEach: number, what: string): void {
    if (count > Math.floor((this.fileBytes - this.offset) / bytesEach))
      this.fail(
        "truncated",
        this.offset,
        `the header announces ${count} ${what}, but only ${this.fileBytes - this.offset} bytes follow. Download the file again.`,
      );
  }

  #require(length: number, what: string): void {
    if (length > this.fileBytes - this.offset)
      this.fail(
        "truncated",
        this.offset,
        `${what} needs ${length} bytes, but the file ends after ${this.fileBytes - this.offset}. Download the file again.`,
      );
    if (this.offset + length > MAX_HEADER_BYTES)
      this.fail(
        "too-large",
        this.offset,
        `${what} would make the header larger than ${MAX_HEADER_BYTES} bytes. If the file is sound, report it: the limit is MAX_HEADER_BYTES.`,
      );
  }

  /** Makes `length` bytes available and moves behind them; answers their position in the chunk. */
  #take(length: number, what: string): number {
    this.#require(length, what);
    if (this.offset < this.#chunkStart || this.offset + length > this.#chunkStart + this.#chunk.length)
      this.#refill(length, what);
    const at = this.offset - this.#chunkStart;
    this.offset += length;
    return at;
  }

  #refill(length: number, what: string): void {
    const wanted = Math.min(Math.max(length, this.#nextChunkBytes), this.fileBytes - this.offset);
    this.#nextChunkBytes = Math.min(this.#nextChunkBytes * 2, MAX_CHUNK_BYTES);
    const chunk = Buffer.allocUnsafe(wanted);
    const got = readFully(this.#fd, this.path, chunk, this.offset);
    if (got < length)
      this.fail(
        "file-changed",
        this.offset,
        `the file became shorter while ${what} was read. Wait until it is complete.`,
      );
    this.#chunk = chunk.subarray(0, got);
    this.#view = new DataView(chunk.buffer, chunk.byteOffset, got);
    this.#chunkStart = this.offset;
  }
}

/** Reads until `target` is full or the file ends; answers how many bytes came. */
export function readFully(fd: number, path: string, target: Uint8Array, position: number): number {
  let got = 0;
  try {
    while (got < target.length) {
      const n = fs.readSync(fd, target, got, target.length - got, position + got);
      if (n === 0) break;
      got += n;
    }
  } catch (error) {
    throw new GgufError("unreadable", path, position, `reading failed: ${systemErrorText(error)}`, error);
  }
  return got;
}
