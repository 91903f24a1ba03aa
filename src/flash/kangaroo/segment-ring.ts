/**
 * A log of pages on zones of its own: one segment is filled in RAM, written whole, and retired oldest first. Pages are set pages
 * numbered by where in the ring they lie. What is alive in them is the index's business.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { appendCopy, appendEntry, clearSet, sealSet, usedBytes, verifySet } from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";

/** Pages looked at for room before a new one is begun: without them a page ends a mean object and a half short. */
const OPEN_PAGES = 4;

export interface SegmentRingOptions {
  /** The zones that are the log's alone: two, or three where a zone has one segment. */
  readonly zones: readonly number[];
  /** Pages of a segment; no more than a zone has. */
  readonly segmentPages: number;
  /** Share of the segments kept free of objects, beside the zone that is being written. */
  readonly freeShare: number;
}

export class SegmentRing {
  readonly pages: number;
  readonly segmentPages: number;
  /** The segment that is being filled. */
  readonly buffer: Uint8Array;
  readonly #device: ZoneDevice;
  readonly #zones: readonly number[];
  readonly #zoneSegments: number;
  readonly #segments: number;
  readonly #mostWritten: number;
  #head = 0;
  /** Segments on flash whose objects may be alive. */
  #written = 0;
  #retired = 0;
  /** Pages of the buffer in use. */
  #open = 0;

  /** @throws FlashError `bad-options` */
  constructor(device: ZoneDevice, { zones, segmentPages, freeShare }: SegmentRingOptions) {
    this.#zoneSegments = Math.floor(device.zoneBytes / PAGE_BYTES / segmentPages);
    if (this.#zoneSegments < 1) throw new FlashError("bad-options", `a zone is smaller than ${segmentPages} pages`);
    this.#device = device;
    this.#zones = zones;
    this.#segments = zones.length * this.#zoneSegments;
    // One less than what can be alive when a zone is begun: until the oldest is retired there is one more, and the open segment
    // must not have its page numbers.
    const most = this.#segments - this.#zoneSegments - 1;
    this.#mostWritten = Math.min(most, Math.floor(this.#segments * (1 - freeShare)));
    if (this.#mostWritten < 1)
      throw new FlashError("bad-options", `a log of ${this.#segments} segments with ${freeShare} free holds nothing`);
    this.segmentPages = segmentPages;
    this.pages = this.#segments * segmentPages;
    this.buffer = new Uint8Array(segmentPages * PAGE_BYTES);
  }

  /** Grows with each retired segment: what was read of a page before may have been another page's. */
  get retired(): number {
    return this.#retired;
  }

  /** Whether a segment must be retired before the next is written. */
  get full(): boolean {
    return this.#written > this.#mostWritten;
  }

  get holdsSegments(): boolean {
    return this.#written > 0;
  }

  /** Pages in RAM that hold something. */
  get openPages(): number {
    return this.#open;
  }

  /** First page of the oldest segment on flash. */
  get oldestPage(): number {
    return ((this.#head - this.#written + this.#segments) % this.#segments) * this.segmentPages;
  }

  /** The page that took the object, or -1 when the segment has no room. */
  append(key: HashedKey, value: Uint8Array, flags: number): number {
    for (let page = Math.max(0, this.#open - OPEN_PAGES); page < this.segmentPages; page++) {
      if (page === this.#open) this.#begin();
      if (appendEntry(this.buffer, page * PAGE_BYTES, key, value, flags)) return this.#head * this.segmentPages + page;
    }
    return -1;
  }

  /** As `append`, of an entry of another page. */
  copy(from: Uint8Array, entry: number): number {
    for (let page = Math.max(0, this.#open - OPEN_PAGES); page < this.segmentPages; page++) {
      if (page === this.#open) this.#begin();
      if (appendCopy(this.buffer, page * PAGE_BYTES, from, entry)) return this.#head * this.segmentPages + page;
    }
    return -1;
  }

  /** Where a page lies in the buffer, or -1 when it lies on flash. */
  inBuffer(page: number): number {
    const at = page - this.#head * this.segmentPages;
    return at >= 0 && at < this.segmentPages ? at * PAGE_BYTES : -1;
  }

  /** Writes the segment as it is and begins the next. Call it only when not `full`. @throws FlashError `read-only` */
  async write(): Promise<void> {
    const zone = this.#zones[Math.floor(this.#head / this.#zoneSegments)];
    if (this.#head % this.#zoneSegments === 0 && this.#device.written(zone) > 0) await this.#device.reset(zone);
    while (this.#open < this.segmentPages) this.#begin();
    for (let page = 0; page < this.segmentPages; page++) sealSet(this.buffer, page * PAGE_BYTES, 0, 0);
    await this.#device.append(zone, this.buffer);
    this.#head = (this.#head + 1) % this.#segments;
    this.#written++;
    this.#open = 0;
  }

  /** One page of flash. False when it cannot be read or is damaged. @param into a page of memory */
  async read(page: number, into: Uint8Array): Promise<boolean> {
    const segment = Math.floor(page / this.segmentPages);
    const inZone = (segment % this.#zoneSegments) * this.segmentPages + (page % this.segmentPages);
    try {
      await this.#device.read(this.#zones[Math.floor(segment / this.#zoneSegments)], inZone, 1, into);
    } catch (error) {
      if (error instanceof FlashError) return false;
      throw error;
    }
    return verifySet(into, 0, page);
  }

  /** The oldest segment, unverified. False when it cannot be read as one. @param into a segment of memory */
  async readOldest(into: Uint8Array): Promise<boolean> {
    const segment = this.oldestPage / this.segmentPages;
    const zone = this.#zones[Math.floor(segment / this.#zoneSegments)];
    try {
      await this.#device.read(zone, (segment % this.#zoneSegments) * this.segmentPages, this.segmentPages, into);
    } catch (error) {
      if (error instanceof FlashError) return false;
      throw error;
    }
    return true;
  }

  /** The oldest segment holds nothing alive any more. */
  retireOldest(): void {
    this.#written--;
    this.#retired++;
  }

  /** Bytes of entries in the buffer. */
  get unsavedBytes(): number {
    let bytes = 0;
    for (let page = 0; page < this.#open; page++) bytes += usedBytes(this.buffer, page * PAGE_BYTES);
    return bytes;
  }

  #begin(): void {
    clearSet(this.buffer, this.#open * PAGE_BYTES, this.#head * this.segmentPages + this.#open);
    this.#open++;
  }
}
