/**
 * Keeps nothing: every expert is given up as soon as its layer has run. The floor below all caches, and the way to
 * read how many bytes a token demands.
 */
import { NEEDS_NOTHING, type Policy, type Residents } from "../cache/policy.ts";
import { type ExpertKey, NO_EXPERT } from "../cache/shape.ts";

export function onDemand(): Policy {
  return {
    name: "on-demand",
    needs: NEEDS_NOTHING,
    begin() {},
    iteration() {},
    routed() {},
    prefetch: () => NO_EXPERT,
    discard: anyEvictable,
    victim: anyEvictable,
    end() {},
  };
}

function anyEvictable(candidates: Residents): ExpertKey {
  for (let i = candidates.count - 1; i >= 0; i--) {
    const key = candidates.at(i);
    if (candidates.evictable(key)) return key;
  }
  return NO_EXPERT;
}
