import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { measureBursts, measureDevice } from "./measure-device.ts";

test("measures a drive and leaves nothing behind", () => {
  const directory = fs.mkdtempSync(path.join(tmpdir(), "measure-"));
  try {
    const figures = measureDevice({ directory, inFlight: 8, seconds: 0.05, bytes: 4 * 2 ** 20 });
    expect(figures.inFlight).toBe(8);
    expect(figures.readsPerSecond).toBeGreaterThan(0);
    expect(figures.writeBytesPerSecond).toBeGreaterThan(0);
    expect(figures.p50Us).toBeGreaterThan(0);
    expect(figures.p99Us).toBeGreaterThanOrEqual(figures.p50Us);
    expect(figures.p9999Us).toBeGreaterThanOrEqual(figures.p99Us);
    // Little's law: what is in flight is rate times mean latency, and the mean is not far from the median's order.
    expect((figures.readsPerSecond * figures.p50Us) / 1e6).toBeLessThan(2 * 8);
    const bursts = { directory, bytes: 4 * 2 ** 20, burstBytes: 2 ** 20, pauseMs: 1, seconds: 0.05 };
    expect(measureBursts(bursts)).toBeGreaterThan(0);
    expect(fs.readdirSync(directory)).toEqual([]);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});
