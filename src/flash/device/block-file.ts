/**
 * Blocks in one preallocated file, each overwritten where it lies: what a set-associative cache writes on an ordinary drive. The
 * drive's own cleaning is not seen; `PageMappedFtl` simulates it.
 */
import { checkBlock, checkBlocks } from "./block-access.ts";
import type { BlockDevice } from "./block-device.ts";
import { type CacheFile, type CacheFileOptions, DATA_OFFSET, openCacheFile } from "./cache-file.ts";
import { CacheFileDevice } from "./cache-file-device.ts";
import { PAGE_BYTES } from "./zone-device.ts";

export interface BlockFileOptions extends CacheFileOptions {
  /** Of 4,096 bytes each, below 2^32. */
  readonly blocks: number;
}

/** @throws FlashError as `openCacheFile`, and `bad-options` */
export async function openBlockFile(options: BlockFileOptions): Promise<BlockFile> {
  checkBlocks(options.blocks);
  const shape = { kind: "blocks", units: options.blocks, pagesPerUnit: 1 } as const;
  return new BlockFile(await openCacheFile(shape, options), options.blocks);
}

export class BlockFile extends CacheFileDevice implements BlockDevice {
  readonly blocks: number;

  /** See `openBlockFile`. */
  constructor(file: CacheFile, blocks: number) {
    super(file);
    this.blocks = blocks;
  }

  read(block: number, into?: Uint8Array): Promise<Uint8Array> {
    try {
      this.#check(block, into);
    } catch (error) {
      return Promise.reject(error);
    }
    this.counters.hostBytesRead += PAGE_BYTES;
    this.counters.pagesRead++;
    return this.file.io.read(DATA_OFFSET + block * PAGE_BYTES, into ?? new Uint8Array(PAGE_BYTES));
  }

  async write(block: number, bytes: Uint8Array): Promise<void> {
    this.#check(block, bytes);
    await this.file.io.write(DATA_OFFSET + block * PAGE_BYTES, bytes);
    this.counters.hostBytesWritten += PAGE_BYTES;
    this.counters.nandBytesWritten += PAGE_BYTES;
  }

  #check(block: number, bytes: Uint8Array | undefined): void {
    this.checkOpen();
    checkBlock(this.blocks, block, bytes);
  }
}
