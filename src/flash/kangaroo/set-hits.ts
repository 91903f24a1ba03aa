/** One bit in RAM for each object of a set: whether it was read since the set was written (RRIParoo, Kangaroo section 4.4). */
import { firstEntry, nextEntry } from "../format/set-page.ts";

/** Bits of a set. A set of 246-byte objects has 14; those past 16 are the least wanted, as pages lie in the order of RRIParoo. */
export const HIT_BITS = 16;

export class SetHits {
  readonly #bits: Uint16Array;

  constructor(sets: number) {
    this.#bits = new Uint16Array(sets);
  }

  get bytes(): number {
    return this.#bits.byteLength;
  }

  of(set: number): number {
    return this.#bits[set];
  }

  clear(set: number): void {
    this.#bits[set] = 0;
  }

  /** Notes that the object was read which begins at `entry` of the set's page at `at`. */
  mark(set: number, bytes: Uint8Array, at: number, entry: number): void {
    let ordinal = 0;
    for (let e = firstEntry(at); e < entry; e = nextEntry(bytes, e)) ordinal++;
    if (ordinal < HIT_BITS) this.#bits[set] |= 1 << ordinal;
  }
}
