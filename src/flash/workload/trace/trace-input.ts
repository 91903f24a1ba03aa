/**
 * Bytes of a trace file as they come, unpacked when they are gzip or zstd, which the first bytes tell: traces keep odd names. Never
 * more than a chunk in memory.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline, type Readable, type Transform } from "node:stream";
import * as zlib from "node:zlib";
import { WorkloadError } from "../../../workload/errors.ts";

const CHUNK_BYTES = 2 ** 20;
const GZIP = "1f8b";
const ZSTD = "28b52ffd";

export class TraceInput {
  readonly #file: string;
  readonly #signal: AbortSignal | undefined;
  #stream: Readable | undefined;
  #chunks: AsyncIterator<Uint8Array> | undefined;

  constructor(file: string, signal: AbortSignal | undefined) {
    this.#file = file;
    this.#signal = signal;
  }

  /** Undefined at the end. @throws WorkloadError `unreadable`, the signal's reason */
  async next(): Promise<Uint8Array | undefined> {
    this.#signal?.throwIfAborted();
    try {
      this.#chunks ??= await this.#open();
      const { value, done } = await this.#chunks.next();
      return done ? undefined : value;
    } catch (error) {
      this.#signal?.throwIfAborted();
      if (error instanceof WorkloadError) throw error;
      throw new WorkloadError(
        "unreadable",
        { file: this.#file },
        `It cannot be read: ${(error as Error).message}.`,
        error,
      );
    }
  }

  close(): void {
    this.#stream?.destroy();
  }

  async #open(): Promise<AsyncIterator<Uint8Array>> {
    const packing = await firstBytes(this.#file);
    const bytes = createReadStream(this.#file, {
      highWaterMark: CHUNK_BYTES,
      ...(this.#signal && { signal: this.#signal }),
    });
    this.#stream = bytes;
    const unpacked = unpacker(packing, this.#file);
    // `pipeline` hands errors on and ends both; the reader of the second one meets them.
    const stream = unpacked === undefined ? bytes : pipeline(bytes, unpacked, () => {});
    this.#stream = stream;
    return stream[Symbol.asyncIterator]();
  }
}

async function firstBytes(file: string): Promise<string> {
  await using handle = await open(file);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
  return buffer.toString("hex", 0, bytesRead);
}

function unpacker(packing: string, file: string): Transform | undefined {
  if (packing.startsWith(GZIP)) return zlib.createGunzip();
  if (packing !== ZSTD) return undefined;
  // From Node 22.15 on; the types are those of the oldest Node that is supported.
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };
  if (createZstdDecompress === undefined)
    throw new WorkloadError(
      "unreadable",
      { file },
      `It is packed with zstd, which Node ${process.versions.node} cannot unpack: use Node 22.15 or newer, or \`zstd -d\` first.`,
    );
  return createZstdDecompress();
}
