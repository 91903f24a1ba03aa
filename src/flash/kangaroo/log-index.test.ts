import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LogIndex, MOST_LOG_PAGES, NONE, tagOf } from "./log-index.ts";

interface Entry {
  readonly tag: number;
  readonly page: number;
  prediction: number;
}

function chainOf(index: LogIndex, set: number): Entry[] {
  const chain: Entry[] = [];
  for (let entry = index.first(set); entry !== NONE; entry = index.next(set, entry))
    chain.push({ tag: index.tag(set, entry), page: index.page(set, entry), prediction: index.prediction(set, entry) });
  return chain;
}

describe("the log's index", () => {
  it("behaves like one list per set, newest first", () => {
    const step = fc.record({
      set: fc.integer({ min: 0, max: 6 }),
      tag: fc.integer({ min: 0, max: 511 }),
      page: fc.integer({ min: 0, max: MOST_LOG_PAGES - 1 }),
      prediction: fc.integer({ min: 0, max: 7 }),
      act: fc.constantFrom("insert", "insert", "insert", "remove", "predict", "clear"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 1, max: 200_000 }), (steps, mostEntries) => {
        const index = new LogIndex(7, mostEntries);
        const model: Entry[][] = Array.from({ length: 7 }, () => []);
        for (const { set, tag, page, prediction, act } of steps) {
          const list = model[set];
          const known = list[page % Math.max(1, list.length)];
          if (act === "insert") {
            expect(index.insert(set, tag, page, prediction)).toBe(true);
            list.unshift({ tag, page, prediction });
          } else if (act === "clear") {
            index.clear(set);
            list.length = 0;
          } else if (known !== undefined) {
            const newest = list.findIndex((entry) => entry.tag === known.tag && entry.page === known.page);
            const found = index.find(set, known.tag, known.page);
            if (act === "remove") {
              index.remove(set, found);
              list.splice(newest, 1);
            } else {
              index.setPrediction(set, found, prediction);
              list[newest].prediction = prediction;
            }
          }
          expect(chainOf(index, set)).toEqual(list);
        }
        expect(index.entries).toBe(model.reduce((sum, list) => sum + list.length, 0));
      }),
    );
  });

  it("refuses what a table cannot name, and takes it again when there is room", () => {
    const index = new LogIndex(1, 1000);
    let taken = 0;
    while (taken < 1e6 && index.insert(0, taken & 511, taken, 6)) taken++;
    expect(taken).toBe(0xffff);
    expect(index.hasRoom(0)).toBe(false);
    expect(index.insert(0, 0, 0, 6)).toBe(false);
    index.remove(0, index.first(0));
    expect(index.hasRoom(0)).toBe(true);
    expect(index.insert(0, 3, 99, 6)).toBe(true);
    expect(chainOf(index, 0)[0]).toEqual({ tag: 3, page: 99, prediction: 6 });
  });

  it("takes about six bytes an entry", () => {
    const index = new LogIndex(1000, 20_000);
    for (let i = 0; i < 20_000; i++) index.insert(i % 1000, i & 511, i, 6);
    expect(index.bytes).toBeGreaterThanOrEqual(20_000 * 6 + 2000);
    expect(index.bytes).toBeLessThan(20_000 * 8 + 2100);
  });

  it("takes the tag from the half of the hash that the set number does not depend on", () => {
    expect(tagOf({ low: 0xffffffff })).toBe(511);
    expect(tagOf({ low: 0x007fffff })).toBe(0);
  });
});
