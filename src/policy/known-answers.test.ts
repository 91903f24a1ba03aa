/** Recorded runs of real models: the figures that others measured on them, and what our default has to reach. */
import { describe, expect, test } from "vitest";
import { readRouteTrace } from "../../test/traces/route-trace.ts";
import { replay } from "../cache/replay.test-data.ts";
import { tokenCycleBytes } from "../cache/shape.ts";
import { hitRate, totalCounters } from "../cache/statistics.ts";
import { belady } from "./belady.ts";
import { lru } from "./lru.ts";
import { nextUse } from "./next-use.ts";

const MIB = 1024 * 1024;
const percent = (rate: number) => Number((100 * rate).toFixed(1));

describe.each([
  { name: "qwen", mib: 4000, all: 74.9, cycleMib: 785, decode: { mib: 3000, lru: 70.6, belady: 87.8, nextUse: 75 } },
  { name: "gemma", mib: 4000, all: 76.8, cycleMib: 676, decode: { mib: 1500, lru: 51.1, belady: 74.9, nextUse: 59 } },
  { name: "gptoss", mib: 3000, all: 32.4, cycleMib: 908, decode: { mib: 3000, lru: 44.8, belady: 67.8, nextUse: 47 } },
] as const)("$name", ({ name, mib, all, cycleMib, decode }) => {
  const { shape, iterations } = readRouteTrace(name);
  const decodeOnly = iterations.filter(({ phase }) => phase === "decode");

  test(`global LRU over ${mib} MiB hits ${all} %, as the engine that recorded it`, () => {
    expect(percent(hitRate(totalCounters(replay(shape, iterations, mib * MIB, lru()))))).toBe(all);
  });

  test("global LRU hits exactly never below a token cycle, next-use does", () => {
    const cycle = tokenCycleBytes(shape);
    expect(Math.round(cycle / MIB)).toBe(cycleMib);
    const withoutOneLayer = cycle - Math.max(...shape.expertBytes) * shape.expertsUsed;
    expect(totalCounters(replay(shape, decodeOnly, withoutOneLayer, lru())).hits).toBe(0);
    expect(totalCounters(replay(shape, decodeOnly, cycle, lru())).hits).toBeGreaterThan(0);
    expect(hitRate(replay(shape, decodeOnly, withoutOneLayer, nextUse()).decode)).toBeGreaterThan(0.15);
  });

  test(`decode hits at ${decode.mib} MiB: LRU, next-use, Belady`, () => {
    const rate = (policy: Parameters<typeof replay>[3]) =>
      percent(hitRate(replay(shape, iterations, decode.mib * MIB, policy).decode));
    expect(rate(lru())).toBe(decode.lru);
    expect(rate(belady(iterations.flatMap(({ stops }) => stops)))).toBe(decode.belady);
    expect(rate(nextUse())).toBeGreaterThan(decode.nextUse);
  });
});
