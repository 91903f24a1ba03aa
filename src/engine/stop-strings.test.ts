import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopStrings } from "./stop-strings.ts";

describe("stop strings", () => {
  it("ends before the first stop string even when it arrives in pieces", () => {
    const stops = new StopStrings(["\nUser:", "END"]);
    const out = ["Hello", " there\n", "Us", "er", ": hi"].map((piece) => stops.push(piece));
    expect(out.join("")).toBe("Hello there");
    expect(stops.found).toBe(true);
  });

  it("gives back what only looked like a stop string", () => {
    const stops = new StopStrings(["abc"]);
    expect(stops.push("xab") + stops.push("d") + stops.flush()).toBe("xabd");
    expect(stops.found).toBe(false);
  });

  it("says the same however the text is cut", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 30 });
    const stop = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        letters,
        fc.array(stop, { maxLength: 3 }),
        fc.array(fc.integer({ min: 1, max: 4 })),
        (text, all, cuts) => {
          const stops = new StopStrings(all);
          let out = "";
          let at = 0;
          for (const cut of cuts) {
            out += stops.push(text.slice(at, at + cut));
            at += cut;
          }
          out += stops.push(text.slice(at));
          if (!stops.found) out += stops.flush();
          const first = Math.min(...all.map((s) => text.indexOf(s)).filter((i) => i >= 0), text.length);
          // Cut anywhere, nothing at or behind the earliest stop string that was complete may come out.
          expect(text.startsWith(out)).toBe(true);
          expect(stops.found).toBe(all.some((s) => text.includes(s)));
          if (all.length === 1) expect(out).toBe(text.slice(0, first));
        },
      ),
    );
  });
});
