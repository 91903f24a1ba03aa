/**
 * Zones in RAM, for tests: what a file of zones does, and the faults that a file seldom shows when asked. `reopened` gives what
 * a process finds that opens the device after this one was killed. It simulates no flash; see `SimulatedZns`.
 */
import type { Randomness } from "../../predict/randomness.ts";
import { FlashError } from "../errors.ts";
import { checkAppend, checkGeometry, checkRead, checkZone, type ZoneGeometry } from "./zone-access.ts";
import { noCounters, PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

export interface MemoryZonesOptions extends ZoneGeometry {
  /**
   * Bytes appended after which the device stops as if the process were killed: the append that crosses it is applied in part, and
   * this and every later call is refused.
   * @default never
   */
  readonly stopAfterBytes?: number;
  /**
   * Applies the pages of the append that is cut off in random order, as a drive may with a large write: its last page can be
   * there without its first.
   * @default in order
   */
  readonly scatter?: Randomness;
  /** Bytes appended after which the disk is full: the append that crosses it writes nothing; reads and resets go on. @default never */
  readonly fullAfterBytes?: number;
}

export class MemoryZones implements ZoneDevice {
  readonly zones: number;
  readonly zoneBytes: number;
  readonly counters = noCounters();
  readonly #options: MemoryZonesOptions;
  /** Undefined until written to. Not cleared by a reset, as in a file: old pages show again after `reopened`. */
  #bytes: (Uint8Array | undefined)[];
  readonly #written: Float64Array;
  readonly #failing = new Set<number>();
  #closed = false;
  #stopped = false;
  #syncs = 0;

  /** @throws FlashError `bad-options` */
  constructor(options: MemoryZonesOptions) {
    checkGeometry(options);
    this.zones = options.zones;
    this.zoneBytes = options.zoneBytes;
    this.#options = options;
    this.#bytes = new Array(options.zones);
    this.#written = new Float64Array(options.zones);
  }

  /** Whether `stopAfterBytes` was reached. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** How often `sync` was called. */
  get syncs(): number {
    return this.#syncs;
  }

  async append(zone: number, bytes: Uint8Array): Promise<void> {
    this.#alive("read-only");
    const at = this.#written[zone];
    checkAppend(this, zone, at, bytes.length);
    const before = this.counters.hostBytesWritten;
    const { stopAfterBytes = Infinity, fullAfterBytes = Infinity } = this.#options;
    if (before + bytes.length > fullAfterBytes)
      throw new FlashError("read-only", "the device is full (injected fault)");
    const target = this.#zone(zone);
    if (before + bytes.length > stopAfterBytes) {
      this.#cutOff(target, at, bytes, Math.max(0, stopAfterBytes - before));
      this.#stopped = true;
      this.#alive("read-only");
    }
    target.set(bytes, at);
    this.#written[zone] = at + bytes.length;
    this.counters.hostBytesWritten += bytes.length;
    this.counters.nandBytesWritten += bytes.length;
  }

  async read(zone: number, page: number, pages: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#alive("read-failed");
    checkRead(this, zone, this.#written[zone], page, pages, into);
    for (let i = page; i < page + pages; i++) {
      if (this.#failing.has(this.#pageNumber(zone, i))) {
        throw new FlashError("read-failed", `page ${i} of zone ${zone} cannot be read (injected fault)`);
      }
    }
    this.counters.hostBytesRead += pages * PAGE_BYTES;
    this.counters.pagesRead += pages;
    const from = this.#zone(zone);
    if (into === undefined) return from.slice(page * PAGE_BYTES, (page + pages) * PAGE_BYTES);
    into.set(from.subarray(page * PAGE_BYTES, (page + pages) * PAGE_BYTES));
    return into;
  }

  async reset(zone: number): Promise<void> {
    this.#alive("read-only");
    checkZone(this, zone);
    this.#written[zone] = 0;
    this.counters.resets++;
  }

  async sync(): Promise<void> {
    this.#alive("read-only");
    this.#syncs++;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  written(zone: number): number {
    return this.#written[zone];
  }

  /** Flips one bit of what a zone holds. @param byte 0 up to `zoneBytes` @param bit 0 to 7 */
  flipBit(zone: number, byte: number, bit: number): void {
    checkZone(this, zone);
    this.#zone(zone)[byte] ^= 1 << bit;
  }

  /** Lets reads of a page fail, as with EIO, until `failing` is false. */
  failReads(zone: number, page: number, failing = true): void {
    checkZone(this, zone);
    if (failing) this.#failing.add(this.#pageNumber(zone, page));
    else this.#failing.delete(this.#pageNumber(zone, page));
  }

  /**
   * A copy, as a process finds it that opens it next: every zone counts as full, also those that were reset or never written to.
   * Failing pages are forgotten.
   * @param faults of the copy
   */
  reopened(faults: Omit<MemoryZonesOptions, "zones" | "zoneBytes"> = {}): MemoryZones {
    const copy = new MemoryZones({ ...faults, zones: this.zones, zoneBytes: this.zoneBytes });
    copy.#bytes = this.#bytes.map((bytes) => bytes?.slice());
    // A file does not tell which of its zones were never written; they read as zeros.
    copy.#written.fill(this.zoneBytes);
    return copy;
  }

  #zone(zone: number): Uint8Array {
    let bytes = this.#bytes[zone];
    if (bytes === undefined) {
      bytes = new Uint8Array(this.zoneBytes);
      this.#bytes[zone] = bytes;
    }
    return bytes;
  }

  #pageNumber(zone: number, page: number): number {
    return zone * (this.zoneBytes / PAGE_BYTES) + page;
  }

  /** Applies `kept` bytes of an append: whole pages, then part of one. */
  #cutOff(target: Uint8Array, at: number, bytes: Uint8Array, kept: number): void {
    const pages = Int32Array.from({ length: bytes.length / PAGE_BYTES }, (_, page) => page);
    this.#options.scatter?.shuffle(pages);
    for (let i = 0, left = kept; left > 0; i++, left -= PAGE_BYTES) {
      const from = pages[i] * PAGE_BYTES;
      target.set(bytes.subarray(from, from + Math.min(left, PAGE_BYTES)), at + from);
    }
  }

  #alive(kind: "read-only" | "read-failed"): void {
    if (this.#stopped) throw new FlashError(kind, "the device was stopped (injected fault)");
    if (this.#closed) throw new FlashError("closed", "the device was closed");
  }
}
