/**
 * Global least recently used, over all layers. The plain floor of every comparison, with the known cliff: below one
 * token cycle its victim is always the expert that is needed soonest, and it hits exactly 0 %.
 */
import { NEEDS_NOTHING, type Policy, type Residents, type RouterEvent } from "../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";

export function lru(): Policy {
  return new Lru();
}

class Lru implements Policy {
  readonly name = "lru";
  readonly needs = NEEDS_NOTHING;
  /** Doubly linked list of keys, oldest first, closed over a sentinel at index `total`; a key outside points at itself. */
  #older = new Int32Array(0);
  #newer = new Int32Array(0);
  #sentinel = 0;

  begin(shape: ModelShape): void {
    this.#sentinel = shape.layers * shape.experts;
    this.#older = Int32Array.from({ length: this.#sentinel + 1 }, (_, key) => key);
    this.#newer = Int32Array.from(this.#older);
  }

  iteration(): void {}

  /** Touches the hits. The misses follow, newer than every hit of their layer, when they are read. */
  routed(event: RouterEvent): void {
    for (let i = 0; i < event.distinctCount; i++) {
      const key = event.distinct[i] as number;
      if (this.#newer[key] !== key) this.#touch(key);
    }
  }

  loading(key: ExpertKey): void {
    this.#touch(key);
  }

  prefetch(): ExpertKey {
    return NO_EXPERT;
  }

  victim(candidates: Residents): ExpertKey {
    for (let key = this.#newer[this.#sentinel] as number; key !== this.#sentinel; ) {
      const next = this.#newer[key] as number;
      if (candidates.evictable(key as ExpertKey)) {
        this.#unlink(key);
        return key as ExpertKey;
      }
      // A cancelled read left without having been a victim.
      if (!candidates.has(key as ExpertKey)) this.#unlink(key);
      key = next;
    }
    return NO_EXPERT;
  }

  end(): void {}

  #touch(key: number): void {
    this.#unlink(key);
    const newest = this.#older[this.#sentinel] as number;
    this.#older[key] = newest;
    this.#newer[key] = this.#sentinel;
    this.#newer[newest] = key;
    this.#older[this.#sentinel] = key;
  }

  #unlink(key: number): void {
    const older = this.#older[key] as number;
    const newer = this.#newer[key] as number;
    this.#newer[older] = newer;
    this.#older[newer] = older;
    this.#older[key] = key;
    this.#newer[key] = key;
  }
}
