import fc from "fast-check";
import { expect, it } from "vitest";
import type { ExpertKey } from "../../cache/shape.ts";
import { lruCurve, makeStackScratch } from "../../locality/stack-curves.ts";
import { PromptCaches } from "./prompt-caches.ts";

const EXPERTS = 7;
const tokens = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: EXPERTS - 1 }), { minLength: 2, maxLength: 2 }), {
  minLength: 1,
  maxLength: 40,
});

it("holds what a least recently used cache of the layer holds, whatever the other layers do", () => {
  fc.assert(
    fc.property(tokens, fc.integer({ min: 2, max: EXPERTS }), (chosen, capacity) => {
      const caches = new PromptCaches(2, EXPERTS, capacity);
      let hits = 0;
      for (const experts of chosen) {
        for (const expert of experts) if (caches.has((EXPERTS + expert) as ExpertKey)) hits++;
        caches.use(1, Int32Array.from(experts));
        caches.use(0, Int32Array.of(experts[0]));
      }
      const ids = Uint16Array.from(chosen.flat());
      const starts = Int32Array.from({ length: chosen.length + 1 }, (_, t) => 2 * t);
      const hitsAt = new Int32Array(EXPERTS + 1);
      const sequence = { experts: EXPERTS, tokens: chosen.length, ids, starts };
      lruCurve(sequence, hitsAt, "miss", makeStackScratch(EXPERTS));
      expect(hits).toBe(hitsAt.subarray(0, capacity).reduce((sum, count) => sum + count, 0));
    }),
  );
});

it("is empty after clear", () => {
  const caches = new PromptCaches(1, EXPERTS, 2);
  caches.use(0, Int32Array.of(1, 2));
  caches.clear();
  expect(Array.from({ length: EXPERTS }, (_, key) => caches.has(key as ExpertKey))).not.toContain(true);
});
