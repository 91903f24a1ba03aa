/** The residents as a policy sees them when some must not be chosen: those count as not evictable now. */
import type { Residents } from "../cache/policy.ts";
import type { ExpertKey } from "../cache/shape.ts";

export class Shielded implements Residents {
  readonly #shielded: (key: ExpertKey) => boolean;
  #all!: Residents;

  constructor(shielded: (key: ExpertKey) => boolean) {
    this.#shielded = shielded;
  }

  /** The same object each time: victims are chosen at router stops, where nothing should be allocated. */
  of(residents: Residents): this {
    this.#all = residents;
    return this;
  }

  get count(): number {
    return this.#all.count;
  }

  get usedBytes(): number {
    return this.#all.usedBytes;
  }

  get budgetBytes(): number {
    return this.#all.budgetBytes;
  }

  at(i: number): ExpertKey {
    return this.#all.at(i);
  }

  has(key: ExpertKey): boolean {
    return this.#all.has(key);
  }

  evictable(key: ExpertKey): boolean {
    return !this.#shielded(key) && this.#all.evictable(key);
  }
}
