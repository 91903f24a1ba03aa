/**
 * Writes a file so that its name never shows half of it: into a temporary name in the same folder, synced, renamed.
 * Whatever goes wrong on the way, the temporary file is removed and an older file of that name stays as it was.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import nodePath from "node:path";
import { GgufError, systemErrorText } from "./errors.ts";

/** Small pieces (a string of a tokenizer, a row of a matrix) are collected into writes of this size. */
const BUFFER_BYTES = 1024 * 1024;

/** Where the bytes go. `append` may keep the caller waiting for the disk, and nothing of `bytes` is kept behind it. */
export interface FileSink {
  /** Bytes appended so far: the offset of the next one. */
  readonly offset: number;
  append(bytes: Uint8Array): Promise<void>;
}

/** @throws GgufError `unwritable` for what the system refuses; what `write` throws comes through as it is. */
export async function writeFileAtomically(path: string, write: (sink: FileSink) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  const file = await orUnwritable(path, () => fs.open(temporary, "wx"));
  let whole = false;
  try {
    const sink = new BufferedSink(path, file);
    await write(sink);
    await sink.flush();
    await orUnwritable(path, () => file.sync());
    await file.close();
    await orUnwritable(path, () => fs.rename(temporary, path));
    whole = true;
  } finally {
    if (!whole) {
      await file.close().catch(() => {});
      await fs.rm(temporary, { force: true });
    }
  }
  await syncFolder(nodePath.dirname(path));
}

class BufferedSink implements FileSink {
  offset = 0;
  readonly #path: string;
  readonly #file: fs.FileHandle;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #buffered = 0;

  constructor(path: string, file: fs.FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#buffered + bytes.length > BUFFER_BYTES) await this.flush();
    if (bytes.length > BUFFER_BYTES) await this.#write(bytes);
    else {
      this.#buffer.set(bytes, this.#buffered);
      this.#buffered += bytes.length;
    }
    this.offset += bytes.length;
  }

  async flush(): Promise<void> {
    await this.#write(this.#buffer.subarray(0, this.#buffered));
    this.#buffered = 0;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await orUnwritable(this.#path, () => this.#file.write(bytes, done));
      done += bytesWritten;
    }
  }
}

/** Makes the rename itself durable. Windows cannot open folders; there the file system decides. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

async function orUnwritable<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw new GgufError(
      "unwritable",
      path,
      undefined,
      `writing failed: ${systemErrorText(error)}. Check the folder, its rights and the free space.`,
      error,
    );
  }
}
