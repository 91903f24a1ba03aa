/** Hints in memory alone: for the simulator, and the upper bound of what a store on flash can do. */
import type { HintStore, HintStoreStats, MergeHints } from "./hint-store.ts";

export interface MemoryHintsOptions {
  readonly merge: MergeHints;
  /** Keep a key only when it comes for the second time. @default false */
  readonly secondSight?: boolean;
}

export class MemoryHints implements HintStore {
  readonly #merge: MergeHints;
  readonly #hints = new Map<string, Uint8Array>();
  readonly #seen: Set<string> | undefined;
  readonly #counts = { lookUps: 0, found: 0, recorded: 0, written: 0, bytesWritten: 0 };

  constructor({ merge, secondSight = false }: MemoryHintsOptions) {
    this.#merge = merge;
    this.#seen = secondSight ? new Set() : undefined;
  }

  /** As `lookUp`, at once. */
  get(key: Uint8Array): Uint8Array | undefined {
    this.#counts.lookUps++;
    const hint = this.#hints.get(nameOf(key));
    if (hint !== undefined) this.#counts.found++;
    return hint;
  }

  /** As `record`, at once. */
  observe(key: Uint8Array, observed: Uint8Array): void {
    const name = nameOf(key);
    this.#counts.recorded++;
    if (this.#seen !== undefined && !this.#seen.has(name)) {
      this.#seen.add(name);
      return;
    }
    const merged = this.#merge(this.#hints.get(name), observed);
    if (merged === undefined) return;
    this.#hints.set(name, merged);
    this.#counts.written++;
    this.#counts.bytesWritten += key.length + merged.length;
  }

  async lookUp(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    return keys.map((key) => this.get(key));
  }

  async record(key: Uint8Array, observed: Uint8Array): Promise<void> {
    this.observe(key, observed);
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}

  stats(): HintStoreStats {
    let ramBytes = 0;
    for (const [name, hint] of this.#hints) ramBytes += name.length + hint.length;
    return { ...this.#counts, ramBytes, readOnly: undefined };
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
