/** Hints in memory alone, at once: for the simulator, and the upper bound of what a store on flash can do. */
import type { MergeHints } from "./kept-hints.ts";

export interface MemoryHintsOptions {
  readonly merge: MergeHints;
  /** Keep a key only when it comes for the second time. @default false */
  readonly secondSight?: boolean;
}

export class MemoryHints {
  readonly #merge: MergeHints;
  readonly #hints = new Map<string, Uint8Array>();
  readonly #seen: Set<string> | undefined;
  readonly #counts = { lookUps: 0, found: 0, recorded: 0, written: 0 };

  constructor({ merge, secondSight = false }: MemoryHintsOptions) {
    this.#merge = merge;
    this.#seen = secondSight ? new Set() : undefined;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#counts.lookUps++;
    const hint = this.#hints.get(nameOf(key));
    if (hint !== undefined) this.#counts.found++;
    return hint;
  }

  /** One more observation. */
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
  }

  stats(): Readonly<Record<"lookUps" | "found" | "recorded" | "written", number>> {
    return { ...this.#counts };
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
