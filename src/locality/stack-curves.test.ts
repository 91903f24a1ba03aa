import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { goldenCases, workedExample } from "./golden.test-data.ts";
import { referenceHits } from "./reference-caches.test-data.ts";
import { hitCurve, POLICIES } from "./stack-curves.test-data.ts";
import { chooseExperts, randomNumbers, sequenceOf, sequences } from "./traces.test-data.ts";

describe.each(goldenCases)("golden case $name", ({ sequence, T, k, lru, lfu, belady, sch }) => {
  const rates = (curve: readonly number[]) => curve.map((hits) => hits / (T * k));
  const close = (expected: readonly number[]) => expected.map((rate) => expect.closeTo(rate, 12));

  test("LRU", () => expect(rates(hitCurve(sequence, "lru"))).toEqual(close(lru)));
  test("LFU", () => expect(rates(hitCurve(sequence, "lfu"))).toEqual(close(lfu)));
  test("Belady", () => expect(rates(hitCurve(sequence, "belady"))).toEqual(close(belady)));
  test.each(Object.entries(sch))("SCH(%s)", (m, curve) => {
    expect(rates(hitCurve(sequence, { sch: Number(m) }))).toEqual(close(curve));
  });
});

test("the example worked by hand", () => {
  expect(hitCurve(workedExample, "lru")).toEqual([2, 5, 6]);
});

test("one pass for all sizes is a simulation of each", () => {
  fc.assert(
    fc.property(
      sequences(),
      fc.constantFrom(...POLICIES),
      fc.constantFrom("free", "miss"),
      (sequence, policy, warmUp) => {
        const expected = Array.from({ length: sequence.experts }, (_, i) =>
          referenceHits(sequence, policy, i + 1, warmUp),
        );
        expect(hitCurve(sequence, policy, warmUp)).toEqual(expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("curves never fall, and a cache for all experts always hits", () => {
  fc.assert(
    fc.property(sequences({ mostTokens: 120 }), fc.constantFrom(...POLICIES), (sequence, policy) => {
      const curve = hitCurve(sequence, policy);
      expect(curve).toEqual([...curve].sort((a, b) => a - b));
      expect(curve.at(-1)).toBe(sequence.starts[sequence.tokens]);
    }),
  );
});

test("SCH that sees one token is LRU, and seeing beyond the end is seeing to the end", () => {
  fc.assert(
    fc.property(sequences(), (sequence) => {
      expect(hitCurve(sequence, { sch: 1 })).toEqual(hitCurve(sequence, "lru"));
      expect(hitCurve(sequence, { sch: sequence.tokens + 7 })).toEqual(hitCurve(sequence, { sch: sequence.tokens }));
    }),
  );
});

test("LRU of k experts hits what neighbouring tokens share", () => {
  fc.assert(
    fc.property(sequences({ alwaysFull: true }), (sequence) => {
      const { ids, starts, tokens } = sequence;
      const used = starts[1];
      let shared = used;
      for (let t = 1; t < tokens; t++)
        for (let i = starts[t]; i < starts[t + 1]; i++)
          if (ids.subarray(starts[t - 1], starts[t]).includes(ids[i])) shared++;
      expect(hitCurve(sequence, "lru")[used - 1]).toBe(shared);
    }),
  );
});

test("without memory in the router every policy without foresight hits by chance", () => {
  const random = randomNumbers(11);
  const experts = 20;
  const sequence = sequenceOf(
    experts,
    Array.from({ length: 30_000 }, () => chooseExperts(experts, 2, random)),
  );
  for (const policy of ["lru", "lfu"] as const) {
    const curve = hitCurve(sequence, policy, "miss");
    for (const size of [4, 10, 16]) expect(curve[size - 1] / 60_000).toBeCloseTo(size / experts, 2);
  }
});

test("foresight pays on average", () => {
  const random = randomNumbers(3);
  let context = 0;
  const sequence = sequenceOf(
    32,
    Array.from({ length: 4000 }, () => {
      if (random() < 0.05) context = Math.floor(32 * random());
      return chooseExperts(32, 4, () => ((context + 12 * random() ** 2) % 32) / 32);
    }),
  );
  const [lru, lfu, belady, sch] = (["lru", "lfu", "belady", { sch: 16 }] as const).map(
    (policy) => hitCurve(sequence, policy)[7],
  );
  expect(belady).toBeGreaterThan(sch);
  expect(sch).toBeGreaterThan(lru);
  expect(belady).toBeGreaterThan(lfu);
});
