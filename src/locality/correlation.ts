/** Mean, spread and correlation of lists in which values may be missing. */

/** Pearson's r over the pairs where both are there; null for fewer than two pairs or without spread. */
export function pearson(a: readonly (number | null)[], b: readonly (number | null)[]): number | null {
  const pairs = a.flatMap((x, i) => {
    const y = b[i];
    return x === null || y === null || y === undefined ? [] : [[x, y] as const];
  });
  if (pairs.length < 2) return null;
  const meanA = mean(pairs.map(([x]) => x));
  const meanB = mean(pairs.map(([, y]) => y));
  let covariance = 0;
  let varianceA = 0;
  let varianceB = 0;
  for (const [x, y] of pairs) {
    covariance += (x - meanA) * (y - meanB);
    varianceA += (x - meanA) ** 2;
    varianceB += (y - meanB) ** 2;
  }
  // What is left of equal values after subtracting their mean is rounding.
  const scale = 1e-24 * pairs.length;
  if (varianceA <= scale * meanA ** 2 || varianceB <= scale * meanB ** 2) return null;
  return Math.max(-1, Math.min(1, covariance / Math.sqrt(varianceA * varianceB)));
}

/** Of at least one value. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Mean of the values that are there; null when none is. */
export function meanOfKnown(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : mean(known);
}

/** With n - 1; 0 for a single value. */
export function sampleDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}
