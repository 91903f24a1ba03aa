/**
 * A drive with flexible data placement, simulated: writes of each handle fill reclaim units of their own, a unit is erased whole,
 * and what is still valid in it is copied into a unit shared by all handles ("initially isolated"). With one handle for everything
 * it is a conventional drive. Its space is handed out in parts, each a zone or a block device of its own.
 */
import { FlashError } from "../errors.ts";
import { checkBlock, checkBlocks } from "./block-access.ts";
import type { BlockDevice } from "./block-device.ts";
import { FlashMap, type FlashMoves } from "./flash-map.ts";
import { PageMemory } from "./page-memory.ts";
import { type SimulatedPages, SimulatedZones } from "./simulated-zones.ts";
import { checkGeometry, type ZoneGeometry } from "./zone-access.ts";
import { type DeviceCounters, noCounters, PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

export interface SimulatedFdpOptions {
  /** Whole pages. @default 6 GiB, about that of Samsung's PM9D3 */
  readonly reclaimUnitBytes?: number;
  /** More than the space needs: one open unit per handle, two for copies, and what is to be kept free. */
  readonly reclaimUnits: number;
  /** Bytes that parts can be made of. */
  readonly capacityBytes: number;
  /** @default 8, the PM9D3's */
  readonly handles?: number;
  /** Keeps the bytes; without, every page reads as zeros. @default true */
  readonly store?: boolean;
}

/** Where a part's writes go. */
export interface FdpPlacement {
  /** 0 up to `handles`. Parts may share one. */
  readonly handle: number;
}

export class SimulatedFdp {
  readonly handles: number;
  /** Counts of the whole drive. Those of a part have its own copies alone. */
  readonly map: FlashMap;
  readonly memory: PageMemory;
  readonly #parts: { readonly endPage: number; readonly counters: DeviceCounters }[] = [];

  /** @throws FlashError `bad-options` */
  constructor(options: SimulatedFdpOptions) {
    const { reclaimUnitBytes = 6 * 2 ** 30, reclaimUnits, capacityBytes, handles = 8, store = true } = options;
    const logicalPages = Math.floor(capacityBytes / PAGE_BYTES);
    const moves: FlashMoves = {
      copied: (page) => {
        const part = this.#parts.find(({ endPage }) => page < endPage);
        if (part !== undefined) part.counters.nandBytesWritten += PAGE_BYTES;
      },
      erased: () => {},
    };
    this.handles = handles;
    this.memory = new PageMemory(logicalPages, store);
    this.map = new FlashMap({
      ...{ logicalPages, blockPages: reclaimUnitBytes / PAGE_BYTES, blocks: reclaimUnits, streams: handles, moves },
    });
  }

  /** The next part of the space as zones. Resetting one deallocates its pages. @throws FlashError `bad-options` */
  zones({ handle, ...geometry }: ZoneGeometry & FdpPlacement): ZoneDevice {
    checkGeometry(geometry);
    const counters = noCounters();
    const firstPage = this.#take((geometry.zones * geometry.zoneBytes) / PAGE_BYTES, handle, counters);
    const pages: SimulatedPages = {
      write: (page, bytes, from) => {
        this.memory.write(firstPage + page, bytes, from);
        this.map.write(firstPage + page, handle);
      },
      read: (page, into, to) => this.memory.read(firstPage + page, into, to),
      trim: (page) => this.map.trim(firstPage + page),
    };
    return new SimulatedZones({ ...geometry, pages, counters });
  }

  /** The next part of the space as blocks. @throws FlashError `bad-options` */
  blocks({ blocks, handle }: { readonly blocks: number } & FdpPlacement): BlockDevice {
    checkBlocks(blocks);
    const counters = noCounters();
    const firstPage = this.#take(blocks, handle, counters);
    return new FdpBlocks(this, blocks, { firstPage, handle, counters });
  }

  #take(pages: number, handle: number, counters: DeviceCounters): number {
    const firstPage = this.#parts.at(-1)?.endPage ?? 0;
    const left = this.map.logicalPages - firstPage;
    if (pages > left) throw new FlashError("bad-options", `the drive has ${left} pages left, not ${pages}`);
    if (!Number.isInteger(handle) || handle < 0 || handle >= this.handles) {
      throw new FlashError("bad-options", `no handle ${handle}: the drive has ${this.handles}`);
    }
    this.#parts.push({ endPage: firstPage + pages, counters });
    return firstPage;
  }
}

interface Part {
  readonly firstPage: number;
  readonly handle: number;
  readonly counters: DeviceCounters;
}

class FdpBlocks implements BlockDevice {
  readonly blocks: number;
  readonly counters: DeviceCounters;
  readonly #drive: SimulatedFdp;
  readonly #part: Part;
  #closed = false;

  constructor(drive: SimulatedFdp, blocks: number, part: Part) {
    this.#drive = drive;
    this.#part = part;
    this.blocks = blocks;
    this.counters = part.counters;
  }

  async read(block: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#checkOpen();
    checkBlock(this.blocks, block, into);
    const bytes = into ?? new Uint8Array(PAGE_BYTES);
    this.#drive.memory.read(this.#part.firstPage + block, bytes, 0);
    this.counters.hostBytesRead += PAGE_BYTES;
    this.counters.pagesRead++;
    return bytes;
  }

  async write(block: number, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    checkBlock(this.blocks, block, bytes);
    const page = this.#part.firstPage + block;
    this.#drive.memory.write(page, bytes, 0);
    this.#drive.map.write(page, this.#part.handle);
    this.counters.hostBytesWritten += PAGE_BYTES;
    this.counters.nandBytesWritten += PAGE_BYTES;
  }

  async sync(): Promise<void> {
    this.#checkOpen();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #checkOpen(): void {
    if (this.#closed) throw new FlashError("closed", "this part of the simulated drive was closed");
  }
}
