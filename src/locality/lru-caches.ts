/**
 * One LRU cache over all layers, at several sizes in one pass: a linked list in order of last use, cut at the sizes. The
 * paper's convention: a token's experts, layer after layer, are looked up together; first uses hit while there is room.
 */

import { type CacheSizes, FreeWarmUp } from "./cache-sizes.ts";
import type { ExpertSequence } from "./expert-sequence.ts";

export interface LruScratch {
  /** [experts] Neighbours in order of last use; -1: none. */
  readonly newer: Int32Array;
  readonly older: Int32Array;
  /** [experts] Index of the smallest size that holds the expert; number of sizes: none does; -1: not used yet. */
  readonly level: Int32Array;
}

export function makeLruScratch(experts: number): LruScratch {
  return { newer: new Int32Array(experts), older: new Int32Array(experts), level: new Int32Array(experts) };
}

/** Adds to hitsAt[i] the look-ups of one sample that hit from the i-th size on. */
export function lruCaches(
  { experts, tokens, ids, starts }: ExpertSequence,
  sizes: CacheSizes,
  hitsAt: Float64Array,
  { newer, older, level }: LruScratch,
): void {
  const levels = sizes.length;
  const outside = levels;
  const filled = new Int32Array(levels + 1);
  /** Oldest expert of each level. */
  const last = new Int32Array(levels + 1).fill(-1);
  const warmUp = new FreeWarmUp(sizes);
  let newest = -1;
  level.fill(-1, 0, experts);
  for (let t = 0; t < tokens; t++) {
    const begin = starts[t];
    const end = starts[t + 1];
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      let at = level[expert];
      if (at < 0) {
        at = warmUp.firstUse();
        level[expert] = outside;
      }
      if (at < levels) hitsAt[at]++;
    }
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      const from = level[expert];
      if (expert === newest) continue;
      if (from < outside) {
        filled[from]--;
        if (last[from] === expert) last[from] = filled[from] > 0 ? newer[expert] : -1;
        if (older[expert] >= 0) newer[older[expert]] = newer[expert];
        older[newer[expert]] = older[expert];
      }
      newer[expert] = -1;
      older[expert] = newest;
      if (newest >= 0) newer[newest] = expert;
      newest = expert;
      level[expert] = 0;
      filled[0]++;
      if (last[0] < 0) last[0] = expert;
      for (let l = 0; l < levels && filled[l] > sizes[l] - (l === 0 ? 0 : sizes[l - 1]); l++) {
        const leaving = last[l];
        filled[l]--;
        last[l] = newer[leaving];
        level[leaving] = l + 1;
        if (l + 1 === levels) {
          older[newer[leaving]] = -1;
        } else {
          filled[l + 1]++;
          if (last[l + 1] < 0) last[l + 1] = leaving;
        }
      }
    }
  }
}
