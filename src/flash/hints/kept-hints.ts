/** Hints in whatever keeps bytes under keys: a flash cache, or a database to compare it with. A hint that is gone or wrong costs speed. */

/** What a store of hints needs of the store behind it. */
export interface KeptBytes {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  set(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  close(): Promise<void>;
  /** Of RAM that it holds, as it counts itself. */
  ramBytes(): number;
  /** Why nothing is written any more. */
  readOnly(): string | undefined;
}

/** An old value after one more observation; undefined: nothing new. */
export type MergeHints = (old: Uint8Array | undefined, observed: Uint8Array) => Uint8Array | undefined;

export interface HintStoreStats {
  /** Since it was opened: records that said something new. */
  readonly written: number;
  readonly ramBytes: number;
}

export class KeptHints {
  readonly #kept: KeptBytes;
  readonly #merge: MergeHints;
  #written = 0;

  /** @param kept becomes its own, and is closed with it */
  constructor(kept: KeptBytes, merge: MergeHints) {
    this.#kept = kept;
    this.#merge = merge;
  }

  /** What is known under each key, read side by side. @throws like the store behind it */
  lookUp(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    return Promise.all(keys.map((key) => this.#kept.get(key)));
  }

  /**
   * Takes in one more observation: reads what is there, merges, and writes if that says something new. Two records of one key must
   * not overlap: the second would not see the first.
   */
  async record(key: Uint8Array, observed: Uint8Array): Promise<void> {
    const merged = this.#merge(await this.#kept.get(key), observed);
    if (merged === undefined) return;
    await this.#kept.set(key, merged);
    this.#written++;
  }

  /** Writes what waits in memory, and ends. */
  close(): Promise<void> {
    return this.#kept.close();
  }

  /** Why nothing is written any more; undefined while all is well. */
  get readOnly(): string | undefined {
    return this.#kept.readOnly();
  }

  stats(): HintStoreStats {
    return { written: this.#written, ramBytes: this.#kept.ramBytes() };
  }
}
