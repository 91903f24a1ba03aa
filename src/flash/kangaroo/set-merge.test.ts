import { describe, expect, it } from "vitest";
import {
  appendEntry,
  clearSet,
  endOfEntries,
  entryKey,
  entrySpare,
  entryValue,
  findEntry,
  firstEntry,
  nextEntry,
  SET_BYTES,
  setEntrySpare,
  TOMBSTONE,
} from "../format/set-page.ts";
import { keyOf, versionedValue } from "./against-map.test-data.ts";
import { SetFilters } from "./set-filters.ts";
import { FAR, FIRST_PAGE, LONG, NEAR, SECOND_PAGE, SetMerge } from "./set-merge.ts";

/** Objects of 1,000 bytes: four fill a set. */
const SIZE = 1000 - 14 - "key 1".length;

interface Old {
  readonly number: number;
  readonly prediction: number;
}

function oldPage(merge: SetMerge, at: number, objects: readonly Old[]): void {
  clearSet(merge.arena, at, 0);
  for (const { number, prediction } of objects) {
    appendEntry(merge.arena, at, keyOf(number), versionedValue(number, 0, SIZE));
    setEntrySpare(merge.arena, findEntry(merge.arena, at, keyOf(number)), prediction);
  }
}

function incoming(merge: SetMerge, number: number, version: number, flags = 0): void {
  const page = new Uint8Array(SET_BYTES);
  clearSet(page, 0, 0);
  appendEntry(page, 0, keyOf(number), versionedValue(number, version, flags === 0 ? SIZE : 0), flags);
  merge.addIncoming(page, firstEntry(0), version, LONG);
}

function packed(merge: SetMerge, pages: 1 | 2): string[][] {
  merge.order(pages);
  const filters = new SetFilters(2, 8);
  return Array.from({ length: pages }, (_, page) => {
    const bytes = new Uint8Array(SET_BYTES);
    merge.fill(bytes, 0, page, filters);
    const found: string[] = [];
    for (let e = firstEntry(0); e < endOfEntries(bytes, 0); e = nextEntry(bytes, e)) {
      const [number, version] = new TextDecoder().decode(entryValue(bytes, e)).split(" ");
      found.push(`${number}.${version}@${entrySpare(bytes, e)}`);
      expect(new TextDecoder().decode(entryKey(bytes, e))).toBe(`key ${number}`);
      expect(filters.mayHold(page, keyOf(Number(number)).low)).toBe(true);
    }
    return found;
  });
}

describe("merging a set", () => {
  it("ages the old ones only when it must, and puts out those that nobody read", () => {
    const merge = new SetMerge();
    merge.begin();
    incoming(merge, 9, 1);
    oldPage(
      merge,
      FIRST_PAGE,
      [1, 2, 3].map((number) => ({ number, prediction: 3 })),
    );
    merge.addPage(FIRST_PAGE, 0);
    expect(packed(merge, 1)).toEqual([["1.0@3", "2.0@3", "3.0@3", `9.1@${LONG}`]]);
    expect(merge.evicted).toBe(0);

    merge.begin();
    incoming(merge, 9, 1);
    oldPage(
      merge,
      FIRST_PAGE,
      [1, 2, 3, 4].map((number) => ({ number, prediction: number === 3 ? 6 : 2 })),
    );
    merge.addPage(FIRST_PAGE, 0b1000);
    // 4 was read: near, then a step nearer to far as all are, since none was far.
    expect(packed(merge, 1)).toEqual([[`4.0@${NEAR + 1}`, "1.0@3", "2.0@3", `9.1@${LONG}`]]);
    expect(merge.evicted).toBe(1);
    expect([merge.fresh, merge.freshBytes]).toEqual([1, 1000]);
  });

  it("leaves old objects as they are when one of them is far already", () => {
    const merge = new SetMerge();
    merge.begin();
    incoming(merge, 9, 1);
    oldPage(
      merge,
      FIRST_PAGE,
      [1, 2, 3, 4].map((number) => ({ number, prediction: number === 2 ? FAR : 1 })),
    );
    merge.addPage(FIRST_PAGE, 0);
    expect(packed(merge, 1)).toEqual([["1.0@1", "3.0@1", "4.0@1", `9.1@${LONG}`]]);
  });

  it("keeps the newest version of a key alone, and nothing of a deleted one", () => {
    const merge = new SetMerge();
    merge.begin();
    incoming(merge, 1, 7);
    incoming(merge, 1, 6);
    incoming(merge, 2, 5, TOMBSTONE);
    expect(merge.incomingObjects).toBe(1);
    oldPage(
      merge,
      FIRST_PAGE,
      [1, 2, 3].map((number) => ({ number, prediction: 0 })),
    );
    expect(merge.clashes(FIRST_PAGE)).toBe(true);
    merge.addPage(FIRST_PAGE, 0);
    expect(packed(merge, 1)).toEqual([["3.0@0", `1.7@${LONG}`]]);
    expect(merge.replaced).toBe(3);
    expect(merge.newestPage(merge.arena, findEntry(merge.arena, FIRST_PAGE, keyOf(1)))).toBe(7);
    expect(merge.newestPage(merge.arena, findEntry(merge.arena, FIRST_PAGE, keyOf(3)))).toBe(-1);
  });

  it("fills the first of two pages with what was read most", () => {
    const merge = new SetMerge();
    merge.begin();
    for (const number of [8, 9]) incoming(merge, number, 1);
    oldPage(
      merge,
      FIRST_PAGE,
      [1, 2, 3, 4].map((number) => ({ number, prediction: 6 })),
    );
    merge.addPage(FIRST_PAGE, 0b0101);
    oldPage(
      merge,
      SECOND_PAGE,
      [5, 6, 7].map((number) => ({ number, prediction: 2 })),
    );
    merge.addPage(SECOND_PAGE, 0b001);
    expect(packed(merge, 2)).toEqual([
      ["1.0@1", "3.0@1", "5.0@1", "6.0@3"],
      ["7.0@3", `8.1@${LONG}`, `9.1@${LONG}`, `2.0@${FAR}`],
    ]);
    expect(merge.evicted).toBe(1);
  });

  it("gives the old pages up when more waits than it can hold", () => {
    const merge = new SetMerge();
    merge.begin();
    for (let number = 100; number < 180; number++) incoming(merge, number, 1);
    expect(merge.oldPagesAreDoubtful).toBe(true);
    expect(packed(merge, 1)[0]).toHaveLength(4);
    expect(merge.evicted).toBe(76);
  });
});
