/**
 * One cache over all layers under a policy given by its keys (LFU, Belady, SCH), at several sizes in one pass. What a cache
 * holds is part of what the next larger one holds, so each level keeps only what the smaller ones do not, in a heap. The
 * paper's convention, as in `lru-caches.ts`.
 */
import { type CacheSizes, FreeWarmUp } from "./cache-sizes.ts";
import type { ExpertSequence } from "./expert-sequence.ts";
import { type ExpertHeaps, makeHeaps, settle, sink } from "./priority-heap.ts";
import type { PriorityKeys } from "./priority-keys.ts";

export interface RankedScratch extends ExpertHeaps {
  /** [experts] Index of the smallest size that holds the expert; number of sizes: none does; -1: not used yet. */
  readonly level: Int32Array;
}

export function makeRankedScratch(experts: number): RankedScratch {
  return { ...makeHeaps(experts, experts), level: new Int32Array(experts) };
}

/** Adds to hitsAt[i] the look-ups of one sample that hit from the i-th size on. */
export function rankedCaches(
  { experts, tokens, ids, starts }: ExpertSequence,
  { keyAt, ahead, step }: PriorityKeys,
  sizes: CacheSizes,
  hitsAt: Float64Array,
  scratch: RankedScratch,
): void {
  const { level, key } = scratch;
  const levels = sizes.length;
  const filled = new Int32Array(levels);
  const warmUp = new FreeWarmUp(sizes);
  level.fill(-1, 0, experts);
  for (let t = 0; t < tokens; t++) {
    const begin = starts[t];
    const end = starts[t + 1];
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      let at = level[expert];
      if (at < 0) {
        at = warmUp.firstUse();
        level[expert] = levels;
      }
      if (at < levels) hitsAt[at]++;
    }
    for (let i = begin; i < end; i++) {
      key[ids[i]] = keyAt[i];
      use(scratch, sizes, filled, ids[i]);
    }
    if (ahead === 0 || t + ahead >= tokens) continue;
    for (let i = starts[t + ahead], stop = starts[t + ahead + 1]; i < stop; i++) {
      const expert = ids[i];
      const at = level[expert];
      if (at < 0) continue;
      key[expert] += step;
      if (at < levels) sink(scratch, baseOf(sizes, at), filled[at], scratch.place[expert], expert);
    }
  }
}

/** Makes every size hold the expert; from each that did not, the least worth one leaves. Its key is the new one. */
function use(scratch: RankedScratch, sizes: CacheSizes, filled: Int32Array, expert: number): void {
  const { items, place, key, level } = scratch;
  const from = level[expert];
  const oldPlace = place[expert];
  level[expert] = 0;
  let carry = expert;
  for (let at = 0; at < sizes.length; at++) {
    const base = baseOf(sizes, at);
    if (at === from) {
      level[carry] = at;
      settle(scratch, base, filled[at], oldPlace, carry);
      return;
    }
    if (filled[at] < sizes[at] - base) {
      level[carry] = at;
      filled[at]++;
      settle(scratch, base, filled[at], base + filled[at] - 1, carry);
      return;
    }
    const least = items[base];
    if (at > 0 && key[carry] < key[least]) continue;
    level[carry] = at;
    sink(scratch, base, filled[at], base, carry);
    carry = least;
  }
  level[carry] = sizes.length;
}

/** Where the heap of a level begins: the smaller sizes hold as many. */
function baseOf(sizes: CacheSizes, level: number): number {
  return level === 0 ? 0 : sizes[level - 1];
}
