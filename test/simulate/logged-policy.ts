/** What a cache decides in a live run, read off its policy. */
import type { ExpertCache } from "../../src/cache/expert-cache.ts";
import type { Policy, Residents, RouterEvent } from "../../src/cache/policy.ts";
import { type ExpertKey, NO_EXPERT } from "../../src/cache/shape.ts";

/**
 * The policy, with a log of what the cache asked and was answered, in the words of `ExpertCacheOptions.onDecision`. A hit
 * or a miss is read off the cache itself. For policies that read nothing ahead.
 */
export function loggedPolicy(policy: Policy, cache: () => ExpertCache, log: string[]): Policy {
  const { discard } = policy;
  return {
    name: policy.name,
    needs: policy.needs,
    begin: (shape, budgetExperts) => policy.begin(shape, budgetExperts),
    iteration: (start) => policy.iteration(start),
    routed(event: RouterEvent) {
      const chosen = [...event.distinct.subarray(0, event.distinctCount)] as ExpertKey[];
      for (const key of chosen) if (cache().isResident(key)) log.push(`hit ${key}`);
      for (const key of chosen) if (!cache().has(key)) log.push(`miss ${key}`);
      policy.routed(event);
    },
    prefetch: (link) => policy.prefetch(link),
    loading: (key, kind) => policy.loading?.(key, kind),
    ...(discard === undefined
      ? {}
      : {
          discard(candidates: Residents) {
            const key = discard(candidates);
            if (key !== NO_EXPERT) log.push(`discard ${key}`);
            return key;
          },
        }),
    victim(candidates, reason, incoming) {
      const key = policy.victim(candidates, reason, incoming);
      log.push(`evict-${reason} ${key}`);
      return key;
    },
    end: () => policy.end(),
  };
}
