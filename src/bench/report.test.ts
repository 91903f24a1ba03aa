import { expect, test } from "vitest";
import {
  cell,
  demandOnly,
  experts,
  firstPrompt,
  measured,
  measuredRun,
  ours,
  probe,
  run,
  stock,
} from "./report.test-data.ts";
import { resultRows } from "./report.ts";

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

test("each run is held against the device's speed around it, not against that of other minutes", () => {
  const needs = experts({ misses: 1, bytesDemanded: 1e9, stallMs: 500 });
  const rows = resultRows([
    measured(fits, ours, [run(ours, 41)]),
    {
      ...measured(half, ours, []),
      runs: [
        // 100 MB a token: 50 ms at 2 GB/s, 100 at 1 GB/s, 200 at 0.5 GB/s.
        measuredRun(run(ours, 55, { bytesRead: 1e9, experts: needs }), [probe(1.5), probe(2.5)]),
        measuredRun(run(ours, 110, { bytesRead: 1e9, experts: needs }), [probe(1)]),
        measuredRun(run(ours, 220, { bytesRead: 1e9, experts: needs }), [probe(0.5)]),
      ],
    },
  ]);
  expect(rows[1].overLimit).toBeCloseTo(1.1);
  expect(rows[1].limitMs).toBeCloseTo(100);
  expect(rows[1].readSpeedShare).toBeCloseTo(2);
  expect(rows[1].deviceBytesPerSecond).toBeCloseTo(1.25e9);
  expect(rows[1].deviceRandomBytesPerSecond).toBeCloseTo(0.625e9);
});

test("a run without a probe has no limit, but with everything in memory computing is the limit", () => {
  const rows = resultRows([
    { ...measured(fits, ours, []), runs: [measuredRun(run(ours, 41), [])] },
    { ...measured(half, ours, []), runs: [measuredRun(run(ours, 55), [])] },
  ]);
  expect(rows[0].limitMs).toBeCloseTo(41);
  expect(rows[1]).toMatchObject({ limitMs: null, overLimit: null, deviceBytesPerSecond: null });
});

test("the bytes of the first prompt are those of the first run", () => {
  const cold = cell("cold", 0.33, [ours]);
  const bytes = firstPrompt({ readBytes: 4e9 });
  expect(resultRows([measured(cold, ours, ["killed", run(ours, 10, { firstPrompt: bytes })])])[0].firstPrompt).toEqual(
    bytes,
  );
  expect(resultRows([measured(cold, ours, ["killed"])])[0].firstPrompt).toBeNull();
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
