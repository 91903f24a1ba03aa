/**
 * The paper's cache simulated as it is defined, one size at a time and as slowly as that is: what the fast ones are
 * compared with. After section 4.1 of our notes on arXiv 2505.16056 and its code.
 */
import type { ExpertSequence } from "./expert-sequence.ts";
import type { WarmUp } from "./stack-curves.ts";

export type ReferencePolicy = "lru" | "lfu" | "belady" | { readonly sch: number };

/** Hits of one sample in a cache of `capacity` experts. */
export function referenceHits(
  { tokens, ids, starts }: ExpertSequence,
  policy: ReferencePolicy,
  capacity: number,
  warmUp: WarmUp = "free",
): number {
  const token = (t: number): number[] => (t < tokens ? Array.from(ids.subarray(starts[t], starts[t + 1])) : []);
  const flat = Array.from(ids.subarray(0, starts[tokens]));
  const lastUse = new Map<number, number>();
  const uses = new Map<number, number>();
  const window = new Map<number, number>();
  const bump = (map: Map<number, number>, x: number, by: number) => map.set(x, (map.get(x) ?? 0) + by);
  const ahead = typeof policy === "object" ? policy.sch : 0;
  for (let t = 0; t < ahead; t++) for (const x of token(t)) bump(window, x, 1);

  const priority = (x: number): [number, number] => {
    const last = lastUse.get(x) ?? -1;
    if (policy === "lru") return [last, 0];
    if (policy === "lfu") return [uses.get(x) ?? 0, last];
    if (policy === "belady") {
      const next = flat.indexOf(x, last + 1);
      return [next < 0 ? Number.NEGATIVE_INFINITY : -next, 0];
    }
    return [window.get(x) ?? 0, last];
  };
  const resident = new Set<number>();
  const seen = new Set<number>();
  let hits = 0;
  let clock = 0;
  for (let t = 0; t < tokens; t++) {
    for (const x of token(t)) {
      if (resident.has(x)) hits++;
      else if (!seen.has(x)) {
        if (warmUp === "free" && seen.size < capacity) hits++;
        seen.add(x);
      }
    }
    for (const x of token(t)) {
      lastUse.set(x, clock++);
      bump(uses, x, 1);
      bump(window, x, -1);
      if (resident.has(x)) continue;
      if (resident.size === capacity) {
        let victim: number | undefined;
        for (const y of resident) {
          if (victim === undefined) victim = y;
          const [a, b] = priority(y);
          const [c, d] = priority(victim);
          if (a < c || (a === c && b < d)) victim = y;
        }
        resident.delete(victim as number);
      }
      resident.add(x);
    }
    for (const x of token(t + ahead)) if (ahead > 0) bump(window, x, 1);
  }
  return hits;
}
