/**
 * The index pages of some set numbers, first in, first out: an entry holds the pages of all index groups on flash. What a page
 * means, and reading it, is not its business.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";

export class IndexCache {
  /** Entries side by side; that of a set number begins at `at`. */
  readonly bytes: Uint8Array;
  readonly #pages: number;
  readonly #capacity: number;
  /** Where each set number's entry is, or -1. */
  readonly #slots: Int32Array;
  /** The set number in each entry, or -1. */
  readonly #owners: Int32Array;
  #next = 0;

  /** @param capacity entries, 0 or more @param pages index groups that can be on flash at once */
  constructor(sets: number, capacity: number, pages: number) {
    this.#pages = pages;
    this.#capacity = capacity;
    this.bytes = new Uint8Array(capacity * pages * PAGE_BYTES);
    this.#slots = new Int32Array(sets).fill(-1);
    this.#owners = new Int32Array(capacity).fill(-1);
  }

  get ramBytes(): number {
    return this.bytes.length + this.#slots.byteLength + this.#owners.byteLength;
  }

  has(s: number): boolean {
    return this.#slots[s] >= 0;
  }

  /** Where the entry of a set number begins, or -1. */
  at(s: number): number {
    return this.#slots[s] * this.#pages * PAGE_BYTES;
  }

  /** @param pages of one set number, index group g's at place g % pages; none while no index group is on flash */
  insert(s: number, pages?: Uint8Array): void {
    if (this.#capacity === 0 || this.has(s)) return;
    const slot = this.#next;
    this.#next = (slot + 1) % this.#capacity;
    if (this.#owners[slot] >= 0) this.#slots[this.#owners[slot]] = -1;
    this.#owners[slot] = s;
    this.#slots[s] = slot;
    if (pages !== undefined) this.bytes.set(pages, slot * this.#pages * PAGE_BYTES);
  }

  /** A new index group: its pages join the entries there are. @param from page of set number s begins at (s + 1) x 4,096 */
  addGroup(group: number, from: Uint8Array): void {
    const place = (group % this.#pages) * PAGE_BYTES;
    for (let slot = 0; slot < this.#capacity; slot++) {
      const s = this.#owners[slot];
      if (s < 0) continue;
      const page = (s + 1) * PAGE_BYTES;
      this.bytes.set(from.subarray(page, page + PAGE_BYTES), slot * this.#pages * PAGE_BYTES + place);
    }
  }
}
