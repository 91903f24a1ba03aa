/**
 * Remembers which keys were seen lately, to let only those onto flash that come a second time: one-off objects are written for
 * nothing. Two Bloom filters take turns, so a key is remembered for one to two turns; it forgets, and now and then it believes to
 * have seen a new key, but what it was told within the turn it has never not seen.
 */
import { FlashError } from "../errors.ts";
import type { HashedKey } from "../key-hash.ts";

/** With 10 bits a key and 4 probes a full filter is wrong for 1.2 % of new keys: they go to flash one time too early. */
const BITS_PER_KEY = 10;
const PROBES = 4;
const MOST_KEYS = 2 ** 31 / BITS_PER_KEY;

export class Doorkeeper {
  readonly #keysPerTurn: number;
  #current: Uint32Array;
  #previous: Uint32Array;
  #keys = 0;

  /**
   * @param keysPerTurn new keys after which the older filter is emptied
   * @throws FlashError `bad-options`
   */
  constructor(keysPerTurn: number) {
    if (!(keysPerTurn >= 1 && keysPerTurn <= MOST_KEYS))
      throw new FlashError(
        "bad-options",
        `A doorkeeper remembers 1 to ${Math.floor(MOST_KEYS)} keys, not ${keysPerTurn}.`,
      );
    this.#keysPerTurn = keysPerTurn;
    const words = Math.ceil((keysPerTurn * BITS_PER_KEY) / 32);
    this.#current = new Uint32Array(words);
    this.#previous = new Uint32Array(words);
  }

  get ramBytes(): number {
    return this.#current.byteLength + this.#previous.byteLength;
  }

  /** Whether the key was seen before; now it was. */
  see(key: HashedKey): boolean {
    const bits = 32 * this.#current.length;
    // The upper half picks sets, so the step is mixed anew.
    const step = (Math.imul(key.high ^ (key.high >>> 15), 0x2c1b3c6d) >>> 0) | 1;
    let inCurrent = true;
    let inPrevious = true;
    for (let i = 0, at = key.low; i < PROBES; i++, at = (at + step) >>> 0) {
      const bit = at % bits;
      const mask = 1 << (bit & 31);
      if ((this.#previous[bit >>> 5] & mask) === 0) inPrevious = false;
      if ((this.#current[bit >>> 5] & mask) === 0) {
        inCurrent = false;
        this.#current[bit >>> 5] |= mask;
      }
    }
    if (!inCurrent) this.#count();
    return inCurrent || inPrevious;
  }

  #count(): void {
    if (++this.#keys < this.#keysPerTurn) return;
    [this.#current, this.#previous] = [this.#previous, this.#current];
    this.#current.fill(0);
    this.#keys = 0;
  }
}
