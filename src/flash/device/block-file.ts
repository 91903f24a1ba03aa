/**
 * Blocks in one preallocated file, each overwritten where it lies: what a set-associative cache writes on an ordinary drive. The
 * drive's own cleaning is not seen; `PageMappedFtl` simulates it.
 */
import { FlashError } from "../errors.ts";
import { checkBlock, checkBlocks } from "./block-access.ts";
import type { BlockDevice } from "./block-device.ts";
import { type CacheFile, type CacheFileOptions, DATA_OFFSET, openCacheFile } from "./cache-file.ts";
import { noCounters, PAGE_BYTES } from "./zone-device.ts";

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

export class BlockFile implements BlockDevice {
  readonly blocks: number;
  readonly counters = noCounters();
  readonly #file: CacheFile;
  #closing: Promise<void> | undefined;

  /** See `openBlockFile`. */
  constructor(file: CacheFile, blocks: number) {
    this.#file = file;
    this.blocks = blocks;
  }

  get path(): string {
    return this.#file.path;
  }

  get label(): string {
    return this.#file.label;
  }

  /** False when the file was there before, and its blocks may hold something. */
  get created(): boolean {
    return this.#file.created;
  }

  /** Past the page cache. */
  get direct(): boolean {
    return this.#file.direct;
  }

  /** One sentence for each thing that is slower or less safe than it could be. */
  get downgrades(): readonly string[] {
    return this.#file.downgrades;
  }

  read(block: number, into?: Uint8Array): Promise<Uint8Array> {
    try {
      this.#check(block, into);
    } catch (error) {
      return Promise.reject(error);
    }
    this.counters.hostBytesRead += PAGE_BYTES;
    this.counters.pagesRead++;
    return this.#file.io.read(DATA_OFFSET + block * PAGE_BYTES, into ?? new Uint8Array(PAGE_BYTES));
  }

  async write(block: number, bytes: Uint8Array): Promise<void> {
    this.#check(block, bytes);
    await this.#file.io.write(DATA_OFFSET + block * PAGE_BYTES, bytes);
    this.counters.hostBytesWritten += PAGE_BYTES;
    this.counters.nandBytesWritten += PAGE_BYTES;
  }

  async sync(): Promise<void> {
    this.#checkOpen();
    await this.#file.sync();
  }

  close(): Promise<void> {
    this.#closing ??= this.#file.close();
    return this.#closing;
  }

  #check(block: number, bytes: Uint8Array | undefined): void {
    this.#checkOpen();
    checkBlock(this.blocks, block, bytes);
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new FlashError("closed", `${this.path} was closed.`);
  }
}
