/**
 * What the reuse term calls resident when a token is routed: the previous token's experts (ReMoE), or the contents of a
 * simulated cache (remoe+). Built from the tokens before it alone, and constant to the gradient.
 */
import type { RoutedTokens } from "./routing-terms.ts";

/** Caches start empty with each document, as in the paper's protocol. */
export type ResidencyTarget =
  | { readonly kind: "previous" }
  /** LRU of `capacity` experts; a token's experts are looked up together and then inserted, hits first. */
  | { readonly kind: "lru"; readonly capacity: number }
  /**
   * MELINOE's soft cache (arXiv 2602.11192): uses decay by `decay` a token, scaled to sum to `capacity`, at most 1 each.
   * `decay` 0.9 in the paper.
   */
  | { readonly kind: "soft-cache"; readonly capacity: number; readonly decay: number };

/**
 * c, `[tokens][experts]`: between 0 and 1; the first token of a document has zeros.
 * @param ids `[tokens][used]`, best first; what is not from 0 to experts - 1 is no expert
 */
export function residency(
  ids: Int32Array,
  { tokens, experts, used, documents }: Pick<RoutedTokens, "tokens" | "experts" | "used" | "documents">,
  target: ResidencyTarget,
): Float32Array {
  const resident = new Float32Array(tokens * experts);
  const cache = new Float64Array(experts);
  for (let t = 1; t < tokens; t++) {
    if (documents[t] !== documents[t - 1]) {
      cache.fill(0);
      continue;
    }
    const before = ids.subarray((t - 1) * used, t * used);
    const now = resident.subarray(t * experts, (t + 1) * experts);
    switch (target.kind) {
      case "previous":
        for (const expert of before) now[expert] = 1;
        break;
      case "lru":
        useInLru(cache, before, t, target.capacity);
        for (let e = 0; e < experts; e++) now[e] = cache[e] > 0 ? 1 : 0;
        break;
      case "soft-cache": {
        let uses = 0;
        for (let e = 0; e < experts; e++) cache[e] *= target.decay;
        for (const expert of before) if (expert >= 0 && expert < experts) cache[expert] += 1;
        for (let e = 0; e < experts; e++) uses += cache[e];
        const scale = uses > 0 ? target.capacity / uses : 0;
        for (let e = 0; e < experts; e++) now[e] = Math.min(1, scale * cache[e]);
        break;
      }
      default:
        target satisfies never;
    }
  }
  return resident;
}

/**
 * @param lastUse by expert, greater is later; 0: not in the cache. Within a token the best expert counts as used last, so
 * that a cache of fewer than `used` experts keeps the best.
 */
function useInLru(lastUse: Float64Array, chosen: Int32Array, time: number, capacity: number): void {
  const { length: used } = chosen;
  for (let rank = 0; rank < used; rank++)
    if (chosen[rank] >= 0 && chosen[rank] < lastUse.length) lastUse[chosen[rank]] = time * used + used - rank;
  let held = 0;
  for (const use of lastUse) if (use > 0) held++;
  for (; held > capacity; held--) {
    let oldest = -1;
    for (let e = 0; e < lastUse.length; e++)
      if (lastUse[e] > 0 && (oldest < 0 || lastUse[e] < lastUse[oldest])) oldest = e;
    lastUse[oldest] = 0;
  }
}
