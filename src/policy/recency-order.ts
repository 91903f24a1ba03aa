/**
 * Experts in the order of their last touch, in one list or several, as linked lists over two flat arrays: touching,
 * removing and joining two lists cost the same however long they are. It knows nothing of what a touch means, nor of
 * what is resident; a policy asks it for victims.
 */
import type { Residents } from "../cache/policy.ts";
import { type ExpertKey, NO_EXPERT } from "../cache/shape.ts";

export class RecencyOrder {
  readonly #keys: number;
  /** Closed over a sentinel per list, at index `keys + list`; a key outside every list points at itself. */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;

  /** @param keys how many keys there can be @param lists how many separate orders they stand in */
  constructor(keys: number, lists = 1) {
    this.#keys = keys;
    this.#older = Int32Array.from({ length: keys + lists }, (_, key) => key);
    this.#newer = Int32Array.from(this.#older);
  }

  has(key: number): boolean {
    return this.#newer[key] !== key;
  }

  /** Puts the key at the newest end of a list, wherever it was. */
  touch(key: number, list = 0): void {
    const sentinel = this.#keys + list;
    this.remove(key);
    const newest = this.#older[sentinel] as number;
    this.#older[key] = newest;
    this.#newer[key] = sentinel;
    this.#newer[newest] = key;
    this.#older[sentinel] = key;
  }

  remove(key: number): void {
    const older = this.#older[key] as number;
    const newer = this.#newer[key] as number;
    this.#newer[older] = newer;
    this.#older[newer] = older;
    this.#older[key] = key;
    this.#newer[key] = key;
  }

  /** NO_EXPERT when the list is empty. */
  oldest(list = 0): ExpertKey {
    return this.#keyAt(this.#newer[this.#keys + list] as number);
  }

  /** The next newer one in its list, NO_EXPERT after the newest. */
  newerThan(key: number): ExpertKey {
    return this.#keyAt(this.#newer[key] as number);
  }

  /** All of `from` become newer than all of `to` and stand in that list, in their order. */
  append(from: number, to: number): void {
    const source = this.#keys + from;
    const target = this.#keys + to;
    const first = this.#newer[source] as number;
    if (first === source) return;
    const last = this.#older[source] as number;
    const newest = this.#older[target] as number;
    this.#newer[newest] = first;
    this.#older[first] = newest;
    this.#newer[last] = target;
    this.#older[target] = last;
    this.#newer[source] = source;
    this.#older[source] = source;
  }

  /** Removes and returns the oldest that may be evicted now, or NO_EXPERT. */
  takeOldest(candidates: Residents, list = 0): ExpertKey {
    for (let key = this.oldest(list); key !== NO_EXPERT; ) {
      const next = this.newerThan(key);
      if (candidates.evictable(key)) {
        this.remove(key);
        return key;
      }
      // A cancelled read left without having been a victim.
      if (!candidates.has(key)) this.remove(key);
      key = next;
    }
    return NO_EXPERT;
  }

  #keyAt(index: number): ExpertKey {
    return (index >= this.#keys ? NO_EXPERT : index) as ExpertKey;
  }
}
