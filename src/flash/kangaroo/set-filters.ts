/** One small Bloom filter per set, side by side in one array: whether a set may hold a key, for three to five bits an object. */
import { FlashError } from "../errors.ts";

/** What a set holds at the objects of 246 bytes that the papers' traces have: the number of probes is chosen for it. */
const OBJECTS_OF_A_SET = 14;

export class SetFilters {
  readonly #bits: Uint8Array;
  readonly #bytesOfOne: number;
  readonly #probes: number;

  /** @param bytesOfOne 1 to 64 */
  constructor(sets: number, bytesOfOne: number) {
    if (!Number.isInteger(bytesOfOne) || bytesOfOne < 1 || bytesOfOne > 64) {
      throw new FlashError("bad-options", `a filter of ${bytesOfOne} bytes: give it 1 to 64`);
    }
    this.#bits = new Uint8Array(sets * bytesOfOne);
    this.#bytesOfOne = bytesOfOne;
    this.#probes = Math.max(1, Math.round((bytesOfOne * 8 * Math.LN2) / OBJECTS_OF_A_SET));
  }

  get bytes(): number {
    return this.#bits.byteLength;
  }

  /** @param low lower half of the key's hash, which the set number does not depend on */
  add(set: number, low: number): void {
    const base = set * this.#bytesOfOne;
    const bits = this.#bytesOfOne * 8;
    let probe = low;
    for (let i = 0; i < this.#probes; i++) {
      const bit = (probe >>> 8) % bits;
      this.#bits[base + (bit >>> 3)] |= 1 << (bit & 7);
      probe = Math.imul(probe, 0x9e3779b1) + 0x7f4a7c15;
    }
  }

  mayHold(set: number, low: number): boolean {
    const base = set * this.#bytesOfOne;
    const bits = this.#bytesOfOne * 8;
    let probe = low;
    for (let i = 0; i < this.#probes; i++) {
      const bit = (probe >>> 8) % bits;
      if ((this.#bits[base + (bit >>> 3)] & (1 << (bit & 7))) === 0) return false;
      probe = Math.imul(probe, 0x9e3779b1) + 0x7f4a7c15;
    }
    return true;
  }

  clear(set: number): void {
    this.#bits.fill(0, set * this.#bytesOfOne, (set + 1) * this.#bytesOfOne);
  }
}
