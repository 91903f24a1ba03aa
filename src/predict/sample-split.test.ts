import * as fc from "fast-check";
import { expect, test } from "vitest";
import { splitSamples } from "./sample-split.ts";

const lengths = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 2, maxLength: 200 });

test("a sample is on one side only, and nine of ten train", () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 0, max: 1000 }), (of, seed) => {
      const { training, heldOut } = splitSamples(of, { seed, maxTokens: Number.POSITIVE_INFINITY });
      expect([...training, ...heldOut].sort((a, b) => a - b)).toEqual(of.map((_, i) => i));
      expect(heldOut.length).toBe(Math.max(1, Math.round(of.length / 10)));
    }),
  );
});

test("the same seed splits alike, another one otherwise", () => {
  const of = new Array<number>(100).fill(10);
  const split = (seed: number) => splitSamples(of, { seed, maxTokens: 1e9 });
  expect(split(1)).toEqual(split(1));
  expect(split(1).heldOut).not.toEqual(split(2).heldOut);
});

test("no more tokens than allowed, but two samples at least", () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 5000 }), (of, maxTokens) => {
      const { training, heldOut } = splitSamples(of, { seed: 1, maxTokens });
      const tokens = [...training, ...heldOut].reduce((sum, sample) => sum + of[sample], 0);
      expect(training.length).toBeGreaterThanOrEqual(1);
      expect(heldOut.length).toBeGreaterThanOrEqual(1);
      if (training.length + heldOut.length > 2) expect(tokens).toBeLessThanOrEqual(maxTokens);
    }),
  );
});

test("one sample cannot be split", () => {
  expect(() => splitSamples([100], { seed: 1, maxTokens: 1e9 })).toThrow(/the trace has 1 sample\. Record/);
});
