/**
 * Hits of one layer's cache of every size C = 1..E in one pass. Each policy orders experts without regard to C, so what a
 * cache of C holds is the first C of one stack (Mattson et al. 1970). Caches of all layers together are not here: their
 * stacks would be too deep.
 */
import type { ExpertSequence } from "./expert-sequence.ts";
import type { PriorityKeys } from "./priority-keys.ts";

/** "free": a first use hits while fewer than C distinct experts were seen. "miss": it never does. */
export type WarmUp = "free" | "miss";

export interface StackScratch {
  /** [E] Experts, top of the stack first. */
  readonly stack: Int32Array;
  /** [E] Their keys. */
  readonly keys: Float64Array;
  /** [E] Where an expert is on the stack; -1: not seen yet. */
  readonly place: Int32Array;
  /** [E] 1: the token at hand uses the expert. Zeros between tokens. */
  readonly marks: Int32Array;
}

export function makeStackScratch(experts: number): StackScratch {
  return {
    stack: new Int32Array(experts),
    keys: new Float64Array(experts),
    place: new Int32Array(experts),
    marks: new Int32Array(experts),
  };
}

/**
 * Adds one sample to `hitsAt`: [d] gets the look-ups that a cache of C hits if and only if C > d. All experts of a token are
 * looked up before the first of them is inserted.
 */
export function lruCurve(
  { experts, tokens, ids, starts }: ExpertSequence,
  hitsAt: Int32Array,
  warmUp: WarmUp,
  { stack, place, marks }: StackScratch,
): void {
  const free = warmUp === "free" ? 1 : 0;
  place.fill(-1, 0, experts);
  let length = 0;
  for (let t = 0; t < tokens; t++) {
    const begin = starts[t];
    const end = starts[t + 1];
    let distinct = length;
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      marks[expert] = 1;
      if (place[expert] >= 0) continue;
      place[expert] = 0;
      hitsAt[distinct++] += free;
    }
    // Positions change with every token, so they are looked for rather than kept.
    let depth = 0;
    for (let sought = end - begin - (distinct - length); sought > 0; depth++) {
      const used = marks[stack[depth]];
      hitsAt[depth] += used;
      sought -= used;
    }
    // What lay above the deepest of the token's experts moves down in its order, and they go on top, the last one first.
    if (distinct > length) depth = length;
    let to = depth + (distinct - length) - 1;
    for (let from = depth - 1; from >= 0; from--) {
      const expert = stack[from];
      stack[to] = expert;
      to -= 1 - marks[expert];
    }
    for (let i = begin; i < end; i++) {
      stack[to--] = ids[i];
      marks[ids[i]] = 0;
    }
    length = distinct;
  }
}

/** The same for a policy given by its keys. */
export function rankedCurve(
  { experts, tokens, ids, starts }: ExpertSequence,
  { keyAt, ahead, step }: PriorityKeys,
  hitsAt: Int32Array,
  warmUp: WarmUp,
  { stack, keys, place }: StackScratch,
): void {
  const free = warmUp === "free" ? 1 : 0;
  place.fill(-1, 0, experts);
  let length = 0;
  for (let t = 0; t < tokens; t++) {
    const begin = starts[t];
    const end = starts[t + 1];
    let distinct = length;
    for (let i = begin; i < end; i++) {
      const at = place[ids[i]];
      if (at < 0) hitsAt[distinct++] += free;
      else hitsAt[at]++;
    }
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      let at = place[expert];
      if (at < 0) at = length++;
      // At every size the least worth one leaves: carried down is the smallest key so far, and that changes rarely.
      let carried = stack[0];
      let carriedKey = keys[0];
      for (let depth = 1; depth < at; depth++) {
        const key = keys[depth];
        if (key >= carriedKey) continue;
        const here = stack[depth];
        keys[depth] = carriedKey;
        stack[depth] = carried;
        place[carried] = depth;
        carriedKey = key;
        carried = here;
      }
      if (at > 0) {
        keys[at] = carriedKey;
        stack[at] = carried;
        place[carried] = at;
      }
      keys[0] = keyAt[i];
      stack[0] = expert;
      place[expert] = 0;
    }
    if (ahead === 0 || t + ahead >= tokens) continue;
    for (let i = starts[t + ahead], stop = starts[t + ahead + 1]; i < stop; i++) {
      const at = place[ids[i]];
      if (at >= 0) keys[at] += step;
    }
  }
}
