import * as fc from "fast-check";
import { expect, test } from "vitest";
import { memorylessScore, segmentScore } from "./srp.ts";
import { bruteForceHistogram, histogram } from "./srp-histograms.test-data.ts";
import { chooseExperts, randomNumbers, sequenceOf, sequences } from "./traces.test-data.ts";

const lengths = fc.integer({ min: 1, max: 45 });

test("counting as it comes is counting window by window", () => {
  fc.assert(
    fc.property(sequences(), lengths, (sequence, m) => {
      expect(histogram(sequence, m)).toEqual(bruteForceHistogram(sequence, m));
    }),
  );
});

test("pairs and activations add up", () => {
  fc.assert(
    fc.property(sequences({ alwaysFull: true }), lengths, (sequence, m) => {
      const { total, byExpert } = histogram(sequence, m);
      const windows = Math.max(0, sequence.tokens - m + 1);
      const used = sequence.starts[1];
      expect(total.reduce((sum, count) => sum + count, 0)).toBe(windows * sequence.experts);
      expect(total.reduce((sum, count, c) => sum + c * count, 0)).toBe(windows * m * used);
      for (const counts of byExpert) expect(counts.reduce((sum, count) => sum + count, 0)).toBe(windows);
      if (windows > 0) expect(segmentScore(total, m).activationRate).toBeCloseTo(used / sequence.experts, 12);
    }),
  );
});

test("over one token every router is consistent", () => {
  fc.assert(
    fc.property(sequences({ alwaysFull: true }), (sequence) => {
      expect(segmentScore(histogram(sequence, 1).total, 1)).toMatchObject({ srp: 1, idealCacheRatio: 1 });
    }),
  );
});

test("numbering the experts otherwise changes nothing", () => {
  fc.assert(
    fc.property(sequences(), lengths, (sequence, m) => {
      const { experts, ids } = sequence;
      const turned = { ...sequence, ids: ids.map((id) => (id * (experts - 1) + 1) % experts) };
      // x -> -x + 1 modulo E is a permutation.
      expect(new Set(Array.from({ length: experts }, (_, id) => (id * (experts - 1) + 1) % experts)).size).toBe(
        experts,
      );
      expect(histogram(turned, m).total).toEqual(histogram(sequence, m).total);
    }),
  );
});

test("a router that never changes its mind has SRP 1", () => {
  const constant = sequenceOf(
    8,
    Array.from({ length: 40 }, () => [1, 4, 6]),
  );
  for (const m of [2, 16, 40])
    expect(segmentScore(histogram(constant, m).total, m)).toMatchObject({ srp: 1, idealCacheRatio: 1 });
});

test("a long trace of a router without memory comes to the memoryless score", () => {
  const random = randomNumbers(5);
  const uniform = sequenceOf(
    16,
    Array.from({ length: 40_000 }, () => chooseExperts(16, 2, random)),
  );
  for (const m of [4, 16, 64]) {
    const { srp } = segmentScore(histogram(uniform, m).total, m);
    expect(srp).toBeCloseTo(memorylessScore([2 / 16], m).srp, 2);
  }
});
