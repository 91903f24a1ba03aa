/**
 * Where the newest record of every key lies: 48 bits of the key's hash to a place on flash, 8 bytes a slot, in typed arrays. Two
 * keys with the same 48 bits count as one here, and the later takes the place: the engine compares keys on flash. Not a store of
 * keys, and not persistent.
 *
 * Each partition is an array of slots sorted by hash, with gaps: a slot lies at its hash's share of the array or shortly after
 * (ordered linear probing), so a look-up ends at the first larger hash, a full table stays fast, and growing is one walk.
 * Partitions grow one by one: no moment when the whole table is copied.
 */

/** Set in a place by `markRead`. So places are below 2^31. */
const READ = 0x8000_0000;
const PLACE = 0x7fff_ffff;
/** Ordered probing at 90 % looks at about five slots; random linear probing would look at fifty for a miss. */
const FULL = 0.9;
/** Filled to this after growing: 8 bytes at 80 to 90 % are 71 to 80 bits for an object. */
const FILLED_AFTER_GROWTH = 0.8;
const FEWEST_HOMES = 12;
/** A partition is named by bits of the hash's lower half, of which records keep 16. */
const MOST_PARTITIONS = 1 << 16;
/** Small enough that growing one takes microseconds. */
const OBJECTS_PER_PARTITION = 2048;

export class LogIndex {
  /** Slots of a partition: hash, place, hash, place ...; place 0 is an empty slot. */
  readonly #slots: Uint32Array[] = [];
  /** Slots that a hash may call its own; a few more follow them, for those that are pushed on. */
  readonly #homes: Uint32Array;
  readonly #counts: Uint32Array;
  readonly #mask: number;
  #count = 0;
  #slotBytes = 0;

  /** @param expectedObjects sets the number of partitions; any number of objects can be kept */
  constructor(expectedObjects: number) {
    let partitions = 1;
    while (partitions < MOST_PARTITIONS && partitions * OBJECTS_PER_PARTITION < expectedObjects) partitions *= 2;
    this.#mask = partitions - 1;
    this.#homes = new Uint32Array(partitions);
    this.#counts = new Uint32Array(partitions);
    for (let i = 0; i < partitions; i++) {
      this.#homes[i] = FEWEST_HOMES;
      this.#slots.push(new Uint32Array(slotWords(FEWEST_HOMES)));
      this.#slotBytes += this.#slots[i].byteLength;
    }
  }

  get count(): number {
    return this.#count;
  }

  /** Of all arrays, the marks of `markRead` included. */
  get bytes(): number {
    return this.#slotBytes + this.#homes.byteLength + this.#counts.byteLength;
  }

  /** Of those marks alone: one bit a slot. */
  get markBytes(): number {
    return this.#slotBytes / 64;
  }

  /** @returns the place, or 0 */
  find(low: number, high: number): number {
    const partition = low & this.#mask;
    const slots = this.#slots[partition];
    const at = this.#search(slots, partition, high);
    return slots[at] === high ? slots[at + 1] & PLACE : 0;
  }

  /** @param place 1 up to 2^31 @returns the place that it was in before, or 0 */
  set(low: number, high: number, place: number): number {
    const partition = low & this.#mask;
    let slots = this.#slots[partition];
    let at = this.#search(slots, partition, high);
    if (slots[at + 1] !== 0 && slots[at] === high) {
      const before = slots[at + 1] & PLACE;
      slots[at + 1] = place;
      return before;
    }
    let end = emptyAfter(slots, at);
    // The last slot stays empty: no walk leaves the array.
    if (end >= slots.length - 2 || this.#counts[partition] + 1 > this.#homes[partition] * FULL) {
      this.#grow(partition);
      slots = this.#slots[partition];
      at = this.#search(slots, partition, high);
      end = emptyAfter(slots, at);
    }
    slots.copyWithin(at + 2, at, end);
    slots[at] = high;
    slots[at + 1] = place;
    this.#counts[partition]++;
    this.#count++;
    return 0;
  }

  /** @returns the place that it was in, or 0 */
  remove(low: number, high: number): number {
    const partition = low & this.#mask;
    const slots = this.#slots[partition];
    const at = this.#search(slots, partition, high);
    if (slots[at] !== high) return 0;
    const place = slots[at + 1] & PLACE;
    if (place !== 0) this.#take(partition, at);
    return place;
  }

  /** Notes that it was read, if it is in that place still. */
  markRead(low: number, high: number, place: number): void {
    const partition = low & this.#mask;
    const slots = this.#slots[partition];
    const at = this.#search(slots, partition, high);
    if (slots[at] === high && (slots[at + 1] & PLACE) === place) slots[at + 1] = place | READ;
  }

  /** Whether it is in that place and was read there. */
  wasRead(low: number, high: number, place: number): boolean {
    const partition = low & this.#mask;
    const slots = this.#slots[partition];
    const at = this.#search(slots, partition, high);
    return slots[at] === high && slots[at + 1] === (place | READ) >>> 0;
  }

  /** Removes all that lie in places from `begin` up to `end`: a walk of the whole index. @returns how many */
  removeRange(begin: number, end: number): number {
    const before = this.#count;
    for (let partition = 0; partition <= this.#mask; partition++) {
      const slots = this.#slots[partition];
      // From the back: what moves up was looked at.
      for (let at = slots.length - 2; at >= 0; at -= 2) {
        const place = slots[at + 1] & PLACE;
        if (place !== 0 && place >= begin && place < end) this.#take(partition, at);
      }
    }
    return before - this.#count;
  }

  /** The word where the hash is, or where it belongs: that of the first slot that is empty or larger. */
  #search(slots: Uint32Array, partition: number, high: number): number {
    let at = 2 * home(high, this.#homes[partition]);
    while (slots[at + 1] !== 0 && slots[at] < high) at += 2;
    return at;
  }

  #take(partition: number, at: number): void {
    const slots = this.#slots[partition];
    const homes = this.#homes[partition];
    let end = at + 2;
    while (slots[end + 1] !== 0 && 2 * home(slots[end], homes) < end) end += 2;
    slots.copyWithin(at, at + 2, end);
    slots[end - 2] = 0;
    slots[end - 1] = 0;
    this.#counts[partition]--;
    this.#count--;
  }

  #grow(partition: number): void {
    const from = this.#slots[partition];
    let homes = Math.max(FEWEST_HOMES, Math.ceil((this.#counts[partition] + 1) / FILLED_AFTER_GROWTH));
    let to = spread(from, homes);
    while (to === undefined) {
      homes += 8 + (homes >>> 3);
      to = spread(from, homes);
    }
    this.#slots[partition] = to;
    this.#homes[partition] = homes;
    this.#slotBytes += to.byteLength - from.byteLength;
  }
}

function home(high: number, homes: number): number {
  return Math.floor((high * homes) / 2 ** 32);
}

function slotWords(homes: number): number {
  return 2 * (homes + 8 + (homes >>> 6));
}

function emptyAfter(slots: Uint32Array, from: number): number {
  let at = from;
  while (slots[at + 1] !== 0) at += 2;
  return at;
}

/** The slots over a larger array; undefined when they crowd into its last two: one for the next object, one to stay empty. */
function spread(from: Uint32Array, homes: number): Uint32Array | undefined {
  const to = new Uint32Array(slotWords(homes));
  let free = 0;
  for (let at = 0; at < from.length; at += 2) {
    if (from[at + 1] === 0) continue;
    const slot = Math.max(free, 2 * home(from[at], homes));
    if (slot >= to.length - 4) return undefined;
    to[slot] = from[at];
    to[slot + 1] = from[at + 1];
    free = slot + 2;
  }
  return to;
}
