/**
 * Spreads ranks of popularity over key numbers, one to one and without a table: a Feistel network over the smallest power of two
 * that holds all numbers, walked until it hits one of them (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA
 * 2002). It mixes well enough for a bench and hides nothing.
 */
import type { Randomness } from "../../predict/randomness.ts";

/** Even, so that both halves are changed equally often. Fewer leave neighbours visibly together in small domains. */
const ROUNDS = 6;

export class RankPermutation {
  readonly #count: number;
  readonly #rightBits: number;
  readonly #leftMask: number;
  readonly #rightMask: number;
  readonly #keys: Int32Array;

  /** @param count 1 to 2^31 - 1 */
  constructor(count: number, random: Randomness) {
    const bits = Math.max(2, 32 - Math.clz32(count - 1));
    this.#count = count;
    this.#rightBits = bits >>> 1;
    this.#rightMask = (1 << this.#rightBits) - 1;
    this.#leftMask = (1 << (bits - this.#rightBits)) - 1;
    this.#keys = Int32Array.from({ length: ROUNDS }, () => random.next() * 2 ** 32);
  }

  /** @param rank 0 to `count` - 1 */
  keyOf(rank: number): number {
    const keys = this.#keys;
    let left = rank >>> this.#rightBits;
    let right = rank & this.#rightMask;
    for (;;) {
      for (let round = 0; round < ROUNDS; round += 2) {
        left ^= mixed(right ^ keys[round]) & this.#leftMask;
        right ^= mixed(left ^ keys[round + 1]) & this.#rightMask;
      }
      const key = (left << this.#rightBits) | right;
      // The domain is less than twice the count: less than two walks in the mean.
      if (key < this.#count) return key;
    }
  }
}

/** The lower bits are used: the upper ones of the product are moved down to them. */
function mixed(value: number): number {
  const product = Math.imul(value, 0x9e3779b1);
  return Math.imul(product ^ (product >>> 15), 0x85ebca77) >>> 12;
}
