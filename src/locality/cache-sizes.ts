/** The sizes of one cache over all layers that are simulated together, and the free warm-up they share. */

/** Experts, ascending, no size twice, each at least 1. */
export type CacheSizes = readonly number[];

/** C for each ratio: rho * L * k, rounded down. */
export function cacheExpertsOf(ratio: number, layers: number, expertsUsed: number): number {
  // 1.1 * 10 is 11.000000000000002 and 0.7 * 10 is 7.000000000000001, but 2.3 * 10 is 22.999999999999996.
  return Math.floor(ratio * layers * expertsUsed + 1e-9);
}

/** Bytes of a ratio: so many times what a token uses over all layers. */
export function cacheBytesOf(ratio: number, expertBytes: readonly number[], expertsUsed: number): number {
  return ratio * expertsUsed * expertBytes.reduce((sum, bytes) => sum + bytes, 0);
}

export function cacheSizesOf(ratios: readonly number[], layers: number, expertsUsed: number): CacheSizes {
  const sizes = ratios.map((ratio) => cacheExpertsOf(ratio, layers, expertsUsed)).filter((size) => size > 0);
  return [...new Set(sizes)].sort((a, b) => a - b);
}

/** An expert's first use in a sample is a hit while fewer than C distinct ones have been seen. */
export class FreeWarmUp {
  readonly #sizes: CacheSizes;
  #seen = 0;
  #smallest = 0;

  constructor(sizes: CacheSizes) {
    this.#sizes = sizes;
  }

  /** Index of the smallest size that the next first use hits; the number of sizes when none. */
  firstUse(): number {
    while (this.#smallest < this.#sizes.length && this.#seen >= this.#sizes[this.#smallest]) this.#smallest++;
    this.#seen++;
    return this.#smallest;
  }
}
