import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { coveringPages, mergeToPages, ownPages, type PageRange, sharedEdgeBytes } from "./page-plan.ts";

const PAGE = 16;
const slice = fc.record({ offset: fc.nat(200), bytes: fc.integer({ min: 1, max: 100 }) });
const pagesOf = ({ start, end }: PageRange): number[] =>
  Array.from({ length: (end - start) / PAGE }, (_, i) => start / PAGE + i);
/** Pages that hold a byte of the slice, counted byte by byte. */
const touched = (offset: number, bytes: number): number[] => [
  ...new Set(Array.from({ length: bytes }, (_, i) => Math.floor((offset + i) / PAGE))),
];

describe("the pages of a slice", () => {
  test("cover every byte of it and nothing more than whole pages", () => {
    fc.assert(
      fc.property(slice, ({ offset, bytes }) => {
        expect(pagesOf(coveringPages(offset, bytes, PAGE))).toEqual(touched(offset, bytes));
      }),
    );
  });

  test("are its own when all their bytes are", () => {
    fc.assert(
      fc.property(slice, ({ offset, bytes }) => {
        const full = touched(offset, bytes).filter(
          (page) => page * PAGE >= offset && (page + 1) * PAGE <= offset + bytes,
        );
        const own = ownPages(offset, bytes, PAGE);
        expect(own.end).toBeGreaterThanOrEqual(own.start);
        expect(pagesOf(own)).toEqual(full);
      }),
    );
  });

  test("of two neighbours never belong to both", () => {
    fc.assert(
      fc.property(slice, fc.integer({ min: 1, max: 100 }), ({ offset, bytes }, next) => {
        const mine = pagesOf(ownPages(offset, bytes, PAGE));
        const theirs = pagesOf(coveringPages(offset + bytes, next, PAGE));
        expect(mine.filter((page) => theirs.includes(page))).toEqual([]);
      }),
    );
  });
});

describe("merged ranges", () => {
  test("hold exactly the pages of all ranges, each once, in order and apart", () => {
    fc.assert(
      fc.property(fc.array(slice, { maxLength: 8 }), (slices) => {
        const ranges = slices
          .map(({ offset, bytes }) => ({ start: offset, end: offset + bytes }))
          .sort((a, b) => a.start - b.start);
        const merged = mergeToPages(ranges, PAGE);
        const all = [...new Set(slices.flatMap(({ offset, bytes }) => touched(offset, bytes)))].sort((a, b) => a - b);
        expect(merged.flatMap(pagesOf)).toEqual(all);
        for (const [i, range] of merged.entries()) if (i > 0) expect(range.start).toBeGreaterThan(merged[i - 1].end);
      }),
    );
  });

  test("leave out empty ranges", () => {
    expect(mergeToPages([{ start: 5, end: 5 }], PAGE)).toEqual([]);
    expect(mergeToPages([], PAGE)).toEqual([]);
  });
});

describe("shared edges of a tensor", () => {
  test("are the pages of the tensor that no expert has to itself", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 8 }), (offset, stride, n) => {
        const own = Array.from({ length: n }, (_, e) => pagesOf(ownPages(offset + e * stride, stride, PAGE))).flat();
        const shared = touched(offset, stride * n).filter((page) => !own.includes(page));
        expect(sharedEdgeBytes(offset, stride, n, PAGE)).toBe(shared.length * PAGE);
      }),
    );
  });

  test("are nothing when slices are whole pages", () => {
    expect(sharedEdgeBytes(PAGE, 3 * PAGE, 5, PAGE)).toBe(0);
  });
});
