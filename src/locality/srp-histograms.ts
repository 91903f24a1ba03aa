/**
 * In how many windows of m tokens was each expert active c times, for one m and one sample: the histograms from which SRP is
 * computed. Streaming: an expert costs two updates per use, whatever m and E are; see `docs/locality.md`.
 */
import type { ExpertSequence } from "./expert-sequence.ts";

/** Where the counts of one sample and layer are added. */
export interface SegmentTargets {
  /** Of each expert: [expertsAt + expert * (m + 1) + c] += windows with c activations. */
  readonly byExpert: Uint32Array;
  readonly expertsAt: number;
  /** The same summed over experts: [totalAt + c]. */
  readonly total: Int32Array;
  readonly totalAt: number;
  /**
   * By window start s, summed over experts, as differences to the start before: [positionsAt + s * (m + 1) + c]. Sums over
   * s from 0 on give the histogram of the windows that start at s; rows up to the number of windows are used.
   */
  readonly positions: Float64Array;
  readonly positionsAt: number;
}

export interface SegmentScratch {
  /** [E] Activations in the current window; zeros between calls. */
  readonly count: Int32Array;
  /** [E] Start of the first window since which that count held. */
  readonly since: Int32Array;
}

export function makeSegmentScratch(experts: number): SegmentScratch {
  return { count: new Int32Array(experts), since: new Int32Array(experts) };
}

/** Windows of m tokens in a sample of `tokens`. */
export function windowCount(tokens: number, segmentLength: number): number {
  return Math.max(0, tokens - segmentLength + 1);
}

export function countSegments(
  { experts, tokens, ids, starts }: ExpertSequence,
  segmentLength: number,
  { byExpert, expertsAt, total, totalAt, positions, positionsAt }: SegmentTargets,
  { count, since }: SegmentScratch,
): void {
  const windows = windowCount(tokens, segmentLength);
  if (windows === 0) return;
  const bins = segmentLength + 1;
  const first = starts[segmentLength];
  for (let i = 0; i < first; i++) count[ids[i]]++;
  for (let expert = 0; expert < experts; expert++) {
    since[expert] = 0;
    positions[positionsAt + count[expert]]++;
  }
  for (let s = 1, row = positionsAt + bins; s < windows; s++, row += bins) {
    for (let i = starts[s - 1], end = starts[s]; i < end; i++) {
      const expert = ids[i];
      const before = count[expert];
      const held = s - since[expert];
      byExpert[expertsAt + expert * bins + before] += held;
      total[totalAt + before] += held;
      since[expert] = s;
      count[expert] = before - 1;
      positions[row + before]--;
      positions[row + before - 1]++;
    }
    for (let i = starts[s + segmentLength - 1], end = starts[s + segmentLength]; i < end; i++) {
      const expert = ids[i];
      const before = count[expert];
      const held = s - since[expert];
      byExpert[expertsAt + expert * bins + before] += held;
      total[totalAt + before] += held;
      since[expert] = s;
      count[expert] = before + 1;
      positions[row + before]--;
      positions[row + before + 1]++;
    }
  }
  const end = positionsAt + windows * bins;
  for (let expert = 0; expert < experts; expert++) {
    const last = count[expert];
    const held = windows - since[expert];
    byExpert[expertsAt + expert * bins + last] += held;
    total[totalAt + last] += held;
    positions[end + last]--;
    count[expert] = 0;
  }
}
