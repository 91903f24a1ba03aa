/**
 * A conventional drive, simulated: blocks overwritten in place for the host, appended and cleaned inside. It counts what is
 * programmed and erased; it has no time. `FlashMap` alone does where only counts are wanted.
 */
import { FlashError } from "../errors.ts";
import { checkBlock, checkBlocks } from "./block-access.ts";
import type { BlockDevice } from "./block-device.ts";
import { type Cleaning, FlashMap } from "./flash-map.ts";
import { PageMemory } from "./page-memory.ts";
import { noCounters, PAGE_BYTES } from "./zone-device.ts";

export interface PageMappedFtlOptions {
  /** Of 4,096 bytes, what the host sees. */
  readonly blocks: number;
  /** Bytes of flash beyond what the host sees, over what it sees; drives have 0.07 to 0.2. @default 0.07 */
  readonly overprovisioning?: number;
  /** Pages erased at once. @default 64 */
  readonly eraseBlockPages?: number;
  /** @default "greedy" */
  readonly cleaning?: Cleaning;
  /** Keeps the bytes; without, every block reads as zeros. @default true */
  readonly store?: boolean;
}

export class PageMappedFtl implements BlockDevice {
  readonly blocks: number;
  /** `resets` are erased blocks. */
  readonly counters = noCounters();
  /** Its counts tell more: copies and erases. */
  readonly map: FlashMap;
  readonly #memory: PageMemory;
  #closed = false;

  /** @throws FlashError `bad-options` */
  constructor(options: PageMappedFtlOptions) {
    const { blocks, overprovisioning = 0.07, eraseBlockPages = 64, cleaning = "greedy", store = true } = options;
    checkBlocks(blocks);
    this.blocks = blocks;
    this.map = new FlashMap({
      ...{ logicalPages: blocks, blockPages: eraseBlockPages, cleaning },
      blocks: Math.round((blocks * (1 + overprovisioning)) / eraseBlockPages),
    });
    this.#memory = new PageMemory(blocks, store);
  }

  async read(block: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#check(block, into);
    const bytes = into ?? new Uint8Array(PAGE_BYTES);
    this.#memory.read(block, bytes, 0);
    this.counters.hostBytesRead += PAGE_BYTES;
    this.counters.pagesRead++;
    return bytes;
  }

  async write(block: number, bytes: Uint8Array): Promise<void> {
    this.#check(block, bytes);
    this.#memory.write(block, bytes, 0);
    this.map.write(block);
    this.counters.hostBytesWritten += PAGE_BYTES;
    this.counters.nandBytesWritten = (this.map.pagesWritten + this.map.pagesCopied) * PAGE_BYTES;
    this.counters.resets = this.map.erases;
  }

  async sync(): Promise<void> {
    this.#checkOpen();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #check(block: number, bytes: Uint8Array | undefined): void {
    this.#checkOpen();
    checkBlock(this.blocks, block, bytes);
  }

  #checkOpen(): void {
    if (this.#closed) throw new FlashError("closed", "the simulated drive was closed");
  }
}
