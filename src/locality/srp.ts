/**
 * SRP: how well a router that decides for a whole segment could do, from the histogram of activations per window; and what
 * a memoryless router would score, which is ours. Pure arithmetic; the histograms are counted in `srp-histograms.ts`.
 */
import type { SegmentScore } from "./report-data.ts";

/**
 * From counts[from + c] = (expert, window) pairs with c activations, c = 0..m. Of equal scores the smallest threshold. Where
 * no expert was active: SRP 0 and ratio 0.
 */
export function segmentScore(counts: ArrayLike<number>, segmentLength: number, from = 0): SegmentScore {
  let pairs = 0;
  let activations = 0;
  for (let c = 0; c <= segmentLength; c++) {
    pairs += counts[from + c];
    activations += c * counts[from + c];
  }
  if (activations === 0) return { srp: 0, threshold: 0, idealCacheRatio: 0, activationRate: 0 };
  let truePositives = 0;
  let predicted = 0;
  let srp = 0;
  let threshold = segmentLength;
  let held = 0;
  for (let c = segmentLength; c >= 0; c--) {
    truePositives += c * counts[from + c];
    predicted += segmentLength * counts[from + c];
    const f1 = (2 * truePositives) / (predicted + activations);
    if (f1 < srp) continue;
    srp = f1;
    threshold = c;
    held = predicted;
  }
  return {
    srp,
    threshold,
    idealCacheRatio: held / activations,
    activationRate: activations / (segmentLength * pairs),
  };
}

/** Score of a router without memory whose experts have these activation rates, 0..1 each. */
export function memorylessScore(rates: Iterable<number>, segmentLength: number): SegmentScore {
  const expected = new Float64Array(segmentLength + 1);
  const pmf = new Float64Array(segmentLength + 1);
  for (const rate of rates) {
    binomial(pmf, segmentLength, rate);
    for (let c = 0; c <= segmentLength; c++) expected[c] += pmf[c];
  }
  return segmentScore(expected, segmentLength);
}

/** How much of the way from a memoryless router to a perfectly consistent one. */
export function srpGain(srp: number, srpIid: number): number {
  return srpIid < 1 ? (srp - srpIid) / (1 - srpIid) : 0;
}

/** Probabilities of 0..n successes, from the likeliest outward: nothing underflows that matters. */
function binomial(pmf: Float64Array, n: number, p: number): void {
  pmf.fill(0);
  if (p <= 0 || p >= 1) {
    pmf[p <= 0 ? 0 : n] = 1;
    return;
  }
  const odds = p / (1 - p);
  const mode = Math.min(n, Math.floor((n + 1) * p));
  pmf[mode] = 1;
  let sum = 1;
  for (let c = mode; c < n; c++) sum += pmf[c + 1] = (pmf[c] * odds * (n - c)) / (c + 1);
  for (let c = mode; c > 0; c--) sum += pmf[c - 1] = (pmf[c] * c) / (odds * (n - c + 1));
  for (let c = 0; c <= n; c++) pmf[c] /= sum;
}
