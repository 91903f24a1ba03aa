/**
 * What each policy would rather keep, as one number per expert use: the larger, the longer it stays. No key depends on the
 * cache's size. The caches themselves are in `stack-curves.ts` (a layer, all sizes) and `ranked-caches.ts` (the model, some).
 */
import type { ExpertSequence } from "./expert-sequence.ts";

export interface PriorityKeys {
  /** [i] Key of an expert once its use at flat position i has been processed. */
  readonly keyAt: Float64Array;
  /** Tokens that the policy sees ahead, the present one included; 0: keys change with uses alone. */
  ahead: number;
  /** What the key of a seen expert grows by when one of its uses comes into sight. */
  step: number;
}

export function makeKeys(uses: number): PriorityKeys {
  return { keyAt: new Float64Array(uses), ahead: 0, step: 0 };
}

/**
 * (uses since the start of the sample, kept after eviction; last use)
 * @param uses [experts] scratch
 */
export function lfuKeys(keys: PriorityKeys, { experts, tokens, ids, starts }: ExpertSequence, uses: Int32Array): void {
  const { keyAt } = keys;
  const count = starts[tokens];
  uses.fill(0, 0, experts);
  for (let i = 0; i < count; i++) keyAt[i] = ++uses[ids[i]] * count + i;
  keys.ahead = 0;
}

/**
 * (uses in the m tokens from the present one on that are still to come; last use)
 * @param window [experts] scratch
 */
export function schKeys(
  keys: PriorityKeys,
  { experts, tokens, ids, starts }: ExpertSequence,
  segmentLength: number,
  window: Int32Array,
): void {
  const { keyAt } = keys;
  const count = starts[tokens];
  window.fill(0, 0, experts);
  for (let i = 0, end = starts[Math.min(segmentLength, tokens)]; i < end; i++) window[ids[i]]++;
  for (let t = 0; t < tokens; t++) {
    for (let i = starts[t], end = starts[t + 1]; i < end; i++) keyAt[i] = --window[ids[i]] * count + i;
    if (t + segmentLength >= tokens) continue;
    for (let i = starts[t + segmentLength], end = starts[t + segmentLength + 1]; i < end; i++) window[ids[i]]++;
  }
  keys.ahead = segmentLength;
  keys.step = count;
}

/**
 * The sooner the next use, the larger; never again is the smallest.
 * @param nextUse [experts] scratch
 */
export function beladyKeys(
  keys: PriorityKeys,
  { experts, tokens, ids, starts }: ExpertSequence,
  nextUse: Int32Array,
): void {
  const { keyAt } = keys;
  const count = starts[tokens];
  nextUse.fill(count, 0, experts);
  for (let i = count - 1; i >= 0; i--) {
    keyAt[i] = -nextUse[ids[i]];
    nextUse[ids[i]] = i;
  }
  keys.ahead = 0;
}
