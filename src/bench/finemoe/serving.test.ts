import { expect, test } from "vitest";
import { runOf } from "./bench-rows.test-data.ts";
import { rateForLoad, serve } from "./serving.ts";

/** A request of these takes 10 + 8 times the time of a token. */
const run = runOf("lru", new Array<number>(200).fill(10));
const OWN_MS = 180;

test("alone, a request takes what it takes", () => {
  const { latencyMs, firstTokenMs, load } = serve(run, 1e-4);
  expect(latencyMs.p50).toBeCloseTo(OWN_MS, 9);
  expect(firstTokenMs.p99).toBeCloseTo(100, 9);
  expect(load).toBeLessThan(1e-3);
});

test("with more work than time every request waits for all before it", () => {
  const { latencyMs, load, cdfMs } = serve(run, 1e6);
  expect(load).toBeGreaterThan(100);
  expect(latencyMs.p50).toBeCloseTo(100.5 * OWN_MS, 0);
  expect(cdfMs[20]).toBeCloseTo(200 * OWN_MS, -1);
  expect([...cdfMs].sort((a, b) => a - b)).toEqual(cdfMs);
});

test("the rate for a load is the one at which the machine is busy so long", () => {
  const rate = rateForLoad(run, 0.5);
  expect((rate * OWN_MS) / 1000).toBeCloseTo(0.5, 9);
  expect(serve(run, rate).load).toBeGreaterThan(0.35);
  expect(serve(run, rate).load).toBeLessThan(0.7);
});
