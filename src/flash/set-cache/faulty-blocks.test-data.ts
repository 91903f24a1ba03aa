/** Blocks in RAM, for tests, with the faults of a drive: a kill in the middle of a write, flipped bits, failing reads, a full disk. */
import type { BlockDevice } from "../device/block-device.ts";
import { noCounters, PAGE_BYTES } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";

export interface Faults {
  /** The write that crosses it is applied in part, and every later call is refused. @default never */
  readonly stopAfterBytes?: number;
  /** The write that crosses it is refused, and every later one. @default never */
  readonly fullAfterBytes?: number;
}

export class FaultyBlocks implements BlockDevice {
  readonly blocks: number;
  readonly counters = noCounters();
  readonly bytes: Uint8Array;
  readonly failing = new Set<number>();
  /** Writes under way, of one block at most; more is a fault of the engine. */
  readonly #writing = new Set<number>();
  readonly #faults: Faults;
  #stopped = false;

  constructor(blocks: number, faults: Faults = {}, bytes = new Uint8Array(blocks * PAGE_BYTES)) {
    this.blocks = blocks;
    this.bytes = bytes;
    this.#faults = faults;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  async read(block: number, into = new Uint8Array(PAGE_BYTES)): Promise<Uint8Array> {
    await Promise.resolve();
    if (this.#stopped || this.failing.has(block)) throw new FlashError("read-failed", `block ${block} cannot be read`);
    this.counters.hostBytesRead += PAGE_BYTES;
    into.set(this.bytes.subarray(block * PAGE_BYTES, (block + 1) * PAGE_BYTES));
    return into;
  }

  async write(block: number, bytes: Uint8Array): Promise<void> {
    const { stopAfterBytes = Infinity, fullAfterBytes = Infinity } = this.#faults;
    if (this.#stopped) throw new FlashError("read-only", "the device has stopped");
    if (this.#writing.has(block)) throw new Error(`block ${block} is written twice at a time`);
    const written = this.counters.hostBytesWritten + PAGE_BYTES;
    if (written > fullAfterBytes) throw new FlashError("read-only", "the device is full");
    this.#writing.add(block);
    const kept = Math.min(PAGE_BYTES, PAGE_BYTES - (written - stopAfterBytes));
    // In two steps, so that a read between them finds half of it.
    this.bytes.set(bytes.subarray(0, Math.min(kept, PAGE_BYTES / 2)), block * PAGE_BYTES);
    await Promise.resolve();
    this.bytes.set(bytes.subarray(0, Math.max(0, kept)), block * PAGE_BYTES);
    this.#writing.delete(block);
    if (kept < PAGE_BYTES) {
      this.#stopped = true;
      throw new FlashError("read-only", "the device has stopped");
    }
    this.counters.hostBytesWritten = written;
  }

  async sync(): Promise<void> {}

  async close(): Promise<void> {}

  /** As the next process finds it. */
  reopened(faults: Faults = {}): FaultyBlocks {
    return new FaultyBlocks(this.blocks, faults, this.bytes.slice());
  }
}
