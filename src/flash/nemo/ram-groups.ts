/**
 * The set groups in RAM and where a put goes: front, then rear, then in place of older objects (the Nemo paper's delayed flush).
 * When nothing works it says so, and the caller flushes; what is written, and when, is not decided here.
 */
import type { Fates } from "../engine.ts";
import {
  ENTRY_BYTES,
  endOfEntries,
  entryBytes,
  findSameKey,
  firstEntry,
  isTombstone,
  nextEntry,
  SET_CAPACITY,
  TOMBSTONE,
  tombstoneBytes,
} from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";
import type { NemoShape } from "./options.ts";
import { SetGroup } from "./set-group.ts";

/** Entries that a set can hold: none is smaller than its overhead. */
const MOST_ENTRIES = Math.floor(SET_CAPACITY / ENTRY_BYTES);

export class RamGroups {
  /** Flushed next. */
  front: SetGroup;
  /** Absent when there is but one set group for puts. */
  rear: SetGroup | undefined;
  /** Being written. */
  out: SetGroup | undefined;
  /** Puts that found no room since the last flush. */
  failures = 0;
  /** Of the sacrificed objects, those that left a tombstone. */
  entombed = 0;
  /** Puts of a key that was in front or rear. */
  updates = 0;
  /** Where `locate` found the key. */
  entry = -1;
  #spare: SetGroup | undefined;
  readonly #shape: NemoShape;
  readonly #fates: Fates;
  readonly #mayBeOnFlash: (s: number, from: Uint8Array, entry: number) => boolean;
  readonly #keepTombstone = new Uint8Array(MOST_ENTRIES);

  /** @param mayBeOnFlash whether set groups on flash may hold another entry of an entry's key */
  constructor(shape: NemoShape, fates: Fates, mayBeOnFlash: (s: number, from: Uint8Array, entry: number) => boolean) {
    this.#shape = shape;
    this.#fates = fates;
    this.#mayBeOnFlash = mayBeOnFlash;
    this.front = new SetGroup(shape.sets);
    this.#spare = new SetGroup(shape.sets);
    if (shape.bufferedSetGroups) this.rear = new SetGroup(shape.sets);
  }

  get ramBytes(): number {
    return this.front.bytes.length * (this.#shape.bufferedSetGroups ? 3 : 2);
  }

  get objects(): number {
    return this.front.objects + (this.rear?.objects ?? 0) + (this.out?.objects ?? 0);
  }

  /** Bytes of all entries in RAM, overhead included. */
  get entryBytes(): number {
    return this.front.entryBytes + (this.rear?.entryBytes ?? 0) + (this.out?.entryBytes ?? 0);
  }

  /** The set group in RAM that holds the newest entry of a key; `entry` tells where. */
  locate(s: number, key: HashedKey): SetGroup | undefined {
    // A put takes the key out of front and rear, so it is in one of them at most; what is being written is older.
    if (this.#isIn(this.rear, s, key)) return this.rear;
    if (this.#isIn(this.front, s, key)) return this.front;
    return this.#isIn(this.out, s, key) ? this.out : undefined;
  }

  /** Whether a set group in RAM holds the key of another page's entry. */
  holdsSame(s: number, from: Uint8Array, entry: number): boolean {
    const { front, rear } = this;
    if (findSameKey(front.bytes, front.at(s), from, entry) >= 0 || this.outHoldsSame(s, from, entry)) return true;
    return rear !== undefined && findSameKey(rear.bytes, rear.at(s), from, entry) >= 0;
  }

  /** Whether the set group that is being written does. */
  outHoldsSame(s: number, from: Uint8Array, entry: number): boolean {
    return this.out !== undefined && findSameKey(this.out.bytes, this.out.at(s), from, entry) >= 0;
  }

  /**
   * Puts an object, or a tombstone, in the place of any other of its key. False, and nothing changed, when a flush must come first.
   * @param flags TOMBSTONE or 0
   */
  place(s: number, key: HashedKey, value: Uint8Array, flags: number): boolean {
    const { front, rear } = this;
    const need = ENTRY_BYTES + key.bytes.length + value.length;
    const inFront = front.find(s, key);
    const inRear = rear === undefined ? -1 : rear.find(s, key);
    if (front.used(s) - sizeAt(front, inFront) + need <= SET_CAPACITY) {
      this.#forget(s, inFront, inRear, flags);
      return front.append(s, key, value, flags);
    }
    if (rear !== undefined) {
      const used = rear.used(s) - sizeAt(rear, inRear);
      if (used + need <= this.#shape.rearBytes || used === 0) {
        this.#forget(s, inFront, inRear, flags);
        return rear.append(s, key, value, flags);
      }
    }
    this.failures++;
    if (this.failures > this.#shape.allowedFailures) return false;
    const group = rear ?? front;
    if (!this.#canMakeRoom(s, group, need, rear === undefined ? inFront : inRear)) return false;
    this.#forget(s, inFront, inRear, flags);
    this.#makeRoom(s, group, need);
    return group.append(s, key, value, flags);
  }

  /** Takes a key out of front and rear. */
  remove(s: number, key: HashedKey): void {
    this.#forget(s, this.front.find(s, key), this.rear === undefined ? -1 : this.rear.find(s, key), TOMBSTONE);
  }

  /** The front becomes `out`, the rear the front. Only when there is no `out`. */
  rotate(): SetGroup {
    const out = this.front;
    const empty = this.#spare;
    if (this.out !== undefined || empty === undefined) throw new Error("a set group is being written already");
    this.out = out;
    this.#spare = undefined;
    if (this.rear === undefined) this.front = empty;
    else [this.front, this.rear] = [this.rear, empty];
    this.failures = 0;
    return out;
  }

  /** `out` is on flash. */
  written(): void {
    const out = this.out;
    if (out === undefined) return;
    out.clear();
    this.#spare = out;
    this.out = undefined;
  }

  #isIn(group: SetGroup | undefined, s: number, key: HashedKey): boolean {
    this.entry = group === undefined ? -1 : group.find(s, key);
    return this.entry >= 0;
  }

  /** @param flags of the entry that comes in its place */
  #forget(s: number, inFront: number, inRear: number, flags: number): void {
    if (inFront >= 0) this.#forgetIn(this.front, s, inFront, flags);
    if (inRear >= 0 && this.rear !== undefined) this.#forgetIn(this.rear, s, inRear, flags);
  }

  #forgetIn(group: SetGroup, s: number, entry: number, flags: number): void {
    if (!isTombstone(group.bytes, entry)) {
      this.#fates.replaced++;
      if (flags !== TOMBSTONE) this.updates++;
    }
    group.remove(s, entry);
  }

  /**
   * Whether dropping objects makes enough room, and which of them must leave a tombstone: those of which flash may hold an older
   * copy, which would come to light.
   * @param own the entry that is being replaced anyway, or -1
   */
  #canMakeRoom(s: number, group: SetGroup, need: number, own: number): boolean {
    const { bytes } = group;
    const end = endOfEntries(bytes, group.at(s));
    let tombstones = 0;
    let place = 0;
    for (let entry = firstEntry(group.at(s)); entry < end; entry = nextEntry(bytes, entry)) {
      if (entry === own) continue;
      const keep = this.#shape.strict && this.#mayBeOnFlash(s, bytes, entry);
      if (keep) tombstones += tombstoneBytes(bytes, entry);
      this.#keepTombstone[place++] = keep ? 1 : 0;
    }
    return tombstones === 0 || tombstones + need <= this.#limit;
  }

  /** Drops the oldest objects, those first that need no tombstone. Only after `canMakeRoom`. */
  #makeRoom(s: number, group: SetGroup, need: number): void {
    const { bytes } = group;
    const at = group.at(s);
    const most = this.#limit - need;
    let entry = firstEntry(at);
    for (let place = 0; group.used(s) > most && entry < endOfEntries(bytes, at); place++) {
      if (this.#keepTombstone[place] === 1) {
        entry = nextEntry(bytes, entry);
        continue;
      }
      if (!isTombstone(bytes, entry)) this.#fates.sacrificed++;
      group.remove(s, entry);
    }
    for (
      entry = firstEntry(at);
      group.used(s) > most && entry < endOfEntries(bytes, at);
      entry = nextEntry(bytes, entry)
    ) {
      if (isTombstone(bytes, entry)) continue;
      this.#fates.sacrificed++;
      this.entombed++;
      group.entomb(s, entry);
    }
  }

  get #limit(): number {
    return this.rear === undefined ? SET_CAPACITY : this.#shape.rearBytes;
  }
}

function sizeAt(group: SetGroup, entry: number): number {
  return entry < 0 ? 0 : entryBytes(group.bytes, entry);
}
