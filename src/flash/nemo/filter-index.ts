/**
 * Which set groups may hold a key: filters of the newest in RAM, of the older ones in index pages, some of them cached. It answers
 * for what is on flash, never for what is in RAM, and a filter's yes is a maybe.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import type { EngineStats } from "../engine.ts";
import { filterPositions, rowBytesOf, searchFilters } from "../format/filter.ts";
import { verifyPage } from "../format/sealed-page.ts";
import { IndexCache } from "./index-cache.ts";
import { IndexGroup } from "./index-group.ts";
import type { NemoShape } from "./options.ts";

/** Index pages read at once are kept for the next read; more than that many in flight are allocated anew. */
const SPARE_BUFFERS = 64;

export class FilterIndex {
  readonly group: IndexGroup;
  readonly cache: IndexCache;
  /** The number of the index group in RAM: those before it are on flash. */
  groupNumber = 0;
  readonly #device: ZoneDevice;
  readonly #shape: NemoShape;
  readonly #counts: Pick<EngineStats, "indexPagesRead" | "readErrors">;
  readonly #positions: Uint16Array;
  readonly #rowBytes: number;
  readonly #spare: Uint8Array[] = [];

  constructor(device: ZoneDevice, shape: NemoShape, counts: Pick<EngineStats, "indexPagesRead" | "readErrors">) {
    this.#device = device;
    this.#shape = shape;
    this.#counts = counts;
    this.#positions = new Uint16Array(shape.filter.hashes);
    this.#rowBytes = rowBytesOf(shape.groupSetGroups);
    this.group = new IndexGroup(shape.sets, shape.filter, shape.groupSetGroups);
    this.cache = new IndexCache(shape.sets, shape.cachedSetNumbers, shape.indexZones);
  }

  get ramBytes(): number {
    return this.group.bytes.length + this.cache.ramBytes;
  }

  zoneOf(group: number): number {
    return this.#shape.setGroups + (group % this.#shape.indexZones);
  }

  /** Whether the filters of a set number, from the set group `oldest` on, can be asked without a read. */
  isReady(s: number, oldest: number): boolean {
    return oldest >= this.groupNumber * this.#shape.groupSetGroups || this.cache.has(s);
  }

  /**
   * Set groups that may hold a key, the newest first. Only when `isReady`, or with the pages from `load`.
   * @param next one past the last set group to ask
   * @param loaded pages that are not in the cache
   */
  candidates(s: number, low: number, high: number, oldest: number, next: number, loaded?: Uint8Array): number[] {
    const found: number[] = [];
    this.#search(s, low, high, oldest, next, found, loaded);
    return found;
  }

  /**
   * Marks a set number as asked for while all filters are in RAM, where its entry needs no pages yet: it decides what is written
   * back. Only when `isReady`.
   */
  touch(s: number): void {
    if (!this.cache.has(s)) this.cache.insert(s);
  }

  /** Whether set groups from `oldest` to before `next` may hold a key; true when that is not known without a read. */
  mayHold(s: number, low: number, high: number, oldest: number, next: number): boolean {
    if (oldest >= next) return false;
    return !this.isReady(s, oldest) || this.#search(s, low, high, oldest, next, undefined, undefined);
  }

  /**
   * Reads the index pages of a set number and caches them. Undefined when one of them cannot be read: then nothing is known of the
   * set number. Give the pages back by `release`.
   */
  async load(s: number, oldest: number): Promise<Uint8Array | undefined> {
    const { indexZones, groupSetGroups } = this.#shape;
    const pages = this.#spare.pop() ?? new Uint8Array(indexZones * PAGE_BYTES);
    const end = this.groupNumber;
    const reads: Promise<boolean>[] = [];
    for (let group = Math.floor(oldest / groupSetGroups); group < end; group++) reads.push(this.#read(group, s, pages));
    this.#counts.indexPagesRead += reads.length;
    const whole = await Promise.all(reads);
    if (!whole.includes(false)) {
      // A group that was written meanwhile is missing here.
      if (end === this.groupNumber) this.cache.insert(s, pages);
      return pages;
    }
    this.release(pages);
    return undefined;
  }

  release(pages: Uint8Array): void {
    if (this.#spare.length < SPARE_BUFFERS) this.#spare.push(pages);
  }

  /** The group in RAM was written: its pages join the cache, and the next one begins. */
  groupWritten(): void {
    this.cache.addGroup(this.groupNumber, this.group.bytes);
    this.group.clear();
    this.groupNumber++;
  }

  async #read(group: number, s: number, pages: Uint8Array): Promise<boolean> {
    const at = (group % this.#shape.indexZones) * PAGE_BYTES;
    try {
      await this.#device.read(this.zoneOf(group), s + 1, 1, pages.subarray(at, at + PAGE_BYTES));
    } catch {
      return false;
    }
    return verifyPage(pages, at, "index", group, s);
  }

  /** With `found`, lists all candidates; without, stops at the first. */
  #search(
    s: number,
    low: number,
    high: number,
    oldest: number,
    next: number,
    found: number[] | undefined,
    loaded: Uint8Array | undefined,
  ): boolean {
    const { groupSetGroups, indexZones, filter } = this.#shape;
    const positions = this.#positions;
    filterPositions(filter, low, high, positions);
    const cached = loaded === undefined ? this.cache.at(s) : 0;
    const newest = Math.floor((next - 1) / groupSetGroups);
    for (let group = newest; group >= 0 && (group + 1) * groupSetGroups > oldest; group--) {
      const inRam = group >= this.groupNumber;
      const bytes = inRam ? this.group.bytes : (loaded ?? this.cache.bytes);
      const page = inRam ? this.group.at(s) : cached + (group % indexZones) * PAGE_BYTES;
      const begin = group * groupSetGroups;
      const last = Math.min(groupSetGroups, next - begin) - 1;
      for (let eighth = last >> 3; eighth >= 0; eighth--) {
        const bits = searchFilters(bytes, page, this.#rowBytes, eighth, positions, filter.hashes);
        for (let place = 7; bits !== 0 && place >= 0; place--) {
          const sequence = begin + eighth * 8 + place;
          if ((bits & (1 << place)) === 0 || sequence < oldest || sequence >= next) continue;
          if (found === undefined) return true;
          found.push(sequence);
        }
      }
    }
    return false;
  }
}
