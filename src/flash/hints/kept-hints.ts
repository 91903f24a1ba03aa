/** Hints in whatever keeps bytes under keys: a flash cache, or a database to compare it with. */
import type { HintStore, HintStoreStats, MergeHints } from "./hint-store.ts";

/** What a store of hints needs of the store behind it. */
export interface KeptBytes {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  set(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  flush(): Promise<void>;
  close(): Promise<void>;
  /** Of RAM that it holds, as it counts itself. */
  ramBytes(): number;
  /** Why nothing is written any more. */
  readOnly(): string | undefined;
}

export class KeptHints implements HintStore {
  readonly #kept: KeptBytes;
  readonly #merge: MergeHints;
  readonly #counts = { lookUps: 0, found: 0, recorded: 0, written: 0, bytesWritten: 0 };

  /** @param kept becomes its own, and is closed with it */
  constructor(kept: KeptBytes, merge: MergeHints) {
    this.#kept = kept;
    this.#merge = merge;
  }

  async lookUp(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    const hints = await Promise.all(keys.map((key) => this.#kept.get(key)));
    this.#counts.lookUps += keys.length;
    for (const hint of hints) if (hint !== undefined) this.#counts.found++;
    return hints;
  }

  /** Two records of one key must not overlap: the second would not see the first. */
  async record(key: Uint8Array, observed: Uint8Array): Promise<void> {
    this.#counts.recorded++;
    const merged = this.#merge(await this.#kept.get(key), observed);
    if (merged === undefined) return;
    await this.#kept.set(key, merged);
    this.#counts.written++;
    this.#counts.bytesWritten += key.length + merged.length;
  }

  flush(): Promise<void> {
    return this.#kept.flush();
  }

  close(): Promise<void> {
    return this.#kept.close();
  }

  stats(): HintStoreStats {
    return { ...this.#counts, ramBytes: this.#kept.ramBytes(), readOnly: this.#kept.readOnly() };
  }
}
