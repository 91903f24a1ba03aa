/**
 * The log before the sets: KLog of Kangaroo (SOSP'21, section 4.2) and FwLog of FairyWREN. It keeps the objects of one part of the
 * sets, finds them by set and tag, and hands over all that waits for a set. When objects leave it, and whereto, is the caller's.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import {
  endOfEntries,
  entryHigh,
  entryLow,
  entrySpare,
  findEntry,
  firstEntry,
  isTombstone,
  nextEntry,
  removeEntry,
  setEntrySpare,
  TOMBSTONE,
  verifySet,
} from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";
import { LogIndex, NONE, tagOf } from "./log-index.ts";
import { SegmentRing, type SegmentRingOptions } from "./segment-ring.ts";
import { LONG, NEAR, type SetMerge } from "./set-merge.ts";

/** Objects of a page that the index reckons with: smaller ones make its tables grow fuller, up to twice this. */
const OBJECTS_OF_A_PAGE = 64;
/** In an entry's spare byte: the object was in this log before. */
const READMITTED = 1;

/** Which sets a log serves: those whose number leaves `part` when divided by `parts`. */
export interface LogPart {
  readonly sets: number;
  readonly part: number;
  readonly parts: number;
}

/** Of `AliveObject`: the page cannot be used, so that the set is known and its entry there is not. */
export const UNKNOWN = -1;

/** Something that the loaded segment holds: in `page` of it, of that set, with its entry there or `UNKNOWN`. */
export interface AliveObject {
  readonly set: number;
  readonly page: number;
  readonly entry: number;
}

/** What became of an append; `none` is for a full segment or a full index. */
export type Kept = "added" | "replaced" | "none";

export class ObjectLog {
  readonly ring: SegmentRing;
  /** The oldest segment, between `loadOldest` and `retireOldest`. */
  readonly oldest: Uint8Array;
  readonly #index: LogIndex;
  readonly #sets: number;
  readonly #part: number;
  readonly #parts: number;
  readonly #page = new Uint8Array(PAGE_BYTES);
  /** Per page of `oldest`, whether it can be used; empty when none is loaded. */
  #sound: readonly boolean[] = [];
  /** Objects of the open segment that were never on flash. */
  #fresh = 0;

  /** @param oldest a segment of memory, which several logs may share while one of them at a time retires a segment */
  constructor(device: ZoneDevice, { sets, part, parts }: LogPart, options: SegmentRingOptions, oldest: Uint8Array) {
    this.ring = new SegmentRing(device, options);
    this.#index = new LogIndex(Math.ceil((sets - part) / parts), this.ring.pages * OBJECTS_OF_A_PAGE);
    this.#sets = sets;
    this.#part = part;
    this.#parts = parts;
    this.oldest = oldest;
  }

  get indexBytes(): number {
    return this.#index.bytes;
  }

  /** Whether an entry has the key's tag: always so when the log holds the key. */
  mayHold(set: number, key: HashedKey): boolean {
    const local = this.#local(set);
    const tag = tagOf(key);
    for (let entry = this.#index.first(local); entry !== NONE; entry = this.#index.next(local, entry)) {
      if (this.#index.tag(local, entry) === tag) return true;
    }
    return false;
  }

  /** Where in `ring.buffer` the key's newest entry begins, or -1 when it is not in RAM. Notes the use. */
  findInBuffer(set: number, key: HashedKey): number {
    const local = this.#local(set);
    const entry = this.#inBuffer(local, key);
    if (entry === NONE) return -1;
    this.#index.setPrediction(local, entry, NEAR);
    return findEntry(this.ring.buffer, this.ring.inBuffer(this.#index.page(local, entry)), key);
  }

  /** Pages on flash that may hold the key, newest first. */
  candidates(set: number, key: HashedKey): readonly number[] {
    const local = this.#local(set);
    const tag = tagOf(key);
    let pages: number[] | undefined;
    for (let entry = this.#index.first(local); entry !== NONE; entry = this.#index.next(local, entry)) {
      if (this.#index.tag(local, entry) !== tag) continue;
      const page = this.#index.page(local, entry);
      if (this.ring.inBuffer(page) >= 0) continue;
      if (pages === undefined) pages = [page];
      else if (!pages.includes(page)) pages.push(page);
    }
    return pages ?? NO_PAGES;
  }

  /** Notes that an object on flash was read. */
  used(set: number, key: HashedKey, page: number): void {
    const local = this.#local(set);
    const entry = this.#index.find(local, tagOf(key), page);
    if (entry !== NONE) this.#index.setPrediction(local, entry, NEAR);
  }

  /** Keeps a copy in the open segment; an older version there goes. */
  put(set: number, key: HashedKey, value: Uint8Array, flags: number): Kept {
    const local = this.#local(set);
    if (!this.#index.hasRoom(local)) return "none";
    const older = this.#inBuffer(local, key);
    const olderAt = older === NONE ? -1 : this.ring.inBuffer(this.#index.page(local, older));
    const olderEntry = older === NONE ? -1 : findEntry(this.ring.buffer, olderAt, key);
    const page = this.ring.append(key, value, flags);
    if (page < 0) return "none";
    let kept: Kept = "added";
    if (older !== NONE) {
      if (!isTombstone(this.ring.buffer, olderEntry)) {
        kept = "replaced";
        if (entrySpare(this.ring.buffer, olderEntry) !== READMITTED) this.#fresh--;
      }
      removeEntry(this.ring.buffer, olderAt, olderEntry);
      this.#index.remove(local, older);
    }
    this.#index.insert(local, tagOf(key), page, LONG);
    if ((flags & TOMBSTONE) === 0) this.#fresh++;
    return kept;
  }

  /** Whether a `put` of that set would find an entry in the index. */
  hasRoom(set: number): boolean {
    return this.#index.hasRoom(this.#local(set));
  }

  /** Takes out all entries with the key's tag, on flash as in RAM; other objects may go with it. */
  forget(set: number, key: HashedKey): number {
    const local = this.#local(set);
    const tag = tagOf(key);
    let forgotten = 0;
    for (let entry = this.#index.first(local), next: number; entry !== NONE; entry = next) {
      next = this.#index.next(local, entry);
      if (this.#index.tag(local, entry) !== tag) continue;
      const buffered = this.ring.inBuffer(this.#index.page(local, entry));
      if (buffered >= 0) this.#dropFromBuffer(buffered, set, tag);
      this.#index.remove(local, entry);
      forgotten++;
    }
    return forgotten;
  }

  /** Writes the open segment. The caller retires segments first while the ring is full. @returns objects new on flash */
  async write(): Promise<number> {
    await this.ring.write();
    const fresh = this.#fresh;
    this.#fresh = 0;
    return fresh;
  }

  /** Reads the oldest segment. @returns pages of it that cannot be used */
  async loadOldest(): Promise<number> {
    const first = this.ring.oldestPage;
    const read = await this.ring.readOldest(this.oldest);
    this.#sound = Array.from(
      { length: this.ring.segmentPages },
      (_, page) => read && verifySet(this.oldest, page * PAGE_BYTES, first + page),
    );
    return this.#sound.filter((sound) => !sound).length;
  }

  /** What is alive in the loaded segment, each at the moment when its turn comes: what goes meanwhile is passed over. */
  *alive(): Generator<AliveObject> {
    for (let page = 0; page < this.ring.segmentPages; page++) {
      if (!this.#sound[page]) {
        for (const set of this.#setsOfPage(page)) yield { set, page, entry: UNKNOWN };
        continue;
      }
      const at = page * PAGE_BYTES;
      for (let e = firstEntry(at); e < endOfEntries(this.oldest, at); e = nextEntry(this.oldest, e)) {
        const set = this.aliveSet(page, e);
        if (set >= 0) yield { set, page, entry: e };
      }
    }
  }

  /** The loaded segment is given up; nothing in it is in the index any more. */
  retireOldest(): void {
    this.#sound = [];
    this.ring.retireOldest();
  }

  /** Set of an entry of the loaded segment when the index still has it, else -1. @param page of the segment */
  aliveSet(page: number, entry: number): number {
    const set = entryHigh(this.oldest, entry) % this.#sets;
    const tag = entryLow(this.oldest, entry) >>> 23;
    return this.#index.find(this.#local(set), tag, this.ring.oldestPage + page) === NONE ? -1 : set;
  }

  /**
   * Gives all that waits for a set to the merge, newest first. When a page cannot be read, what is older than it, in the log and
   * in the set, is doubtful: one of its objects may have been the newer version.
   */
  async gather(set: number, merge: SetMerge): Promise<void> {
    const local = this.#local(set);
    for (let entry = this.#index.first(local); entry !== NONE; entry = this.#index.next(local, entry)) {
      const page = this.#index.page(local, entry);
      // Two keys with one tag in one page: the first entry has brought both.
      if (this.#index.find(local, this.#index.tag(local, entry), page) !== entry) continue;
      const buffered = this.ring.inBuffer(page);
      const inOldest = page - this.ring.oldestPage;
      if (buffered >= 0) this.#addFrom(merge, this.ring.buffer, buffered, set, page, entry);
      else if (inOldest >= 0 && inOldest < this.#sound.length && this.#sound[inOldest])
        this.#addFrom(merge, this.oldest, inOldest * PAGE_BYTES, set, page, entry);
      else if (await this.ring.read(page, this.#page)) this.#addFrom(merge, this.#page, 0, set, page, entry);
      else {
        merge.oldPagesAreDoubtful = true;
        return;
      }
    }
  }

  /** Forgets all that waits for a set: it is in the set now. */
  clear(set: number): void {
    const local = this.#local(set);
    for (let entry = this.#index.first(local); entry !== NONE; entry = this.#index.next(local, entry)) {
      const buffered = this.ring.inBuffer(this.#index.page(local, entry));
      if (buffered >= 0) this.#dropFromBuffer(buffered, set, this.#index.tag(local, entry));
    }
    this.#index.clear(local);
  }

  /** Whether the set has one entry alone. */
  isAlone(set: number): boolean {
    const local = this.#local(set);
    const first = this.#index.first(local);
    return first !== NONE && this.#index.next(local, first) === NONE;
  }

  /** Page, as the log numbers them, of an entry of the loaded segment. */
  pageOf(page: number): number {
    return this.ring.oldestPage + page;
  }

  /** Whether an alive entry of the loaded segment was read while it lay here. */
  wasUsed(set: number, page: number, entry: number): boolean {
    return this.#index.prediction(this.#local(set), this.#indexed(set, page, entry)) === NEAR;
  }

  /** Takes an alive entry of the loaded segment out of the index. */
  drop(set: number, page: number, entry: number): void {
    this.#index.remove(this.#local(set), this.#indexed(set, page, entry));
  }

  /** Moves an alive entry of the loaded segment, the newest of its key, to the open one. False when that is full. */
  readmit(set: number, page: number, entry: number): boolean {
    setEntrySpare(this.oldest, entry, READMITTED);
    const target = this.ring.copy(this.oldest, entry);
    if (target < 0) return false;
    const local = this.#local(set);
    this.#index.remove(local, this.#indexed(set, page, entry));
    this.#index.insert(local, entryLow(this.oldest, entry) >>> 23, target, LONG);
    return true;
  }

  /** Sets with objects in a page of the loaded segment that cannot be used: found by looking through the whole index. */
  #setsOfPage(page: number): readonly number[] {
    const wanted = this.ring.oldestPage + page;
    const sets: number[] = [];
    for (let set = this.#part; set < this.#sets; set += this.#parts) {
      const local = this.#local(set);
      for (let entry = this.#index.first(local); entry !== NONE; entry = this.#index.next(local, entry)) {
        if (this.#index.page(local, entry) !== wanted) continue;
        sets.push(set);
        break;
      }
    }
    return sets;
  }

  #addFrom(merge: SetMerge, bytes: Uint8Array, at: number, set: number, page: number, entry: number): void {
    const tag = this.#index.tag(this.#local(set), entry);
    const prediction = this.#index.prediction(this.#local(set), entry);
    for (let e = firstEntry(at); e < endOfEntries(bytes, at); e = nextEntry(bytes, e)) {
      if (this.#isOf(bytes, e, set, tag)) merge.addIncoming(bytes, e, page, prediction);
    }
  }

  /** An entry that the index forgets must not stay in a page that new ones can still come to. */
  #dropFromBuffer(at: number, set: number, tag: number): void {
    for (let e = firstEntry(at); e < endOfEntries(this.ring.buffer, at); ) {
      if (this.#isOf(this.ring.buffer, e, set, tag)) removeEntry(this.ring.buffer, at, e);
      else e = nextEntry(this.ring.buffer, e);
    }
  }

  #isOf(bytes: Uint8Array, entry: number, set: number, tag: number): boolean {
    return entryLow(bytes, entry) >>> 23 === tag && entryHigh(bytes, entry) % this.#sets === set;
  }

  /** The key's entry in the open segment, or NONE. */
  #inBuffer(local: number, key: HashedKey): number {
    const tag = tagOf(key);
    for (let entry = this.#index.first(local); entry !== NONE; entry = this.#index.next(local, entry)) {
      const at = this.ring.inBuffer(this.#index.page(local, entry));
      // Chains are in the order of time: behind the first on flash there is none in RAM.
      if (at < 0) return NONE;
      if (this.#index.tag(local, entry) === tag && findEntry(this.ring.buffer, at, key) >= 0) return entry;
    }
    return NONE;
  }

  /** The index's entry of an alive entry of the loaded segment. */
  #indexed(set: number, page: number, entry: number): number {
    return this.#index.find(this.#local(set), entryLow(this.oldest, entry) >>> 23, this.ring.oldestPage + page);
  }

  #local(set: number): number {
    return Math.floor(set / this.#parts);
  }
}

const NO_PAGES: readonly number[] = [];
