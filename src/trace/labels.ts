/** Texts of which few are different, one per token, as indexes into the different ones: what a dictionary page holds. */
export class Labels {
  readonly #indexes: Uint32Array;
  readonly #indexOf = new Map<string, number>();

  constructor(capacity: number) {
    this.#indexes = new Uint32Array(capacity);
  }

  /** The different texts so far, in the order of their indexes. */
  get texts(): string[] {
    return [...this.#indexOf.keys()];
  }

  fill(text: string, from: number, to: number): void {
    const index = this.#indexOf.get(text) ?? this.#indexOf.size;
    this.#indexOf.set(text, index);
    this.#indexes.fill(index, from, to);
  }

  indexes(count: number): Uint32Array {
    return this.#indexes.subarray(0, count);
  }

  clear(): void {
    this.#indexOf.clear();
  }
}
