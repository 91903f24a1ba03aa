import { describe, expect, test } from "vitest";
import { cell, demandOnly, experts, measured, ours, run, stock } from "./report.test-data.ts";
import { computeAloneMs, judgeTargets, resultRows } from "./report.ts";

const fits = cell("fits", 1.25, [stock, ours]);
const half = cell("limited", 0.5, [stock, ours, demandOnly]);
const suite = [
  measured(fits, stock, [run(stock, 40)]),
  measured(fits, ours, [run(ours, 42), run(ours, 40), run(ours, 41)]),
  measured(half, stock, [run(stock, 240), run(stock, 200), run(stock, 210)]),
  measured(half, ours, [
    run(ours, 100, {
      bytesRead: 9e8,
      predictions: [1, 2, 3, 5],
      experts: experts({
        hits: 70,
        lateHits: 10,
        misses: 20,
        bytesDemanded: 6e8,
        bytesPrefetched: 3e8,
        bytesWasted: 1e8,
        stallMs: 400,
      }),
    }),
  ]),
  measured(half, demandOnly, [
    run(ours, 130, { bytesRead: 8e8, experts: experts({ misses: 30, hits: 70, bytesDemanded: 8e8, stallMs: 900 }) }),
  ]),
];
const [stockFits, oursFits, stockHalf, oursHalf, demandHalf] = resultRows(suite);

test("figures are medians over the runs, and ratios are against llama.cpp in the same cell", () => {
  expect(stockHalf.tokensPerSecond).toBeCloseTo(1000 / 210);
  expect(oursFits.tokensPerSecond).toBeCloseTo(1000 / 41);
  expect(oursFits.speedup).toBeCloseTo(40 / 41);
  expect(oursHalf.speedup).toBeCloseTo(2.1);
  expect(stockFits.speedup).toBeNull();
  expect(stockHalf.majorFaultsPerToken).toBe(2);
});

test("expert figures are per token and only known of warmset", () => {
  expect(oursHalf.hitRate).toBe(0.7);
  expect(oursHalf.bytesPerToken).toBe(9e7);
  expect(oursHalf.stallMs).toBe(40);
  expect(oursHalf.agreement).toBe(0.75);
  expect(stockHalf).toMatchObject({ hitRate: null, stallMs: null, agreement: null, policy: undefined });
});

test("the limit is the larger of computing alone and missed bytes, and unused prefetches do not count as missed", () => {
  // 80 MB a token were needed and missed: 80 ms on a device of 1 GB/s, against 41 ms of computing.
  expect(oursHalf.limitMs).toBeCloseTo(80);
  expect(oursHalf.overLimit).toBeCloseTo(100 / 80);
  expect(oursFits.limitMs).toBeCloseTo(41);
  expect(demandHalf.readSpeedShare).toBeCloseTo(80 / 90);
  expect(oursFits.readSpeedShare).toBeNull();
});

test("a contender that was killed has a row without figures that says so", () => {
  const rows = resultRows([
    measured(half, stock, ["killed", "killed"]),
    measured(half, ours, [run(ours, 100), "killed"]),
  ]);
  expect(rows[0]).toMatchObject({ runs: 0, attempts: 2, tokensPerSecond: null, ttftMs: null, tpotMs: { p50: null } });
  expect(rows[0].failures).toEqual(["killed by the memory limit", "killed by the memory limit"]);
  expect(rows[1]).toMatchObject({ runs: 1, attempts: 2, tokensPerSecond: 10, speedup: null, agreement: null });
});

describe("targets", () => {
  const targets = judgeTargets(resultRows(suite), "next-use", computeAloneMs(suite));
  const target = (name: string) => targets.find((candidate) => candidate.name === name);

  test("are met or missed by the rows", () => {
    expect(target("tok/s over llama.cpp's at 50 %")).toMatchObject({ met: true });
    expect(target("time of a token over its limit at 50 %")).toMatchObject({ met: false });
    expect(target("reading speed over the device's at 50 %")).toMatchObject({ met: true });
    expect(target("stall with prefetching over stall without at 50 %")?.measured).toBeCloseTo(40 / 90);
    expect(target("peak RSS over the limit at 50 %")).toMatchObject({ measured: 0.9, met: true });
    expect(target("tok/s over llama.cpp's when all fits")).toMatchObject({ met: true });
  });

  test("are neither where nothing was measured", () => {
    expect(target("tok/s over llama.cpp's at 20 %")).toMatchObject({ measured: null, met: null });
  });

  test("of reading speed are left out where computing is what takes the time", () => {
    const fast = suite.map((one) =>
      one.contender === demandOnly ? measured(half, demandOnly, [run(ours, 60, { bytesRead: 1e8 })]) : one,
    );
    const names = judgeTargets(resultRows(fast), "next-use", computeAloneMs(fast)).map(({ name }) => name);
    expect(names).not.toContain("reading speed over the device's at 50 %");
  });
});

test("cold starts are compared prompt by prompt", () => {
  const cold = { ...cell("cold", 0.33, [stock, ours]), promptTokens: 64 };
  const rows = resultRows([
    measured(cold, stock, [run(stock, 10, { ttftMs: 10_000, bytesBeforeFirstToken: 7e9 })]),
    measured(cold, ours, [run(ours, 10, { ttftMs: 4000, bytesBeforeFirstToken: 8e9 })]),
  ]);
  const targets = judgeTargets(rows, "next-use", {});
  expect(targets.find(({ name }) => name.startsWith("first token"))).toMatchObject({ measured: 0.4, met: true });
  expect(targets.find(({ name }) => name.startsWith("bytes before"))).toMatchObject({ met: false });
});
