import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashKey, setNumberOf } from "../key-hash.ts";
import {
  addToFilter,
  claimAll,
  filterPositions,
  filterShape,
  filtersPerPage,
  rowBytesOf,
  searchFilters,
} from "./filter.ts";

function numbered(n: number) {
  return hashKey(new Uint8Array([n, n >> 8, n >> 16, n >> 24]));
}

describe("bloom filters", () => {
  it("have the sizes of the paper and of the real mean count", () => {
    expect(filterShape(40, 0.001)).toEqual({ bytes: 72, bits: 576, hashes: 10 });
    expect(filterShape(20, 0.001)).toEqual({ bytes: 36, bits: 288, hashes: 10 });
    expect([filtersPerPage(filterShape(40, 0.001)), filtersPerPage(filterShape(20, 0.001))]).toEqual([56, 112]);
    expect([rowBytesOf(1), rowBytesOf(8), rowBytesOf(50)]).toEqual([1, 1, 7]);
    expect(() => filterShape(400, 0.001)).toThrow("do not fit a page");
    expect(() => filterShape(20, 0)).toThrow("do not fit a page");
  });

  it("claim every key that was added, to the filter it was added to", () => {
    const shape = filterShape(20, 0.001);
    const filters = fc.array(fc.uniqueArray(fc.integer(), { maxLength: 30 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(filters, (numbersOf) => {
        const rowBytes = rowBytesOf(numbersOf.length);
        const table = new Uint8Array(shape.bits * rowBytes + 2);
        const positions = new Uint16Array(shape.hashes);
        const put = (n: number) => filterPositions(shape, numbered(n).low, numbered(n).high, positions);
        for (const [place, numbers] of numbersOf.entries()) {
          for (const n of numbers) {
            put(n);
            addToFilter(table, 1, rowBytes, place, positions, shape.hashes);
          }
        }
        expect([table[0], table[table.length - 1]]).toEqual([0, 0]);
        for (const [place, numbers] of numbersOf.entries()) {
          for (const n of numbers) {
            put(n);
            const found = searchFilters(table, 1, rowBytes, place >> 3, positions, shape.hashes);
            expect(found & (1 << (place & 7))).not.toBe(0);
          }
          if (numbers.length > 0) continue;
          put(12345);
          expect(searchFilters(table, 1, rowBytes, place >> 3, positions, shape.hashes) & (1 << (place & 7))).toBe(0);
        }
      }),
    );
  });

  it("can be made to claim everything, one of them alone", () => {
    const shape = filterShape(20, 0.001);
    const table = new Uint8Array(shape.bits * 2);
    claimAll(table, 0, 2, 11, shape);
    const positions = new Uint16Array(shape.hashes);
    filterPositions(shape, 1, 2, positions);
    expect([0, 1].map((eighth) => searchFilters(table, 0, 2, eighth, positions, shape.hashes))).toEqual([0, 8]);
  });

  it("are wrong as seldom as asked, among the keys of one set", () => {
    const sets = 50;
    const ofOneSet: ReturnType<typeof numbered>[] = [];
    for (let n = 0; ofOneSet.length < 12_000; n++) {
      const key = numbered(n);
      if (setNumberOf(key, sets) === 7) ofOneSet.push(key);
    }
    for (const rate of [0.01, 0.001]) {
      const shape = filterShape(20, rate);
      const positions = new Uint16Array(shape.hashes);
      const table = new Uint8Array(shape.bits * 13);
      for (const [i, key] of ofOneSet.slice(0, 2080).entries()) {
        filterPositions(shape, key.low, key.high, positions);
        addToFilter(table, 0, 13, Math.floor(i / 20), positions, shape.hashes);
      }
      let wrong = 0;
      for (const key of ofOneSet.slice(2080)) {
        filterPositions(shape, key.low, key.high, positions);
        for (let eighth = 0; eighth < 13; eighth++) {
          for (let bits = searchFilters(table, 0, 13, eighth, positions, shape.hashes); bits !== 0; bits &= bits - 1)
            wrong++;
        }
      }
      const share = wrong / ((ofOneSet.length - 2080) * 104);
      expect(share).toBeLessThan(rate * 1.25);
      expect(share).toBeGreaterThan(rate * 0.75);
    }
  });
});
