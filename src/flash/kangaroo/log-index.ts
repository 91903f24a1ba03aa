/**
 * Which log objects wait for each set: one chain per set, newest first, in entries of 48 bits (Kangaroo, SOSP'21, section 4.2).
 * It knows a key by its set and 9 bits of its hash; whether an entry is really of that key, the page tells.
 */
import { FlashError } from "../errors.ts";
import type { HashedKey } from "../key-hash.ts";

/** No entry: the end of a chain. */
export const NONE = 0;
/** Pages of a log that 20 bits can name: 4 GiB. The paper has 19 and a valid bit, which a free list does not need. */
export const MOST_LOG_PAGES = 2 ** 20;
/** An entry is three words: the next entry; tag 9, prediction 3 and upper 4 bits of the page; lower 16 bits of the page. */
const WORDS = 3;
/** Entries of a table that 16 bits can name, without NONE. */
const TABLE_ENTRIES = 0xffff;
/** A table begins with few and grows by a quarter, so that little is held for entries that never come. */
const FIRST_ENTRIES = 64;

/** Nine bits of the hash's lower half; the upper half gives the set. */
export function tagOf(key: Pick<HashedKey, "low">): number {
  return key.low >>> 23;
}

export class LogIndex {
  readonly #heads: Uint16Array;
  readonly #tables: Uint16Array[] = [];
  /** Per table, the first entry of its free list. */
  readonly #free: Uint16Array;
  /** Per table, entries ever taken from its end. */
  readonly #taken: Uint16Array;
  #entries = 0;

  /**
   * @param sets at least 1
   * @param mostEntries what the log can hold; a table of 65,535 entries that gets more than its share refuses
   */
  constructor(sets: number, mostEntries: number) {
    if (!Number.isInteger(sets) || sets < 1) throw new FlashError("bad-options", `a log index of ${sets} sets`);
    const tables = Math.min(sets, Math.ceil(mostEntries / (TABLE_ENTRIES / 2)));
    this.#heads = new Uint16Array(sets);
    this.#free = new Uint16Array(tables);
    this.#taken = new Uint16Array(tables);
    for (let i = 0; i < tables; i++) this.#tables.push(new Uint16Array((FIRST_ENTRIES + 1) * WORDS));
  }

  get entries(): number {
    return this.#entries;
  }

  get bytes(): number {
    let bytes = this.#heads.byteLength + this.#free.byteLength + this.#taken.byteLength;
    for (const table of this.#tables) bytes += table.byteLength;
    return bytes;
  }

  hasRoom(set: number): boolean {
    const table = set % this.#tables.length;
    return this.#free[table] !== NONE || this.#taken[table] < TABLE_ENTRIES;
  }

  /** Puts an entry before all others of the set. False when the set's table is full. @param prediction 0 to 7 */
  insert(set: number, tag: number, page: number, prediction: number): boolean {
    const number = set % this.#tables.length;
    const entry = this.#take(number);
    if (entry === NONE) return false;
    const table = this.#tables[number];
    table[entry * WORDS] = this.#heads[set];
    table[entry * WORDS + 1] = (tag << 7) | (prediction << 4) | (page >>> 16);
    table[entry * WORDS + 2] = page;
    this.#heads[set] = entry;
    this.#entries++;
    return true;
  }

  /** The newest entry of the set, or NONE. */
  first(set: number): number {
    return this.#heads[set];
  }

  next(set: number, entry: number): number {
    return this.#tables[set % this.#tables.length][entry * WORDS];
  }

  tag(set: number, entry: number): number {
    return this.#tables[set % this.#tables.length][entry * WORDS + 1] >>> 7;
  }

  page(set: number, entry: number): number {
    const table = this.#tables[set % this.#tables.length];
    return ((table[entry * WORDS + 1] & 15) << 16) | table[entry * WORDS + 2];
  }

  /** How near the next use is thought to be: 0 soon, 7 not at all. */
  prediction(set: number, entry: number): number {
    return (this.#tables[set % this.#tables.length][entry * WORDS + 1] >>> 4) & 7;
  }

  setPrediction(set: number, entry: number, prediction: number): void {
    const table = this.#tables[set % this.#tables.length];
    table[entry * WORDS + 1] = (table[entry * WORDS + 1] & ~0x70) | (prediction << 4);
  }

  /** The newest entry with that tag and page, or NONE. */
  find(set: number, tag: number, page: number): number {
    let entry = this.#heads[set];
    if (entry === NONE) return NONE;
    const table = this.#tables[set % this.#tables.length];
    for (; entry !== NONE; entry = table[entry * WORDS]) {
      const word = table[entry * WORDS + 1];
      if (word >>> 7 === tag && (word & 15) === page >>> 16 && table[entry * WORDS + 2] === (page & 0xffff))
        return entry;
    }
    return NONE;
  }

  remove(set: number, entry: number): void {
    const number = set % this.#tables.length;
    const table = this.#tables[number];
    const next = table[entry * WORDS];
    if (this.#heads[set] === entry) this.#heads[set] = next;
    else {
      let before = this.#heads[set];
      while (table[before * WORDS] !== entry) before = table[before * WORDS];
      table[before * WORDS] = next;
    }
    table[entry * WORDS] = this.#free[number];
    this.#free[number] = entry;
    this.#entries--;
  }

  /** Forgets all entries of the set. */
  clear(set: number): void {
    while (this.#heads[set] !== NONE) this.remove(set, this.#heads[set]);
  }

  #take(number: number): number {
    const free = this.#free[number];
    if (free !== NONE) {
      this.#free[number] = this.#tables[number][free * WORDS];
      return free;
    }
    if (this.#taken[number] === TABLE_ENTRIES) return NONE;
    const entry = ++this.#taken[number];
    if (entry * WORDS >= this.#tables[number].length) {
      const entries = Math.min(TABLE_ENTRIES, entry + (entry >> 2));
      const grown = new Uint16Array((entries + 1) * WORDS);
      grown.set(this.#tables[number]);
      this.#tables[number] = grown;
    }
    return entry;
  }
}
