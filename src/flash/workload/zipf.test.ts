import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { MAX_RANKS, Zipf } from "./zipf.ts";

/** Sum of k^-alpha from `from` to `to`: term by term, and by Euler and Maclaurin's formula where terms are alike. */
function weightOf(from: number, to: number, alpha: number): number {
  let sum = 0;
  let k = from;
  for (; k <= Math.min(to, 10_000); k++) sum += k ** -alpha;
  if (k > to) return sum;
  const integral = alpha === 1 ? Math.log(to / k) : (to ** (1 - alpha) - k ** (1 - alpha)) / (1 - alpha);
  return sum + integral + (k ** -alpha + to ** -alpha) / 2 + (alpha * (k ** (-alpha - 1) - to ** (-alpha - 1))) / 12;
}

/** Sum of squared deviations over what is expected. @param lastRanks the last rank of each group, from 1 on */
function chiSquare(lastRanks: readonly number[], alpha: number, draws: number): number {
  const zipf = new Zipf(lastRanks.at(-1) as number, alpha);
  const random = new Randomness(7, Math.round(alpha * 1e6));
  const seen = new Float64Array(lastRanks.length);
  for (let i = 0; i < draws; i++) {
    const rank = zipf.next(random) + 1;
    seen[lastRanks.findIndex((last) => rank <= last)]++;
  }
  const weights = lastRanks.map((last, i) => weightOf((lastRanks[i - 1] ?? 0) + 1, last, alpha));
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.reduce((sum, weight, i) => {
    const expected = (draws * weight) / all;
    return sum + (seen[i] - expected) ** 2 / expected;
  }, 0);
}

const ALPHAS = [0.01, 0.55, 0.87, 0.9995, 1 - 1e-9, 1, 1.0005, 1.1401, 1.2959, 2.5];

describe("Zipf's law", () => {
  // 19 degrees of freedom: above 43.8 in one of a thousand runs.
  test.each(ALPHAS)("over 20 ranks, alpha %s", (alpha) => {
    const each = Array.from({ length: 20 }, (_, i) => i + 1);
    expect(chiSquare(each, alpha, 300_000)).toBeLessThan(43.8);
  });

  // 27 groups, each half as long again as all before it; with a large alpha the last ones are all but empty and are left out.
  test.each(ALPHAS.filter((alpha) => alpha < 2))("over 1e9 ranks, alpha %s", (alpha) => {
    const ends = [1, 2, 3, 5, 8, 12, 20, 50, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9];
    const all = weightOf(1, 1e9, alpha);
    const groups = ends.filter((last, i) => (weightOf((ends[i - 1] ?? 0) + 1, last, alpha) / all) * 300_000 >= 5);
    expect(groups.length).toBeGreaterThan(4);
    // At most 22 degrees of freedom.
    expect(chiSquare([...groups.slice(0, -1), 1e9], alpha, 300_000)).toBeLessThan(48.3);
  });

  test("over one rank, two, and as many as there may be", () => {
    const random = new Randomness(1);
    expect(new Zipf(1, 1.2).next(random)).toBe(0);
    const two = new Zipf(2, 1);
    let first = 0;
    for (let i = 0; i < 30_000; i++) first += two.next(random) === 0 ? 1 : 0;
    expect(first / 30_000).toBeCloseTo(2 / 3, 1.9);
    expect(new Zipf(MAX_RANKS, 0.5).next(random)).toBeLessThan(MAX_RANKS);
  });

  test("gives whole ranks in range", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: MAX_RANKS }),
        fc.double({ min: 1e-3, max: 20, noNaN: true }),
        fc.integer(),
        (ranks, alpha, seed) => {
          const zipf = new Zipf(ranks, alpha);
          const random = new Randomness(seed);
          for (let i = 0; i < 50; i++) {
            const rank = zipf.next(random);
            expect(Number.isInteger(rank) && rank >= 0 && rank < ranks).toBe(true);
          }
        },
      ),
    );
  });

  test("needs ranks and an exponent", () => {
    for (const ranks of [0, 1.5, MAX_RANKS + 1, Number.NaN]) expect(() => new Zipf(ranks, 1)).toThrow("number of keys");
    for (const alpha of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => new Zipf(10, alpha)).toThrow("exponent");
  });
});
