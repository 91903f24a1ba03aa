/**
 * Pages of sets on zones: a map in RAM from a page's number to where it was last written, one open zone per stream, and the count
 * of pages alive in each zone. What is in the pages and which zone to clean is not known here.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { sealSet, usedBytes, verifySet } from "../format/set-page.ts";

/** A zone that is neither free nor open. */
const CLOSED = 0;
const FREE = 1;
const OPEN = 2;

interface Stream {
  /** Number in `#zones`, or -1 before the first page. */
  zone: number;
  /** Pages of the zone that are written; those after it are in `slice`. */
  written: number;
  /** Pages in `slice`. */
  waiting: number;
  readonly slice: Uint8Array;
}

export interface SetZonesOptions {
  /** Zones of the device that are the sets' alone. */
  readonly zones: readonly number[];
  /** Numbers of pages, from 0. */
  readonly pages: number;
  readonly streams: number;
  /** Pages written at once. */
  readonly slicePages: number;
}

export class SetZones {
  readonly zones: number;
  readonly zonePages: number;
  readonly #device: ZoneDevice;
  readonly #zones: readonly number[];
  /** Per page number, where it lies + 1, or 0 when it is nowhere. */
  readonly #places: Uint32Array;
  readonly #alive: Uint32Array;
  readonly #state: Uint8Array;
  readonly #stream: Uint8Array;
  readonly #streams: readonly Stream[];
  readonly #slicePages: number;
  #free: number[];

  constructor(device: ZoneDevice, { zones, pages, streams, slicePages }: SetZonesOptions) {
    this.zones = zones.length;
    this.zonePages = device.zoneBytes / PAGE_BYTES;
    this.#device = device;
    this.#zones = zones;
    this.#places = new Uint32Array(pages);
    this.#alive = new Uint32Array(zones.length);
    this.#state = new Uint8Array(zones.length).fill(FREE);
    this.#stream = new Uint8Array(zones.length);
    this.#free = Array.from(zones, (_, i) => zones.length - 1 - i);
    this.#slicePages = Math.min(slicePages, this.zonePages);
    this.#streams = Array.from({ length: streams }, () => ({
      zone: -1,
      written: 0,
      waiting: 0,
      slice: new Uint8Array(this.#slicePages * PAGE_BYTES),
    }));
  }

  get freeZones(): number {
    return this.#free.length;
  }

  get indexBytes(): number {
    return this.#places.byteLength + this.#alive.byteLength + this.#state.length + this.#stream.length;
  }

  get bufferBytes(): number {
    return this.#streams.reduce((sum, { slice }) => sum + slice.length, 0);
  }

  /** Bytes of entries that no zone has yet. */
  get unsavedBytes(): number {
    let bytes = 0;
    for (const { slice, waiting } of this.#streams)
      for (let page = 0; page < waiting; page++) bytes += usedBytes(slice, page * PAGE_BYTES);
    return bytes;
  }

  has(number: number): boolean {
    return this.#places[number] !== 0;
  }

  /** Where a page lies: changes with every write of it. */
  place(number: number): number {
    return this.#places[number];
  }

  alivePages(zone: number): number {
    return this.#alive[zone];
  }

  /** The closed zone with the fewest pages alive, or -1. */
  emptiest(): number {
    let best = -1;
    for (let zone = 0; zone < this.zones; zone++) {
      if (this.#state[zone] !== CLOSED) continue;
      if (best < 0 || this.#alive[zone] < this.#alive[best]) best = zone;
    }
    return best;
  }

  /** Reads a page that is somewhere. False when it cannot be read or is damaged. @param into a page of memory */
  async read(number: number, into: Uint8Array): Promise<boolean> {
    const place = this.#places[number] - 1;
    const zone = Math.floor(place / this.zonePages);
    const page = place % this.zonePages;
    const stream = this.#streams[this.#stream[zone]];
    if (stream.zone === zone && page >= stream.written) {
      const at = (page - stream.written) * PAGE_BYTES;
      into.set(stream.slice.subarray(at, at + PAGE_BYTES));
      return true;
    }
    return (await this.readZone(zone, page, 1, into)) && verifySet(into, 0, number);
  }

  /** Pages of a zone as they are. False when they cannot be read. */
  async readZone(zone: number, page: number, pages: number, into: Uint8Array): Promise<boolean> {
    try {
      await this.#device.read(this.#zones[zone], page, pages, into);
      return true;
    } catch (error) {
      if (error instanceof FlashError) return false;
      throw error;
    }
  }

  /** Whether that page of a zone is the last that was written of the number. */
  isAt(number: number, zone: number, page: number): boolean {
    return this.#places[number] === zone * this.zonePages + page + 1;
  }

  /** Numbers of the pages alive in a zone: found by looking through the whole map. */
  numbersIn(zone: number): readonly number[] {
    const numbers: number[] = [];
    for (let number = 0; number < this.#places.length; number++) {
      if (this.#places[number] !== 0 && Math.floor((this.#places[number] - 1) / this.zonePages) === zone)
        numbers.push(number);
    }
    return numbers;
  }

  /**
   * Makes room for a page of a stream; it stays until `commit`.
   * @returns where in `slice(stream)` the page is to be put, or -1 when a zone is needed and none is free
   */
  async room(stream: number): Promise<number> {
    const open = this.#streams[stream];
    const full = open.waiting === this.#slicePages || open.written + open.waiting === this.zonePages;
    if (full && open.waiting > 0) await this.#write(open);
    if (open.zone < 0 || open.written === this.zonePages) {
      const zone = this.#free.at(-1);
      if (zone === undefined) return -1;
      if (this.#device.written(this.#zones[zone]) > 0) await this.#device.reset(this.#zones[zone]);
      this.#free.pop();
      if (open.zone >= 0) this.#state[open.zone] = CLOSED;
      this.#state[zone] = OPEN;
      this.#stream[zone] = stream;
      open.zone = zone;
      open.written = 0;
    }
    return open.waiting * PAGE_BYTES;
  }

  slice(stream: number): Uint8Array {
    return this.#streams[stream].slice;
  }

  /** The page that `room` gave is the newest of the number. */
  commit(stream: number, number: number): void {
    const open = this.#streams[stream];
    sealSet(open.slice, open.waiting * PAGE_BYTES, 0, 0);
    this.forget(number);
    this.#places[number] = open.zone * this.zonePages + open.written + open.waiting + 1;
    this.#alive[open.zone]++;
    open.waiting++;
  }

  /** The page is nowhere any more. */
  forget(number: number): void {
    const place = this.#places[number];
    if (place === 0) return;
    this.#alive[Math.floor((place - 1) / this.zonePages)]--;
    this.#places[number] = 0;
  }

  /** A closed zone with no page alive is free; it is reset when it is needed. */
  free(zone: number): void {
    this.#state[zone] = FREE;
    this.#free.unshift(zone);
  }

  /** Writes what waits. */
  async flush(): Promise<void> {
    for (const stream of this.#streams) if (stream.waiting > 0) await this.#write(stream);
  }

  async #write(open: Stream): Promise<void> {
    await this.#device.append(this.#zones[open.zone], open.slice.subarray(0, open.waiting * PAGE_BYTES));
    open.written += open.waiting;
    open.waiting = 0;
  }
}
