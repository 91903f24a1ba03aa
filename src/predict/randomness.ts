/** Seeded random numbers for training and benches: the same seed gives the same numbers on every machine. Not for secrets. */

export class Randomness {
  #state: number;
  #spare: number | undefined;

  /** @param seed whole numbers; the lowest 32 bits of each count */
  constructor(...seed: readonly number[]) {
    this.#state = 0x9e3779b9;
    for (const part of seed) {
      this.#state ^= part | 0;
      this.next();
    }
  }

  /** The generator at this very state, nothing mixed in. */
  static from(state: number): Randomness {
    const random = new Randomness();
    random.#state = state | 0;
    return random;
  }

  /** Uniform from 0 up to 1 (mulberry32: a counter and a mixing step). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Of mean 0 and variance 1 (Box and Muller). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    const angle = 2 * Math.PI * this.next();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Puts the values into a random order, in place. */
  shuffle(values: Int32Array): Int32Array {
    for (let i = values.length - 1; i > 0; i--) {
      const other = Math.floor(this.next() * (i + 1));
      [values[i], values[other]] = [values[other], values[i]];
    }
    return values;
  }
}
