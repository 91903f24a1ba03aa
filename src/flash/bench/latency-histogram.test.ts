import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.ts";

test("quantiles are within 2 % of the exact ones", () => {
  const times = new LatencyHistogram();
  for (let i = 1; i <= 100_000; i++) times.add(i / 10);
  const { p50, p99, p9999 } = times.summary();
  for (const [measured, exact] of [
    [p50, 5000],
    [p99, 9900],
    [p9999, 9999],
  ])
    expect(Math.abs(measured / exact - 1)).toBeLessThan(0.02);
});

test("times beyond its ends count as the ends", () => {
  const times = new LatencyHistogram();
  times.add(0);
  times.add(1e12);
  expect(times.count).toBe(2);
  expect(times.quantile(0.5)).toBeLessThan(0.02);
  expect(times.quantile(1)).toBeGreaterThan(6e7);
  expect(new LatencyHistogram().quantile(0.5)).toBeNaN();
});
