import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { RankPermutation } from "./rank-permutation.ts";

describe("a permutation of ranks", () => {
  test("hits every key once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer(), (count, seed) => {
        const permutation = new RankPermutation(count, new Randomness(seed));
        const keys = Array.from({ length: count }, (_, rank) => permutation.keyOf(rank)).sort((a, b) => a - b);
        expect(keys.every((key, i) => key === i)).toBe(true);
      }),
    );
  });

  test.each([1e9, 2 ** 31 - 1])("of %s keys keeps to them and spreads neighbours evenly", (count) => {
    const permutation = new RankPermutation(count, new Randomness(3));
    const tenths = new Float64Array(10);
    const seen = new Set<number>();
    for (let rank = 0; rank < 100_000; rank++) {
      const key = permutation.keyOf(rank);
      seen.add(key);
      tenths[Math.floor((key / count) * 10)]++;
    }
    expect(seen.size).toBe(100_000);
    // 10,000 each; 9 degrees of freedom: above 27.9 in one of a thousand runs.
    expect(tenths.reduce((sum, keys) => sum + (keys - 1e4) ** 2 / 1e4, 0)).toBeLessThan(27.9);
  });

  test("is another one for another seed", () => {
    const [one, other] = [1, 2].map((seed) => new RankPermutation(10_000, new Randomness(seed)));
    let same = 0;
    for (let rank = 0; rank < 10_000; rank++) same += one.keyOf(rank) === other.keyOf(rank) ? 1 : 0;
    expect(same).toBeLessThan(10);
  });
});
