/** Histograms of a whole sequence, counted by the streaming code and, for comparison, window by window. */
import type { ExpertSequence } from "./expert-sequence.ts";
import { countSegments, makeSegmentScratch, windowCount } from "./srp-histograms.ts";

export interface Histogram {
  /** [m + 1] */
  readonly total: readonly number[];
  /** [expert][m + 1] */
  readonly byExpert: readonly (readonly number[])[];
  /** [window start][m + 1] */
  readonly positions: readonly (readonly number[])[];
}

export function histogram(sequence: ExpertSequence, m: number): Histogram {
  const bins = m + 1;
  const windows = windowCount(sequence.tokens, m);
  const byExpert = new Uint32Array(sequence.experts * bins);
  const total = new Int32Array(bins);
  const positions = new Float64Array((windows + 1) * bins);
  countSegments(
    sequence,
    m,
    { byExpert, expertsAt: 0, total, totalAt: 0, positions, positionsAt: 0 },
    makeSegmentScratch(sequence.experts),
  );
  const sums = new Array<number>(bins).fill(0);
  return {
    total: [...total],
    byExpert: Array.from({ length: sequence.experts }, (_, e) => [...byExpert.subarray(e * bins, (e + 1) * bins)]),
    positions: Array.from({ length: windows }, (_, s) => sums.map((_, c) => (sums[c] += positions[s * bins + c]))),
  };
}

export function bruteForceHistogram({ experts, tokens, ids, starts }: ExpertSequence, m: number): Histogram {
  const empty = () => new Array<number>(m + 1).fill(0);
  const total = empty();
  const byExpert = Array.from({ length: experts }, empty);
  const positions: number[][] = [];
  for (let s = 0; s + m <= tokens; s++) {
    positions.push(empty());
    for (let expert = 0; expert < experts; expert++) {
      let active = 0;
      for (let t = s; t < s + m; t++) if (ids.subarray(starts[t], starts[t + 1]).includes(expert)) active++;
      total[active]++;
      byExpert[expert][active]++;
      positions[s][active]++;
    }
  }
  return { total, byExpert, positions };
}
