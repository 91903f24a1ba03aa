/**
 * Nemo: a cache for tiny objects on flash (arXiv 2603.09605). Objects of one hash share a page of 4 KiB in RAM until a whole set
 * group of such pages is written at once; finding them takes filters, not an index of objects. Made by `openNemo`.
 */
import { type DeviceCounters, PAGE_BYTES } from "../device/zone-device.ts";
import type { FlashEngine } from "../engine.ts";
import { FlashError } from "../errors.ts";
import {
  entryValue,
  findEntry,
  firstEntry,
  isTombstone,
  MAX_OBJECT_BYTES,
  nextEntry,
  TOMBSTONE,
} from "../format/set-page.ts";
import { type HashedKey, setNumberOf } from "../key-hash.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { flushSetGroup } from "./flushing.ts";
import type { NemoCounts, NemoState } from "./state.ts";

const NO_VALUE = new Uint8Array(0);
const NOTHING = Promise.resolve(undefined);
/** Set pages kept for the next read; more than that many in flight are allocated anew. */
const SPARE_PAGES = 256;

export interface NemoStats extends NemoCounts {
  /** Sacrificed objects that left a tombstone. */
  entombed: number;
  setGroups: number;
}

export class NemoEngine implements FlashEngine {
  readonly name = "nemo";
  readonly maxObjectBytes: number;
  readonly #state: NemoState;
  /** Device counters when the cache was opened. */
  readonly #before: Readonly<DeviceCounters>;
  readonly #pages: Uint8Array[] = [];
  #flushing: Promise<void> | undefined;
  /** The last of the changes that wait for a flush: later ones wait behind it, so that they keep their order. */
  #queue: Promise<unknown> | undefined;
  #readOnly: string | undefined;
  /** Set numbers of which nothing is found any more, in RAM or on flash. */
  readonly #forgotten = new Set<number>();
  #closing: Promise<void> | undefined;

  /** Use `openNemo`. @param state as it was read from the device @param readOnly why nothing may be written */
  constructor(state: NemoState, before: Readonly<DeviceCounters>, readOnly: string | undefined) {
    this.#state = state;
    this.#before = before;
    this.#readOnly = readOnly;
    this.maxObjectBytes = state.shape.maxObjectBytes;
  }

  // Not an async function: at a hundred thousand gets a second the promise in between shows.
  get(key: HashedKey, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      this.#checkOpen();
      signal?.throwIfAborted();
    } catch (error) {
      return Promise.reject(error);
    }
    const { ram, counts, pool, shape } = this.#state;
    const s = setNumberOf(key, shape.sets);
    counts.gets++;
    if (this.#forgotten.has(s)) return NOTHING;
    const group = ram.locate(s, key);
    if (group === undefined) return pool.isEmpty ? NOTHING : this.#getFromFlash(s, key, signal);
    if (isTombstone(group.bytes, ram.entry)) return NOTHING;
    counts.hitsRam++;
    return Promise.resolve(entryValue(group.bytes, ram.entry));
  }

  async put(key: HashedKey, value: Uint8Array): Promise<boolean> {
    this.#checkOpen();
    const objectBytes = key.bytes.length + value.length;
    if (objectBytes > this.maxObjectBytes || this.#readOnly !== undefined) {
      // What was kept under the key is no longer its value.
      await this.#erase(key);
      return false;
    }
    if (this.#queue !== undefined || !this.#place(key, value, 0)) {
      if (!(await this.#queued(() => this.#placeOrForget(key, value, 0)))) return false;
    }
    const { counts } = this.#state;
    counts.puts++;
    counts.logicalBytes += objectBytes;
    return true;
  }

  async delete(key: HashedKey): Promise<void> {
    this.#checkOpen();
    this.#state.counts.deletes++;
    await this.#erase(key);
  }

  /** Writes both set groups in RAM, however full. @throws FlashError `read-only` */
  async flush(): Promise<void> {
    this.#checkOpen();
    await this.#queued(() => this.#flushAll());
    if (this.#readOnly !== undefined) {
      throw new FlashError("read-only", `nothing is written any more: ${this.#readOnly}`);
    }
    await this.#state.device.sync();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  stats(): NemoStats {
    const { counts, shape, ram, pool, index, hotness, slice, device } = this.#state;
    const { counters } = device;
    const before = this.#before;
    const unitBytes = counts.setGroupsWritten * device.zoneBytes;
    return {
      ...counts,
      fates: { ...counts.fates },
      updates: ram.updates,
      deviceBytesWritten: counters.hostBytesWritten - before.hostBytesWritten,
      deviceBytesRead: counters.hostBytesRead - before.hostBytesRead,
      zoneResets: counters.resets - before.resets,
      residentObjects: ram.objects + pool.residentObjects(),
      ram: {
        index: index.ramBytes + pool.ramBytes,
        buffers: ram.ramBytes + slice.length,
        hotness: hotness.words.byteLength,
      },
      fillRate: {
        fresh: unitBytes === 0 ? 0 : counts.freshBytes / unitBytes,
        all: unitBytes === 0 ? 0 : counts.filledBytes / unitBytes,
      },
      unsavedBytes: ram.entryBytes,
      readOnly: this.#readOnly,
      entombed: ram.entombed,
      setGroups: shape.setGroups,
    };
  }

  /**
   * One page after the other, the newest first: filters are so sharp that the second is hardly ever needed (1.01 pages a get), and
   * where keys are set again and again the older values are not read at all (6.9 pages a get if all are).
   */
  async #getFromFlash(s: number, key: HashedKey, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const found = this.#knownCandidates(s, key) ?? (await this.#candidates(s, key));
    const { counts, pool } = this.#state;
    let value: Uint8Array | "none" | "older" = "older";
    for (let i = 0; i < found.length && value === "older"; i++) {
      signal?.throwIfAborted();
      // Evicted while newer ones were read: as if the get had come later.
      if (found[i] < pool.oldest) break;
      const page = this.#pages.pop() ?? new Uint8Array(PAGE_BYTES);
      counts.setPagesRead++;
      const isWhole = await pool.readSet(found[i], s, page);
      value = this.#valueIn(found[i], page, isWhole, s, key);
      if (this.#pages.length < SPARE_PAGES) this.#pages.push(page);
    }
    signal?.throwIfAborted();
    return typeof value === "string" ? undefined : value;
  }

  /** Set groups whose filters say yes, the newest first; undefined when index pages must be read. */
  #knownCandidates(s: number, key: HashedKey): readonly number[] | undefined {
    const { index, pool } = this.#state;
    if (!index.isReady(s, pool.oldest)) return undefined;
    index.touch(s);
    return index.candidates(s, key.low, key.high, pool.oldest, pool.next);
  }

  async #candidates(s: number, key: HashedKey): Promise<readonly number[]> {
    const { index, pool, counts } = this.#state;
    for (;;) {
      const known = this.#knownCandidates(s, key);
      if (known !== undefined) return known;
      const { oldest } = pool;
      const { groupNumber } = index;
      const pages = await index.load(s, oldest);
      if (pages !== undefined) {
        const sameGroups = groupNumber === index.groupNumber;
        const found = sameGroups ? index.candidates(s, key.low, key.high, pool.oldest, pool.next, pages) : undefined;
        index.release(pages);
        if (found !== undefined) return found;
      } else if (oldest === pool.oldest && groupNumber === index.groupNumber) {
        // Damaged, and not just gone meanwhile: nothing is known of these set groups, so it is a miss.
        counts.readErrors++;
        return [];
      }
    }
  }

  /** The key's value in a set page, "none" when it has none any more, "older" when only older pages may have it. */
  #valueIn(
    sequence: number,
    page: Uint8Array,
    isWhole: boolean,
    s: number,
    key: HashedKey,
  ): Uint8Array | "none" | "older" {
    const { counts, pool, shape } = this.#state;
    // Evicted while it was read, and all older ones with it.
    if (sequence < pool.oldest) return "none";
    if (!isWhole) {
      counts.readErrors++;
      // It may have held a newer value than the ones that follow.
      return shape.strict ? "none" : "older";
    }
    const entry = findEntry(page, 0, key);
    if (entry < 0) {
      counts.falsePositives++;
      return "older";
    }
    if (isTombstone(page, entry)) return "none";
    counts.hitsFlash++;
    this.#remember(sequence, s, page, entry);
    return entryValue(page, entry);
  }

  /** Sets the bit of an object that was read, if its set group is old enough to have bits. */
  #remember(sequence: number, s: number, page: Uint8Array, entry: number): void {
    const { hotness, pool } = this.#state;
    if (!hotness.tracks(sequence, pool.oldest)) return;
    let place = 0;
    for (let before = firstEntry(0); before < entry; before = nextEntry(page, before)) place++;
    hotness.set(sequence, s, place);
  }

  /** Puts an end to every older value of the key. */
  async #erase(key: HashedKey): Promise<void> {
    // Nothing was ever kept under it, and no tombstone of it would fit a set.
    if (key.bytes.length > MAX_OBJECT_BYTES) return;
    if (this.#queue === undefined && this.#remove(key)) return;
    await this.#queued(async () => this.#remove(key) || this.#placeOrForget(key, NO_VALUE, TOMBSTONE));
  }

  /** Takes the key out of RAM; true when that is all there is to a delete. */
  #remove(key: HashedKey): boolean {
    const { ram, index, pool, shape } = this.#state;
    const s = setNumberOf(key, shape.sets);
    const older =
      (ram.out !== undefined && ram.out.find(s, key) >= 0) ||
      index.mayHold(s, key.low, key.high, pool.oldest, pool.next);
    if (older) return false;
    ram.remove(s, key);
    return true;
  }

  /** False when a flush that is under way must end first. */
  #place(key: HashedKey, value: Uint8Array, flags: number): boolean {
    const { ram, shape } = this.#state;
    const s = setNumberOf(key, shape.sets);
    if (ram.place(s, key, value, flags)) return true;
    if (this.#flushing !== undefined || this.#readOnly !== undefined) return false;
    this.#startFlush();
    return ram.place(s, key, value, flags);
  }

  /** After a flush if need be. False when nothing can be written any more: then the key is a miss. */
  async #placeOrForget(key: HashedKey, value: Uint8Array, flags: number): Promise<boolean> {
    while (!this.#place(key, value, flags)) {
      if (this.#readOnly !== undefined) {
        if (this.#remove(key) || this.#place(key, NO_VALUE, TOMBSTONE)) return false;
        // Not even a tombstone has room: older values can only be forgotten by the whole set.
        this.#forgotten.add(setNumberOf(key, this.#state.shape.sets));
        return false;
      }
      await this.#flushing;
    }
    return true;
  }

  /** Runs a change after those that wait already. */
  #queued<T>(change: () => Promise<T>): Promise<T> {
    const mine = this.#queue === undefined ? change() : this.#queue.then(change);
    const settled = mine.then(
      () => {},
      () => {},
    );
    this.#queue = settled;
    settled.then(() => {
      if (this.#queue === settled) this.#queue = undefined;
    });
    return mine;
  }

  #startFlush(): void {
    const out = this.#state.ram.rotate();
    this.#flushing = flushSetGroup(this.#state, out)
      .catch((error: unknown) => {
        this.#readOnly = error instanceof Error ? error.message : String(error);
      })
      .then(() => {
        this.#flushing = undefined;
      });
  }

  async #flushAll(): Promise<void> {
    await this.#flushing;
    const { ram } = this.#state;
    for (let left = 2; left > 0 && this.#readOnly === undefined && ram.entryBytes > 0; left--) {
      this.#startFlush();
      await this.#flushing;
    }
  }

  async #close(): Promise<void> {
    await this.#queue;
    await this.#flushing;
    const { device } = this.#state;
    try {
      if (this.#readOnly === undefined) {
        await writeCheckpoint(this.#state);
        await device.sync();
      }
    } catch (error) {
      // What is in RAM is lost, as after a kill; the set groups on flash are not.
      this.#readOnly = error instanceof Error ? error.message : String(error);
    }
    await device.close();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new FlashError("closed", "the cache was closed");
  }
}
