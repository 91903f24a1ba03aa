/** Hit curves of a sequence by the fast code, as tests want them. */
import type { ExpertSequence } from "./expert-sequence.ts";
import { beladyKeys, lfuKeys, makeKeys, type PriorityKeys, schKeys } from "./priority-keys.ts";
import type { ReferencePolicy } from "./reference-caches.test-data.ts";
import { lruCurve, makeStackScratch, rankedCurve, type WarmUp } from "./stack-curves.ts";

export const POLICIES: readonly ReferencePolicy[] = [
  "lru",
  "lfu",
  "belady",
  ...[1, 2, 4, 16, 64].map((sch) => ({ sch })),
];

export function keysFor(sequence: ExpertSequence, policy: Exclude<ReferencePolicy, "lru">): PriorityKeys {
  const keys = makeKeys(sequence.starts[sequence.tokens]);
  const scratch = new Int32Array(sequence.experts);
  if (policy === "lfu") lfuKeys(keys, sequence, scratch);
  else if (policy === "belady") beladyKeys(keys, sequence, scratch);
  else schKeys(keys, sequence, policy.sch, scratch);
  return keys;
}

/** Hits in caches of 1, 2, ... E experts. */
export function hitCurve(sequence: ExpertSequence, policy: ReferencePolicy, warmUp: WarmUp = "free"): number[] {
  const hitsAt = new Int32Array(sequence.experts);
  const scratch = makeStackScratch(sequence.experts);
  if (policy === "lru") lruCurve(sequence, hitsAt, warmUp, scratch);
  else rankedCurve(sequence, keysFor(sequence, policy), hitsAt, warmUp, scratch);
  let hits = 0;
  return Array.from(hitsAt, (more) => (hits += more));
}
