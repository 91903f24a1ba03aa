/**
 * Reads byte ranges of a file whose layout is already known: metadata values on demand, and tensor data for those who
 * derive one file from another. The engine's reads do not come through here; they go to `memory/`.
 */
import fs from "node:fs";
import { GgufError, systemErrorText } from "./errors.ts";
import { readFully } from "./header-cursor.ts";

/** Bytes per read when a range is streamed: large enough for full disk speed, small enough to be nothing. */
const STREAM_CHUNK_BYTES = 4 * 1024 * 1024;

/** `bytes` bytes from `offset`, all of them or a `GgufError`. The caller has bounded `bytes`. */
export function readFileRange(path: string, offset: number, bytes: number): Buffer {
  const fd = openForReading(path);
  try {
    return readExactly(fd, path, offset, bytes);
  } finally {
    fs.closeSync(fd);
  }
}

/** The same in chunks of at most 4 MiB. Each chunk is a buffer of its own. */
export function* streamFileRange(path: string, offset: number, bytes: number): Generator<Uint8Array, void, undefined> {
  const fd = openForReading(path);
  try {
    for (let done = 0; done < bytes; done += STREAM_CHUNK_BYTES)
      yield readExactly(fd, path, offset + done, Math.min(STREAM_CHUNK_BYTES, bytes - done));
  } finally {
    fs.closeSync(fd);
  }
}

/** @throws GgufError `missing-file`, `not-a-file` or `unreadable`. */
export function openForReading(path: string): number {
  try {
    // Asked before opening: opening a pipe would wait for a writer.
    if (!fs.statSync(path).isFile())
      throw new GgufError("not-a-file", path, undefined, "this is not a regular file. Give the path of a .gguf file.");
    return fs.openSync(path, "r");
  } catch (error) {
    if (error instanceof GgufError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      throw new GgufError("missing-file", path, undefined, "there is no such file. Check the path.", error);
    throw new GgufError("unreadable", path, undefined, `the file cannot be opened: ${systemErrorText(error)}`, error);
  }
}

function readExactly(fd: number, path: string, offset: number, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  if (readFully(fd, path, buffer, offset) < bytes)
    throw new GgufError("file-changed", path, offset, "the file became shorter since it was opened. Open it again.");
  return buffer;
}
