/**
 * Blocks on a zone device: overwritten by the host, appended to zones here, and cleaned here, greedily. Copies are what the engine
 * writes, so they count as application writes: `counters` are the zone device's. The map is in RAM alone and begins empty.
 */
import { FlashError } from "../errors.ts";
import { checkBlock, checkBlocks } from "./block-access.ts";
import type { BlockDevice } from "./block-device.ts";
import { FlashMap } from "./flash-map.ts";
import { type DeviceCounters, PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

export interface BlocksOnZonesOptions {
  /**
   * Of 4,096 bytes. What the zones hold beyond them is the reserve for cleaning, three zones at least.
   * @default 95 % of the zones' pages, as far as three zones are left
   */
  readonly blocks?: number;
}

const RESERVED_ZONES = 3;

export class BlocksOnZones implements BlockDevice {
  readonly blocks: number;
  readonly #device: ZoneDevice;
  readonly #zonePages: number;
  readonly #map: FlashMap;
  /** What the map decided on for one write, in order: triples of block, page to copy from and to; or -1 and the zone to reset. */
  readonly #plan: number[] = [];
  readonly #buffer = new Uint8Array(PAGE_BYTES);
  /** The page where each block can be read now, -1 before its first write: the map is ahead of the device while it writes. */
  readonly #readable: Int32Array;
  /** Writes go one after another, as their pages do within a zone. */
  #last: Promise<void> = Promise.resolve();
  #failed: unknown;
  #closing: Promise<void> | undefined;

  /** @throws FlashError `bad-options` */
  constructor(device: ZoneDevice, options: BlocksOnZonesOptions = {}) {
    this.#device = device;
    this.#zonePages = device.zoneBytes / PAGE_BYTES;
    const pages = device.zones * this.#zonePages;
    const { blocks = Math.floor(Math.min(pages * 0.95, pages - RESERVED_ZONES * this.#zonePages)) } = options;
    checkBlocks(blocks);
    this.blocks = blocks;
    this.#readable = new Int32Array(blocks).fill(-1);
    this.#map = new FlashMap({
      ...{ logicalPages: blocks, blockPages: this.#zonePages, blocks: device.zones },
      moves: {
        copied: (block, from, to) => this.#plan.push(block, from, to),
        erased: (zone) => this.#plan.push(-1, zone, zone),
      },
    });
  }

  /** The zone device's: what was written for the host and copied by cleaning. */
  get counters(): Readonly<DeviceCounters> {
    return this.#device.counters;
  }

  /** Blocks copied by cleaning. */
  get blocksCopied(): number {
    return this.#map.pagesCopied;
  }

  async read(block: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#check(block, into);
    for (;;) {
      const at = this.#readable[block];
      if (at < 0) return into?.fill(0) ?? new Uint8Array(PAGE_BYTES);
      try {
        const bytes = await this.#device.read(Math.floor(at / this.#zonePages), at % this.#zonePages, 1, into);
        if (this.#readable[block] === at) return bytes;
      } catch (error) {
        // Meanwhile the block was moved and its zone reset: what was read may be anything.
        if (this.#readable[block] === at) throw error;
      }
    }
  }

  async write(block: number, bytes: Uint8Array): Promise<void> {
    this.#check(block, bytes);
    const done = this.#write(block, bytes, this.#last);
    this.#last = done;
    await done;
  }

  async #write(block: number, bytes: Uint8Array, before: Promise<void>): Promise<void> {
    await before.catch(() => undefined);
    // After a write that failed half-way the map no longer tells where everything is.
    if (this.#failed !== undefined) throw this.#failed;
    this.#plan.length = 0;
    const to = this.#map.write(block);
    try {
      await this.#clean();
      await this.#append(to, bytes);
      this.#readable[block] = to;
    } catch (error) {
      this.#failed = error;
      throw error;
    }
  }

  async #clean(): Promise<void> {
    for (let i = 0; i < this.#plan.length; i += 3) {
      const [block, from, to] = this.#plan.slice(i, i + 3);
      if (block < 0) {
        await this.#device.reset(from);
        continue;
      }
      await this.#device.read(Math.floor(from / this.#zonePages), from % this.#zonePages, 1, this.#buffer);
      await this.#append(to, this.#buffer);
      this.#readable[block] = to;
    }
  }

  async #append(page: number, bytes: Uint8Array): Promise<void> {
    const zone = Math.floor(page / this.#zonePages);
    // What an earlier use of the device left there.
    if (page % this.#zonePages === 0 && this.#device.written(zone) > 0) await this.#device.reset(zone);
    await this.#device.append(zone, bytes);
  }

  async sync(): Promise<void> {
    this.#checkOpen();
    await this.#last.catch(() => undefined);
    await this.#device.sync();
  }

  close(): Promise<void> {
    this.#closing ??= this.#last.catch(() => undefined).then(() => this.#device.close());
    return this.#closing;
  }

  #check(block: number, bytes: Uint8Array | undefined): void {
    this.#checkOpen();
    checkBlock(this.blocks, block, bytes);
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new FlashError("closed", "the blocks were closed");
  }
}
