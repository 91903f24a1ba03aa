/**
 * Zones over the numbered pages of a simulated drive, one zone after another. Whose pages these are, and what they cost the drive,
 * is the business of `SimulatedZns` and `SimulatedFdp`. No time, and no faults; see `MemoryZones` for those.
 */
import { FlashError } from "../errors.ts";
import { checkAppend, checkRead, checkZone, type ZoneGeometry } from "./zone-access.ts";
import { type DeviceCounters, noCounters, PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

export interface SimulatedPages {
  /** @param from where in `bytes` the page begins */
  write(page: number, bytes: Uint8Array, from: number): void;
  /** @param to where in `into` the page begins */
  read(page: number, into: Uint8Array, to: number): void;
  /** Told of pages that a reset forgets. */
  trim?(page: number): void;
}

export interface SimulatedZonesOptions extends ZoneGeometry {
  readonly pages: SimulatedPages;
  /** Zones begun and not full at most. @default any number */
  readonly activeZones?: number;
  /** Counted on. @default its own */
  readonly counters?: DeviceCounters;
}

export class SimulatedZones implements ZoneDevice {
  readonly zones: number;
  readonly zoneBytes: number;
  readonly counters: DeviceCounters;
  readonly #pages: SimulatedPages;
  readonly #activeLimit: number;
  readonly #written: Float64Array;
  #active = 0;
  #closed = false;

  constructor({ zones, zoneBytes, pages, activeZones = Infinity, counters = noCounters() }: SimulatedZonesOptions) {
    this.zones = zones;
    this.zoneBytes = zoneBytes;
    this.counters = counters;
    this.#pages = pages;
    this.#activeLimit = activeZones;
    this.#written = new Float64Array(zones);
  }

  async append(zone: number, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    const at = this.#written[zone];
    checkAppend(this, zone, at, bytes.length);
    const begins = at === 0 ? 1 : 0;
    const ends = at + bytes.length === this.zoneBytes ? 1 : 0;
    if (this.#active + begins > this.#activeLimit) {
      throw new FlashError("bad-access", `${this.#activeLimit} zones are begun: fill or reset one first`);
    }
    this.#active += begins - ends;
    for (let from = 0; from < bytes.length; from += PAGE_BYTES) {
      this.#pages.write(this.#page(zone, (at + from) / PAGE_BYTES), bytes, from);
    }
    this.#written[zone] = at + bytes.length;
    this.counters.hostBytesWritten += bytes.length;
    this.counters.nandBytesWritten += bytes.length;
  }

  async read(zone: number, page: number, pages: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#checkOpen();
    checkRead(this, zone, this.#written[zone], page, pages, into);
    const bytes = into ?? new Uint8Array(pages * PAGE_BYTES);
    for (let i = 0; i < pages; i++) this.#pages.read(this.#page(zone, page + i), bytes, i * PAGE_BYTES);
    this.counters.hostBytesRead += bytes.length;
    this.counters.pagesRead += pages;
    return bytes;
  }

  async reset(zone: number): Promise<void> {
    this.#checkOpen();
    checkZone(this, zone);
    const written = this.#written[zone];
    if (written > 0 && written < this.zoneBytes) this.#active--;
    for (let i = 0; i < written / PAGE_BYTES; i++) this.#pages.trim?.(this.#page(zone, i));
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
    if (this.#closed) throw new FlashError("closed", "the simulated zones were closed");
  }
}
