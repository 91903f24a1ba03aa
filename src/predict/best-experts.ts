/** The few best of many, without sorting and without allocating: between a router's decision and the reads that follow. */

/**
 * Writes the `count` experts with the highest scores into `best`, from `offset` on: best first, lower numbers first between
 * equals; a score that is no number counts as the lowest. `count` is at most the number of scores.
 */
export function bestExperts(scores: Float32Array, count: number, best: Int32Array, offset = 0): void {
  let found = 0;
  for (let expert = 0; expert < scores.length; expert++) {
    const score = scores[expert];
    if (found === count && !(score > scores[best[offset + count - 1]])) continue;
    let rank = found < count ? found++ : count - 1;
    for (; rank > 0 && score > scores[best[offset + rank - 1]]; rank--) best[offset + rank] = best[offset + rank - 1];
    best[offset + rank] = expert;
  }
}
