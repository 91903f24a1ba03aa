/**
 * Least worth first: binary heaps of experts by priority key, several side by side in one array, each over its own stretch
 * of it. Every expert is in one place at most, which is known, so keys can change in place.
 */

export interface ExpertHeaps {
  /** Experts; heap i of size n occupies n elements from its base on. */
  readonly items: Int32Array;
  /** [experts] Index in `items`; -1: in no heap. */
  readonly place: Int32Array;
  /** [experts] */
  readonly key: Float64Array;
}

export function makeHeaps(experts: number, capacity: number): ExpertHeaps {
  return {
    items: new Int32Array(capacity),
    place: new Int32Array(experts),
    key: new Float64Array(experts),
  };
}

/** Puts an expert at `index` of the heap from `base` on and moves it to where its key belongs. The place must be free. */
export function settle(heaps: ExpertHeaps, base: number, size: number, index: number, expert: number): void {
  if (!rise(heaps, base, index, expert)) sink(heaps, base, size, index, expert);
}

/** Towards the top while smaller than what is above; false when it did not move (and is not placed). */
function rise({ items, place, key }: ExpertHeaps, base: number, index: number, expert: number): boolean {
  const own = key[expert];
  let at = index - base;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = items[base + parent];
    if (key[above] <= own) break;
    items[base + at] = above;
    place[above] = base + at;
    at = parent;
  }
  if (base + at === index) return false;
  items[base + at] = expert;
  place[expert] = base + at;
  return true;
}

/** Towards the bottom while larger than what is below. */
export function sink(
  { items, place, key }: ExpertHeaps,
  base: number,
  size: number,
  index: number,
  expert: number,
): void {
  const own = key[expert];
  let at = index - base;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= size) break;
    if (child + 1 < size && key[items[base + child + 1]] < key[items[base + child]]) child++;
    const below = items[base + child];
    if (key[below] >= own) break;
    items[base + at] = below;
    place[below] = base + at;
    at = child;
  }
  items[base + at] = expert;
  place[expert] = base + at;
}
