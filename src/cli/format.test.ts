import { expect, test } from "vitest";
import { alignColumns, formatBytes, formatCount, formatMs, formatRate, formatShare } from "./format.ts";

test("bytes have a unit and three digits", () => {
  expect([0, 999, 1024, 104_448, 13_369_344, 2 ** 30, 1000 * 2 ** 20].map(formatBytes)).toEqual([
    ...["0 bytes", "999 bytes", "1.00 KiB", "102 KiB", "12.8 MiB", "1.00 GiB", "0.98 GiB"],
  ]);
});

test("times, rates, shares and counts are short", () => {
  expect([0.04, 9.96, 27.4, 1240, 61_000].map(formatMs)).toEqual(["0.0 ms", "10.0 ms", "27 ms", "1.24 s", "1 min 1 s"]);
  expect([1.37e9, 9.5e7].map(formatRate)).toEqual(["1.37 GB/s", "95.0 MB/s"]);
  expect(formatShare(0.8283)).toBe("82.8 %");
  expect([512, 28_906_240, 30.5e9].map(formatCount)).toEqual(["512", "28.9 million", "30.5 billion"]);
});

test("columns are as wide as their widest cell, without spaces at the ends of lines", () => {
  expect(
    alignColumns([
      ["a", "bb", ""],
      ["ccc", "d"],
    ]),
  ).toBe("  a    bb\n  ccc  d");
});
