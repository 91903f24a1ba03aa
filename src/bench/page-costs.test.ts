import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { measureMemory, measureReads } from "./page-costs.ts";
import { threadCpuClock } from "./thread-cpu-time.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-pages-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, "data");
writeFileSync(file, Buffer.alloc(18 * 2 ** 20, 3));

test("moving pages costs less than faulting fresh ones in", () => {
  const costs = measureMemory(16 * 2 ** 20);
  expect(costs.faultSmall).toBeGreaterThan(1);
  expect(costs.freeSmall).toBeGreaterThan(0);
  if (costs.moveSmall !== undefined) expect(costs.moveSmall).toBeLessThan(costs.faultSmall);
});

const directTest = acceptsDirectReads(file) ? test : test.skip;

directTest("reads into fresh pages cost more inside io_submit than reads into pages that are there", () => {
  const [fresh, present] = (["fresh", "present"] as const).map((target, seed) => {
    const costs = measureReads(file, target, 16 * 2 ** 20, seed);
    if (costs === undefined) throw new Error("only moved pages may be impossible");
    return costs;
  });
  expect(fresh.submitCpuUsPerMiB).toBeGreaterThan(present.submitCpuUsPerMiB);
  expect(fresh.cpuUsPerMiB).toBeGreaterThanOrEqual(fresh.submitCpuUsPerMiB);
  expect(present.bytesPerSecond).toBeGreaterThan(1e6);
});

directTest("pages that were moved are read into as others are", () => {
  const moved = measureReads(file, "moved", 16 * 2 ** 20, 3);
  if (moved !== undefined) expect(moved.bytesPerSecond).toBeGreaterThan(1e6);
});

test("the clock of a thread counts work and not waiting", () => {
  const clock = threadCpuClock();
  const before = clock();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  const waited = clock() - before;
  const start = performance.now();
  while (performance.now() - start < 20);
  expect(waited).toBeLessThan(10);
  expect(clock() - before - waited).toBeGreaterThan(waited);
});

function acceptsDirectReads(candidate: string): boolean {
  try {
    closeSync(openSync(candidate, constants.O_RDONLY | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}
