/**
 * Zones in one preallocated file: zone by zone written from its start, read by page, forgotten without a write. On an ordinary
 * drive that is all that a design for zoned flash needs; what the drive programs besides is not known here.
 */
import { punchHole } from "../../memory/file-calls.ts";
import { FlashError } from "../errors.ts";
import { type CacheFile, type CacheFileOptions, DATA_OFFSET, openCacheFile } from "./cache-file.ts";
import { CacheFileDevice } from "./cache-file-device.ts";
import { checkAppend, checkGeometry, checkRead, checkZone, type ZoneGeometry } from "./zone-access.ts";
import { PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

export interface FileZonesOptions extends CacheFileOptions, ZoneGeometry {
  /**
   * Gives a zone's space back to the file system when it is reset: old pages cannot show again, and the drive may erase them early.
   * Writing the zone then needs the space anew, so that a full disk shows late. @default false
   */
  readonly punchHoles?: boolean;
}

/** @throws FlashError as `openCacheFile`, and `bad-options` */
export async function openFileZones(options: FileZonesOptions): Promise<FileZones> {
  checkGeometry(options);
  const shape = { kind: "zones", units: options.zones, pagesPerUnit: options.zoneBytes / PAGE_BYTES } as const;
  return new FileZones(await openCacheFile(shape, options), options);
}

export class FileZones extends CacheFileDevice implements ZoneDevice {
  readonly zones: number;
  readonly zoneBytes: number;
  readonly #punchHoles: boolean;
  /** Write pointers, of what is on the device and of what was asked for. */
  readonly #written: Float64Array;
  readonly #reserved: Float64Array;
  /** The last append or reset of each zone; the next one waits for it. */
  readonly #last: (Promise<void> | undefined)[];
  readonly #resetting: (Promise<void> | undefined)[];
  /** Why nothing more is appended to a zone until it is reset: what it holds from some page on is not known. */
  readonly #failed: (Error | undefined)[];

  /** See `openFileZones`. */
  constructor(file: CacheFile, { zones, zoneBytes, punchHoles = false }: FileZonesOptions) {
    super(file);
    this.zones = zones;
    this.zoneBytes = zoneBytes;
    this.#punchHoles = punchHoles;
    this.#written = new Float64Array(zones).fill(file.created ? 0 : zoneBytes);
    this.#reserved = this.#written.slice();
    this.#last = new Array<Promise<void> | undefined>(zones).fill(undefined);
    this.#resetting = this.#last.slice();
    this.#failed = new Array<Error | undefined>(zones).fill(undefined);
  }

  /** A zone whose append or reset failed refuses more of them, with the same error, until it is reset. */
  async append(zone: number, bytes: Uint8Array): Promise<void> {
    this.checkOpen();
    const failed = this.#failed[zone];
    // Behind a reset that is under way the zone is as good as new.
    if (failed !== undefined && this.#resetting[zone] === undefined) throw failed;
    const at = this.#reserved[zone];
    checkAppend(this, zone, at, bytes.length);
    this.#reserved[zone] = at + bytes.length;
    const done = this.#append(zone, at, bytes, this.#last[zone], this.#resetting[zone]);
    this.#last[zone] = done;
    await done;
  }

  /**
   * Goes out while earlier appends of the zone are under way, because a drive that waits for each slice has a third of its speed;
   * it counts as written only after them.
   */
  async #append(
    zone: number,
    at: number,
    bytes: Uint8Array,
    before: Promise<void> | undefined,
    reset: Promise<void> | undefined,
  ): Promise<void> {
    // A hole that is still being punched would take the new bytes with it.
    if (reset !== undefined) await reset;
    const writing = this.file.io.write(this.#offset(zone) + at, bytes);
    // Awaited below; it may fail before.
    writing.catch(() => {});
    try {
      await before;
      await writing;
    } catch (error) {
      this.#failed[zone] = error as Error;
      await settled(writing);
      throw error;
    }
    this.#written[zone] = at + bytes.length;
    this.counters.hostBytesWritten += bytes.length;
    this.counters.nandBytesWritten += bytes.length;
  }

  // Not an async function: at a hundred thousand reads a second the promise in between shows.
  read(zone: number, page: number, pages: number, into?: Uint8Array): Promise<Uint8Array> {
    try {
      this.checkOpen();
      checkRead(this, zone, this.#written[zone], page, pages, into);
    } catch (error) {
      return Promise.reject(error);
    }
    const bytes = pages * PAGE_BYTES;
    this.counters.hostBytesRead += bytes;
    this.counters.pagesRead += pages;
    return this.file.io.read(this.#offset(zone) + page * PAGE_BYTES, into ?? new Uint8Array(bytes));
  }

  async reset(zone: number): Promise<void> {
    this.checkOpen();
    checkZone(this, zone);
    this.#reserved[zone] = 0;
    const done = this.#reset(zone, this.#last[zone]);
    this.#last[zone] = done;
    this.#resetting[zone] = done;
    try {
      await done;
    } finally {
      if (this.#resetting[zone] === done) this.#resetting[zone] = undefined;
    }
  }

  async #reset(zone: number, before: Promise<void> | undefined): Promise<void> {
    await settled(before);
    if (this.#punchHoles) {
      try {
        punchHole(this.file.fd, this.#offset(zone), this.zoneBytes);
      } catch (cause) {
        const error = new FlashError("read-only", `Zone ${zone} of ${this.path} cannot be given back.`, { cause });
        this.#failed[zone] = error;
        throw error;
      }
    }
    this.#failed[zone] = undefined;
    this.#written[zone] = 0;
    this.counters.resets++;
  }

  protected override async idle(): Promise<void> {
    await Promise.all(this.#last.map(settled));
  }

  written(zone: number): number {
    return this.#written[zone];
  }

  #offset(zone: number): number {
    return DATA_OFFSET + zone * this.zoneBytes;
  }
}

/** Whoever asked for it hears how it ended; the next one only waits. */
async function settled(before: Promise<void> | undefined): Promise<void> {
  await before?.catch(() => undefined);
}
