/**
 * One set's objects on their way to one or two new pages: those waiting in the log, then those of the old pages, ordered by
 * RRIParoo (Kangaroo, SOSP'21, section 4.4). Predictions lie with the objects on flash; in RAM there is one hit bit each. It
 * does no I/O, and is used for one set at a time.
 */
import {
  appendCopy,
  clearSet,
  ENTRY_BYTES,
  endOfEntries,
  entryBytes,
  entryLow,
  entrySpare,
  firstEntry,
  isTombstone,
  nextEntry,
  SET_BYTES,
  SET_CAPACITY,
  sameEntryKey,
  setEntrySpare,
} from "../format/set-page.ts";
import type { SetFilters } from "./set-filters.ts";

/** Read lately: the last to go. */
export const NEAR = 0;
/** A new object: the first to go unless it is read. */
export const LONG = 6;
/** Not expected to be read again. */
export const FAR = 7;

/** Where old pages are put in `arena`: the first or only one, and the second. */
export const FIRST_PAGE = 0;
export const SECOND_PAGE = SET_BYTES;
/** What one set can gather from the log before its old pages are given up: sixteen sets full. */
const GATHERED_BYTES = 64 * 1024;
const ARENA_BYTES = 2 * SET_BYTES + GATHERED_BYTES;
const MOST_OBJECTS = Math.ceil(ARENA_BYTES / ENTRY_BYTES);

export class SetMerge {
  readonly arena = new Uint8Array(ARENA_BYTES);
  readonly #offsets = new Int32Array(MOST_OBJECTS);
  readonly #predictions = new Uint8Array(MOST_OBJECTS);
  /** Of incoming objects, the page of the log. */
  readonly #pages = new Int32Array(MOST_OBJECTS);
  /** Objects from near to far; emptied from the front as pages take them. */
  readonly #order = new Int32Array(MOST_OBJECTS);
  #end = 2 * SET_BYTES;
  #count = 0;
  #incoming = 0;
  #tombstones = 0;
  #objectBytes = 0;
  #left = 0;
  #dropped = 0;
  /** The old pages must not be used: a newer version of any of their objects may have been lost. */
  oldPagesAreDoubtful = false;
  /** Objects that a newer version or a tombstone put an end to. */
  replaced = 0;
  /** Incoming objects that found room, and their entries' bytes. */
  fresh = 0;
  freshBytes = 0;

  get bytes(): number {
    return ARENA_BYTES + MOST_OBJECTS * 13;
  }

  begin(): void {
    this.#end = 2 * SET_BYTES;
    this.#count = 0;
    this.#incoming = 0;
    this.#tombstones = 0;
    this.#objectBytes = 0;
    this.#left = 0;
    this.#dropped = 0;
    this.oldPagesAreDoubtful = false;
    this.replaced = 0;
    this.fresh = 0;
    this.freshBytes = 0;
  }

  /** Objects that came from the log, tombstones aside. */
  get incomingObjects(): number {
    return this.#incoming - this.#tombstones;
  }

  /** Copies an entry of the log; call it from the newest to the oldest, before `addPage`. */
  addIncoming(from: Uint8Array, entry: number, page: number, prediction: number): void {
    for (let i = 0; i < this.#incoming; i++) {
      if (!sameEntryKey(this.arena, this.#offsets[i], from, entry)) continue;
      if (!isTombstone(from, entry)) this.replaced++;
      return;
    }
    const size = entryBytes(from, entry);
    if (this.#end + size > ARENA_BYTES) {
      // Newer ones alone fill the set sixteen times. The old pages may hold this key: they go.
      this.oldPagesAreDoubtful = true;
      if (!isTombstone(from, entry)) this.#dropped++;
      return;
    }
    this.arena.set(from.subarray(entry, entry + size), this.#end);
    this.#offsets[this.#count] = this.#end;
    this.#predictions[this.#count] = prediction;
    this.#pages[this.#count] = page;
    this.#end += size;
    this.#count++;
    this.#incoming++;
    if (isTombstone(from, entry)) this.#tombstones++;
    else this.#objectBytes += size;
  }

  /** Page of the log with the newest version of the entry's key, or -1. */
  newestPage(from: Uint8Array, entry: number): number {
    for (let i = 0; i < this.#incoming; i++) {
      if (sameEntryKey(this.arena, this.#offsets[i], from, entry)) return this.#pages[i];
    }
    return -1;
  }

  /** Whether the page in the arena holds an older version of an incoming object. */
  clashes(at: number): boolean {
    for (let e = firstEntry(at); e < endOfEntries(this.arena, at); e = nextEntry(this.arena, e)) {
      if (this.#isIncoming(e)) return true;
    }
    return false;
  }

  /** Whether the filter says so of any incoming object. */
  mayClash(filters: SetFilters, set: number): boolean {
    for (let i = 0; i < this.#incoming; i++) {
      if (filters.mayHold(set, entryLow(this.arena, this.#offsets[i]))) return true;
    }
    return false;
  }

  /** Adds the objects of an old page in the arena. @param hits bit i: the page's object i was read; those past 15 have none */
  addPage(at: number, hits: number): void {
    let ordinal = 0;
    for (let e = firstEntry(at); e < endOfEntries(this.arena, at); e = nextEntry(this.arena, e), ordinal++) {
      if (this.#isIncoming(e)) {
        this.replaced++;
        continue;
      }
      this.#offsets[this.#count] = e;
      this.#predictions[this.#count] = ordinal < 16 && (hits >>> ordinal) & 1 ? NEAR : entrySpare(this.arena, e);
      this.#objectBytes += entryBytes(this.arena, e);
      this.#count++;
    }
  }

  /** Puts all objects in order. When they do not fit `pages` the old ones age until one of them is FAR. */
  order(pages: 1 | 2): void {
    if (this.#objectBytes > pages * SET_CAPACITY) this.#age();
    this.#left = 0;
    for (let prediction = NEAR; prediction <= FAR; prediction++) {
      for (let i = 0; i < this.#count; i++) {
        if (this.#predictions[i] !== prediction) continue;
        if (i < this.#incoming && isTombstone(this.arena, this.#offsets[i])) continue;
        this.#order[this.#left++] = i;
      }
    }
  }

  /** Makes the page a set of what fits, from near to far, and fills its filter anew. The page is not sealed. */
  fill(bytes: Uint8Array, at: number, setNumber: number, filters: SetFilters): void {
    clearSet(bytes, at, setNumber);
    filters.clear(setNumber);
    let left = 0;
    for (let n = 0; n < this.#left; n++) {
      const object = this.#order[n];
      const entry = this.#offsets[object];
      setEntrySpare(this.arena, entry, this.#predictions[object]);
      if (!appendCopy(bytes, at, this.arena, entry)) {
        this.#order[left++] = object;
        continue;
      }
      filters.add(setNumber, entryLow(this.arena, entry));
      if (object < this.#incoming) {
        this.fresh++;
        this.freshBytes += entryBytes(this.arena, entry);
      }
    }
    this.#left = left;
  }

  /** Objects that no page took. */
  get evicted(): number {
    return this.#left + this.#dropped;
  }

  #age(): void {
    let farthest = NEAR;
    for (let i = this.#incoming; i < this.#count; i++) farthest = Math.max(farthest, this.#predictions[i]);
    for (let i = this.#incoming; i < this.#count; i++) this.#predictions[i] += FAR - farthest;
  }

  #isIncoming(entry: number): boolean {
    for (let i = 0; i < this.#incoming; i++) {
      if (sameEntryKey(this.arena, entry, this.arena, this.#offsets[i])) return true;
    }
    return false;
  }
}
