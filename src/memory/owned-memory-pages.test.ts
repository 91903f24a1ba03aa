/** Which pages come and go with experts: what stays whole, what is given back, what is moved. */
import fs from "node:fs";
import { describe, expect, test } from "vitest";
import type { ExpertKey } from "../cache/shape.ts";
import { createAio } from "./aio.ts";
import { EVEN, ODD, offsetOf } from "./expert-file.test-data.ts";
import { PAGE_BYTES, viewMemory } from "./libc.ts";
import { type CreateReads, demandWhole, EDGE_BYTES, expectBytes, openMemory } from "./opened-memory.test-data.ts";
import { coveringPages, ownPages } from "./page-plan.ts";

const TOTAL_BYTES = ODD.expertBytes;
const DIRECT = fs.constants.O_RDONLY | fs.constants.O_DIRECT;

test("the test file has slices under a page and pages shared by neighbours", () => {
  const own = ODD.layers.flat().map((s) => ownPages(s.offset, s.strideBytes, PAGE_BYTES));
  expect(own.some(({ start, end }) => start === end)).toBe(true);
  expect(EDGE_BYTES).toBeGreaterThan(0);
  expect(coveringPages(ODD.layers[0][0].offset, 1, PAGE_BYTES).start).toBeLessThan(ODD.layers[0][0].offset);
});

describe("huge pages", () => {
  test("of an expert in a slot stay whole when they move to another one", ({ skip }) => {
    const file = EVEN;
    const opened = openMemory(
      (fd, done) => createAio([{ path: file.path, fd }], done),
      DIRECT,
      { budgetBytes: file.expertBytes },
      "slots",
    );
    const without = hugeBytes();
    demandWhole(opened, 10);
    const before = hugeBytes();
    if (before === without) {
      opened.close();
      skip("this system gave no transparent huge pages, so there is nothing to keep whole");
    }
    for (const next of [11, 12, 13, 14]) {
      opened.memory.evict((next - 1) as ExpertKey);
      demandWhole(opened, next);
      expectBytes(opened, next);
      expect(hugeBytes()).toBe(before);
    }
    expect(opened.memory.counters.recycledBytes).toBeGreaterThan(0);
    opened.close();
  });

  function hugeBytes(): number {
    const rollup = fs.readFileSync("/proc/self/smaps_rollup", "latin1");
    return 1024 * Number(/^AnonHugePages:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
  }
});

describe("eviction", () => {
  const create: CreateReads = (fd, done) => createAio([{ path: ODD.path, fd }], done);
  test("leaves nothing of the expert's own pages, and all of its neighbours", () => {
    const opened = openMemory(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: false });
    for (const key of [0, 1, 2]) demandWhole(opened, key);
    opened.memory.evict(1 as ExpertKey);
    for (const [stage, slice] of ODD.slicesOf(1).entries()) {
      const start = offsetOf(1, slice);
      const own = ownPages(start, slice.strideBytes, PAGE_BYTES);
      const address = opened.addressOf(1, stage) + own.start - start;
      expect(Buffer.from(viewMemory(address, own.end - own.start)).every((byte) => byte === 0)).toBe(true);
    }
    expectBytes(opened, 0);
    expectBytes(opened, 2);
    opened.close();
  });

  test("and loading again leaves no page that somebody else still counts on", () => {
    // Pages of evicted experts wait for a new owner; when their expert comes back, they are its own again.
    const opened = openMemory(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: true });
    for (const key of [5, 6, 7]) demandWhole(opened, key);
    for (const key of [5, 6, 7]) opened.memory.evict(key as ExpertKey);
    for (const key of [6, 5, 8, 7, 9]) demandWhole(opened, key);
    for (const key of [5, 6, 7, 8, 9]) expectBytes(opened, key);
    expect(opened.memory.recycling).toBe(true);
    opened.close();
  });

  test("moves no more pages than the kernel has mappings for", () => {
    const opened = openMemory(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: true, mappingLimit: 0 });
    for (const key of [5, 6]) demandWhole(opened, key);
    opened.memory.evict(5 as ExpertKey);
    demandWhole(opened, 7);
    expect(opened.memory.counters.recycledBytes).toBe(0);
    expectBytes(opened, 6);
    expectBytes(opened, 7);
    opened.close();
  });
});
