/** A file to read from when there is no model: random bytes, so that no drive compresses them. Removed when disposed. */
import { randomFillSync } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";

/** Ten times what one measurement reads of a fast drive, so that no place comes twice. */
const FILE_BYTES = 2 ** 30;
const BLOCK_BYTES = 2 ** 24;

export class ProbeFile implements Disposable {
  readonly path: string;

  private constructor(file: string) {
    this.path = file;
  }

  /** Throws what the system throws, such as ENOSPC; nothing is left then. */
  static async write(folder: string, signal?: AbortSignal): Promise<ProbeFile> {
    mkdirSync(folder, { recursive: true });
    const written = new ProbeFile(path.join(folder, `probe-${process.pid}.bin`));
    try {
      await using file = await open(written.path, "w");
      const block = Buffer.alloc(BLOCK_BYTES);
      for (let bytes = 0; bytes < FILE_BYTES; bytes += BLOCK_BYTES) {
        signal?.throwIfAborted();
        randomFillSync(block);
        await file.write(block);
      }
      await file.sync();
      return written;
    } catch (error) {
      written[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { force: true });
  }
}
