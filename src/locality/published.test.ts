import { expect, test } from "vitest";
import { publishedRows } from "./published.ts";

test("models of the same share of experts come first", () => {
  const rows = publishedRows(64, 8);
  expect(rows).toHaveLength(22);
  const same = rows.filter(({ sameShare }) => sameShare).map(({ key }) => key);
  expect(same.sort()).toEqual(["grin", "jamba", "olmoe", "phi", "qwen2"]);
  expect(rows.slice(0, 5).every(({ sameShare }) => sameShare)).toBe(true);
  expect(rows.at(-1)?.key).toMatch(/^switch/);
});

test("figures are those of the paper", () => {
  const olmoe = publishedRows(64, 8).find(({ key }) => key === "olmoe") ?? expect.fail("no OLMoE");
  expect(olmoe).toMatchObject({
    experts: 64,
    expertsUsed: 8,
    moeLayers: 16,
    group: 1,
    loadBalanceSd: expect.closeTo(0.0679, 12),
  });
  const at16 = olmoe.srp.find(({ segmentLength }) => segmentLength === 16);
  expect(at16?.srp).toBeCloseTo(0.509, 3);
  expect(at16?.srpGain).toBeCloseTo(0.28, 2);
  const lru = olmoe.chr.find(({ policy }) => policy === "lru");
  expect(lru?.points.map(({ cacheRatio }) => cacheRatio)).toEqual([0.5, 1, 1.5, 2, 3]);
  expect(lru?.points[3].hitRate).toBeCloseTo(0.612, 3);
  expect(olmoe.srpByLayer).toHaveLength(16);
  expect(olmoe.vocabulary.map(({ kind }) => kind)).toEqual(["input", "predicted", "next"]);
});

test("what was not published is left out", () => {
  const decoder = publishedRows(128, 1).find(({ key }) => key === "switch-d");
  expect(decoder?.srp.map(({ segmentLength }) => segmentLength)).toEqual([4, 16, 64]);
  expect(decoder?.vocabulary).toEqual([]);
});
