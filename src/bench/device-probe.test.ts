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

test("a plan reads aligned requests inside the file and no place twice", () => {
  const options = fc.record({
    requestBytes: fc.integer({ min: 1, max: 64 }).map((pages) => pages * 4096),
    totalBytes: fc.integer({ min: 1, max: 2 ** 23 }),
    pattern: fc.constantFrom("random" as const, "sequential" as const, "slices" as const),
    sliceBytes: fc.integer({ min: 1, max: 64 * 4096 }),
    seed: fc.integer(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 64 * 4096, max: 2 ** 27 }), options, (fileBytes, wanted) => {
      const { requests, requestBytes, contiguousBytes } = planProbe(fileBytes, wanted);
      const sorted = [...requests].sort((a, b) => a.offset - b.offset);
      expect(requests.length).toBeGreaterThan(0);
      for (const [i, { offset, bytes }] of sorted.entries()) {
        expect(offset % 4096).toBe(0);
        expect(bytes % 4096).toBe(0);
        expect(bytes).toBeGreaterThan(0);
        expect(bytes).toBeLessThanOrEqual(requestBytes);
        expect(offset + bytes).toBeLessThanOrEqual(sorted[i + 1]?.offset ?? fileBytes);
      }
      const total = requests.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(total % contiguousBytes).toBe(0);
      expect(total).toBeLessThanOrEqual(Math.max(contiguousBytes, wanted.totalBytes));
    }),
  );
});

test("slices are read from end to end, each somewhere else than the one before", () => {
  const options = { pattern: "slices", sliceBytes: 2.5 * 2 ** 20 - 100, totalBytes: 15 * 2 ** 20 } as const;
  const { requests, contiguousBytes } = planProbe(2 ** 30, options);
  expect(contiguousBytes).toBe(2.5 * 2 ** 20);
  expect(requests.slice(0, 3).map(({ bytes }) => bytes)).toEqual([2 ** 20, 2 ** 20, 2 ** 19]);
  for (const [i, { offset, bytes }] of requests.entries()) {
    const next = requests[i + 1]?.offset;
    if (i % 3 < 2) expect(next).toBe(offset + bytes);
    else if (next !== undefined) expect(Math.abs(next - offset)).toBeGreaterThan(100 * 2 ** 20);
  }
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
