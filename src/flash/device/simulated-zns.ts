/**
 * A drive with zoned namespaces, simulated: its geometry and its limit of zones written side by side. The host cleans, so the
 * flash programs what the host writes and nothing more. No time, and no faults; see `MemoryZones` for those.
 */
import { FlashError } from "../errors.ts";
import { PageMemory } from "./page-memory.ts";
import { checkAppend, checkGeometry, checkRead, checkZone } from "./zone-access.ts";
import { noCounters, PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

/** Writable bytes of a zone of Western Digital's ZN540: 275,712 pages of the 2,048 MiB that its addresses span. */
export const ZN540_ZONE_BYTES = 1077 * 2 ** 20;

export interface SimulatedZnsOptions {
  readonly zones: number;
  /** Writable bytes of a zone, whole pages. @default `ZN540_ZONE_BYTES` */
  readonly zoneBytes?: number;
  /** Zones begun and not full at most. @default 14, the ZN540's */
  readonly activeZones?: number;
  /** Keeps the bytes; without, every page reads as zeros. @default true */
  readonly store?: boolean;
}

export class SimulatedZns implements ZoneDevice {
  readonly zones: number;
  readonly zoneBytes: number;
  readonly counters = noCounters();
  readonly #activeLimit: number;
  readonly #memory: PageMemory;
  readonly #written: Float64Array;
  #active = 0;
  #closed = false;

  /** @throws FlashError `bad-options` */
  constructor({ zones, zoneBytes = ZN540_ZONE_BYTES, activeZones = 14, store = true }: SimulatedZnsOptions) {
    checkGeometry({ zones, zoneBytes });
    this.zones = zones;
    this.zoneBytes = zoneBytes;
    this.#activeLimit = activeZones;
    this.#memory = new PageMemory((zones * zoneBytes) / PAGE_BYTES, store);
    this.#written = new Float64Array(zones);
  }

  async append(zone: number, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    checkZone(this, zone);
    const at = this.#written[zone];
    checkAppend(this, zone, at, bytes.length);
    const begins = at === 0 ? 1 : 0;
    const ends = at + bytes.length === this.zoneBytes ? 1 : 0;
    if (this.#active + begins > this.#activeLimit) {
      throw new FlashError("bad-access", `${this.#activeLimit} zones are begun: fill or reset one first`);
    }
    this.#active += begins - ends;
    for (let from = 0; from < bytes.length; from += PAGE_BYTES) {
      this.#memory.write(this.#page(zone, (at + from) / PAGE_BYTES), bytes, from);
    }
    this.#written[zone] = at + bytes.length;
    this.counters.hostBytesWritten += bytes.length;
    this.counters.nandBytesWritten += bytes.length;
  }

  async read(zone: number, page: number, pages: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#checkOpen();
    checkZone(this, zone);
    checkRead(this, zone, this.#written[zone], page, pages, into);
    const bytes = into ?? new Uint8Array(pages * PAGE_BYTES);
    for (let i = 0; i < pages; i++) this.#memory.read(this.#page(zone, page + i), bytes, i * PAGE_BYTES);
    this.counters.hostBytesRead += bytes.length;
    this.counters.pagesRead += pages;
    return bytes;
  }

  async reset(zone: number): Promise<void> {
    this.#checkOpen();
    checkZone(this, zone);
    const written = this.#written[zone];
    if (written > 0 && written < this.zoneBytes) this.#active--;
    this.#written[zone] = 0;
    this.counters.resets++;
  }

  async sync(): Promise<void> {
    this.#checkOpen();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  written(zone: number): number {
    return this.#written[zone];
  }

  #page(zone: number, page: number): number {
    return (zone * this.zoneBytes) / PAGE_BYTES + page;
  }

  #checkOpen(): void {
    if (this.#closed) throw new FlashError("closed", "the simulated drive was closed");
  }
}
