import { describe, expect, test } from "vitest";
import { type SizeModel, SizeTable } from "./object-size.ts";

/** All sizes of the table, in order. */
function sizesOf(model: SizeModel): number[] {
  const table = new SizeTable(model);
  return Array.from({ length: 8192 }, (_, i) => table.ofLower(i));
}

const at = (sizes: readonly number[], share: number) => sizes[Math.floor(share * sizes.length)];

describe("sizes", () => {
  test.each([0.5, 0.8, 0.9, 1])("log-normal with sigma %s: mean, median and tail", (sigma) => {
    const model = { kind: "log-normal", mean: 246, sigma, min: 20, max: 2048 } as const;
    expect(new SizeTable(model).mean).toBeCloseTo(246, 0);
    const sizes = sizesOf(model);
    // Cutting the tail off is made up for by a little more of everything else.
    const median = at(sizes, 0.5);
    expect(Math.abs(median / (246 * Math.exp(-(sigma ** 2) / 2)) - 1)).toBeLessThan(0.03);
    // One deviation up and down.
    expect(Math.abs(at(sizes, 0.841345) / (median * Math.exp(sigma)) - 1)).toBeLessThan(0.02);
    expect(Math.abs(at(sizes, 0.158655) / (median / Math.exp(sigma)) - 1)).toBeLessThan(0.02);
    expect(sizes[0]).toBeGreaterThanOrEqual(20);
    expect(sizes[8191]).toBeLessThanOrEqual(2048);
  });

  test("alike, and evenly spread", () => {
    expect(new Set(sizesOf({ kind: "log-normal", mean: 246, sigma: 0, min: 20, max: 2048 }))).toEqual(new Set([246]));
    expect(new Set(sizesOf({ kind: "fixed", bytes: 33 }))).toEqual(new Set([33]));
    expect(new Set(sizesOf({ kind: "uniform", min: 8, max: 16 })).size).toBe(9);
    expect(new SizeTable({ kind: "uniform", min: 16, max: 255 }).mean).toBeCloseTo(135.5, 0);
  });

  test("between points, stretched to their mean", () => {
    const points = [[0, 0] as const, [0.5, 100] as const, [1, 300] as const];
    // As they stand the mean is 0.5 * 50 + 0.5 * 200.
    const sizes = sizesOf({ kind: "quantiles", points, mean: 125, min: 0, max: 1000 });
    expect([at(sizes, 0.25), at(sizes, 0.5), at(sizes, 0.75)]).toEqual([50, 100, 200]);
    expect(new SizeTable({ kind: "quantiles", points, mean: 250, min: 0, max: 1000 }).mean).toBeCloseTo(250, 0);
  });

  test("of ETC: means of the distributions, not cut", () => {
    const key = {
      kind: "extreme-value",
      location: 30.7984,
      scale: 8.20449,
      shape: 0.078688,
      min: 1,
      max: 250,
    } as const;
    // location + scale (gamma(1 - shape) - 1) / shape, gamma(0.921312) = 1.0532.
    expect(new SizeTable(key).mean).toBeCloseTo(36.3, 0);
    const value = { kind: "pareto", location: 0, scale: 214.476, shape: 0.348238, min: 0, max: 65_535 } as const;
    // scale / (1 - shape); the table ends at one in 16,384.
    expect(Math.abs(new SizeTable(value).mean / 329.07 - 1)).toBeLessThan(0.01);
  });

  test("of both ends of a hash are their own", () => {
    const table = new SizeTable({ kind: "uniform", min: 0, max: 8191 });
    expect([table.ofUpper(0xffffffff), table.ofUpper(0x7fff), table.ofLower(0xffffe000), table.ofLower(5)]).toEqual([
      ...[8191, 0, 0, 5],
    ]);
  });

  test("that cannot be", () => {
    expect(() => new SizeTable({ kind: "fixed", bytes: 70_000 })).toThrow("65,535");
    expect(() => new SizeTable({ kind: "uniform", min: 9, max: 8 })).toThrow("9 to 8");
    expect(() => new SizeTable({ kind: "log-normal", mean: 9000, sigma: 1, min: 20, max: 2048 })).toThrow("9000");
  });
});
