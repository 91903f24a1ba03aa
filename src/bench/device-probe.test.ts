import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { planProbe, probeBest, probeDevice } from "./device-probe.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-probe-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, "data");
writeFileSync(file, Buffer.alloc(9 * 2 ** 20 + 5, 3));

test("a plan reads whole, aligned requests inside the file and no place twice", () => {
  const options = fc.record({
    requestBytes: fc.integer({ min: 1, max: 64 }).map((pages) => pages * 4096),
    totalBytes: fc.integer({ min: 1, max: 2 ** 26 }),
    pattern: fc.constantFrom("random" as const, "sequential" as const),
    seed: fc.integer(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 64 * 4096, max: 2 ** 27 }), options, (fileBytes, wanted) => {
      const { offsets, requestBytes } = planProbe(fileBytes, wanted);
      expect(offsets.length).toBeGreaterThan(0);
      expect(offsets.length).toBeLessThanOrEqual(Math.max(1, wanted.totalBytes / requestBytes));
      expect(new Set(offsets).size).toBe(offsets.length);
      for (const offset of offsets) {
        expect(offset % requestBytes).toBe(0);
        expect(offset + requestBytes).toBeLessThanOrEqual(fileBytes);
      }
    }),
  );
});

test("an impossible plan is refused", () => {
  expect(() => planProbe(4096, { requestBytes: 8192 })).toThrow(/no room/);
  expect(() => planProbe(2 ** 20, { requestBytes: 1000 })).toThrow(/multiple of 4096/);
});

const directTest = acceptsDirectReads(file) ? test : test.skip;

directTest("a probe reads what was planned and says how fast", () => {
  const plan = planProbe(9 * 2 ** 20 + 5, { requestBytes: 2 ** 18, depth: 4, totalBytes: 2 ** 23 });
  const result = probeDevice(file, plan);
  expect(result.bytes).toBe(2 ** 23);
  expect(result.bytesPerSecond).toBeCloseTo((result.bytes * 1000) / result.ms);
  expect(result.bytesPerSecond).toBeGreaterThan(1e6);
});

directTest("the best depth is the fastest of the tried ones", () => {
  const best = probeBest(file, [1, 4], { requestBytes: 2 ** 18, totalBytes: 2 ** 22 });
  expect([1, 4]).toContain(best.depth);
});

function acceptsDirectReads(candidate: string): boolean {
  try {
    closeSync(openSync(candidate, constants.O_RDONLY | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}
