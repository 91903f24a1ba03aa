import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { LogIndex } from "./log-index.ts";

describe("log index", () => {
  it("does what a map does", () => {
    // Few different hashes, crowded at both ends of the array and equal in one half.
    const hash = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 2 ** 32 - 40, max: 2 ** 32 - 1 }));
    const call = fc.record({
      action: fc.constantFrom("set", "set", "set", "remove", "find", "read", "range"),
      low: fc.integer({ min: 0, max: 3 }),
      high: hash,
      place: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 400 }), fc.constantFrom(1, 10_000), (calls, expected) => {
        const index = new LogIndex(expected);
        const model = new Map<string, { place: number; read: boolean }>();
        for (const { action, low, high, place } of calls) {
          const id = expected === 1 ? `${high}` : `${low} ${high}`;
          const known = model.get(id);
          if (action === "set") {
            expect(index.set(low, high, place)).toBe(known?.place ?? 0);
            model.set(id, { place, read: false });
          } else if (action === "remove") {
            expect(index.remove(low, high)).toBe(known?.place ?? 0);
            model.delete(id);
          } else if (action === "read" && known !== undefined) {
            index.markRead(low, high, known.place);
            index.markRead(low, high, known.place ^ 1);
            known.read = true;
          } else if (action === "range") {
            const gone = [...model].filter(([, { place: at }]) => at >= place && at < place + 2 ** 28);
            for (const [other] of gone) model.delete(other);
            expect(index.removeRange(place, place + 2 ** 28)).toBe(gone.length);
          }
          expect(index.find(low, high)).toBe(model.get(id)?.place ?? 0);
          const now = model.get(id);
          if (now !== undefined) expect(index.wasRead(low, high, now.place)).toBe(now.read);
          expect(index.count).toBe(model.size);
        }
      }),
      { numRuns: 400 },
    );
  });

  it("takes any number of hashes that crowd at the end", () => {
    const index = new LogIndex(1);
    for (let count = 1; count < 120; count++) {
      index.set(0, 2 ** 32 - count, count);
      let found = 0;
      for (let i = 1; i < 200; i++) if (index.find(0, 2 ** 32 - i) === i) found++;
      expect(found).toBe(count);
    }
  });

  it("keeps every entry while it grows and shrinks, in 71 to 90 bits each", () => {
    const random = new Randomness(5);
    const count = 200_000;
    const index = new LogIndex(50_000);
    const lows = Uint32Array.from({ length: count }, () => random.next() * 2 ** 32);
    const highs = Uint32Array.from({ length: count }, () => random.next() * 2 ** 32);
    for (let i = 0; i < count; i++) index.set(lows[i], highs[i], i + 1);
    const bits = (index.bytes * 8) / index.count;
    expect(bits).toBeGreaterThan(71);
    expect(bits).toBeLessThan(90);
    let lost = 0;
    for (let i = 0; i < count; i++) if (index.find(lows[i], highs[i]) !== i + 1) lost++;
    expect(lost).toBe(0);
    for (let i = 0; i < count; i += 2) index.remove(lows[i], highs[i]);
    for (let i = 0; i < count; i++) if (index.find(lows[i], highs[i]) !== (i % 2 ? i + 1 : 0)) lost++;
    expect(lost).toBe(0);
    expect(index.count).toBe(count / 2);
  });
});
