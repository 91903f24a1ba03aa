import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";
import { afterAll, describe, expect, test } from "vitest";
import type { ExpertKey } from "../cache/shape.ts";
import { mapFile, PAGE_BYTES, releaseMemory, viewMemory } from "./libc.ts";
import { PageCacheMemory } from "./page-cache-memory.ts";
import { ownPages } from "./page-plan.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "page-cache-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const EXPERTS = 6;
const STRIDE = 70 * PAGE_BYTES + 900;
const OFFSETS = [5000, 5000 + EXPERTS * STRIDE];
const FILE_BYTES = 5000 + 2 * EXPERTS * STRIDE + 77;
const MAPPED_BYTES = Math.ceil(FILE_BYTES / PAGE_BYTES) * PAGE_BYTES;
const key = (expert: number) => expert as ExpertKey;

const mincore = koffi.load("libc.so.6").func("int mincore(uintptr_t address, size_t bytes, _Out_ uint8_t *vector)");

function open() {
  const path = join(folder, `${Math.random()}`);
  const content = Buffer.from(Uint8Array.from({ length: FILE_BYTES }, (_, i) => i * 7 + 1));
  fs.writeFileSync(path, content);
  const fd = fs.openSync(path, "r+");
  fs.fsyncSync(fd);
  const base = mapFile(fd, FILE_BYTES);
  const completed: number[] = [];
  const memory = new PageCacheMemory({
    files: [{ path, bytes: FILE_BYTES, base }],
    layers: [OFFSETS.map((offset) => ({ file: 0, offset, strideBytes: STRIDE }))],
    expertsPerLayer: EXPERTS,
    onComplete: (complete) => completed.push(complete),
    descriptors: [fd],
  });
  const cached = (expert: number): number => {
    let bytes = 0;
    for (const offset of OFFSETS) {
      const own = ownPages(offset + expert * STRIDE, STRIDE, PAGE_BYTES);
      const pages = new Uint8Array((own.end - own.start) / PAGE_BYTES);
      expect(mincore(base + own.start, own.end - own.start, pages)).toBe(0);
      bytes += pages.reduce((sum, page) => sum + (page & 1), 0) * PAGE_BYTES;
    }
    return bytes;
  };
  const right = (expert: number): boolean =>
    OFFSETS.every((offset) => {
      const at = offset + expert * STRIDE;
      return Buffer.from(viewMemory(base + at, STRIDE)).compare(content, at, at + STRIDE) === 0;
    });
  const close = () => {
    memory.close();
    releaseMemory(base, MAPPED_BYTES);
    fs.closeSync(fd);
  };
  return { memory, completed, path, cached, right, close };
}

describe("experts in the page cache", () => {
  test("are complete when all their stages were waited for, and hold the file's bytes", () => {
    const { memory, completed, cached, right, close } = open();
    for (const expert of [1, 3]) memory.load(key(expert), "demand");
    expect(memory.ready(key(1), 0)).toBe(false);
    memory.pump(0);
    memory.wait(key(1), 0);
    expect(memory.ready(key(1), 0)).toBe(true);
    expect(completed).toEqual([]);
    memory.wait(key(1), 1);
    memory.waitForAny();
    expect(completed).toEqual([1, 3]);
    expect(memory.inFlightBytes).toBe(0);
    for (const expert of [1, 3]) {
      expect(cached(expert)).toBeGreaterThanOrEqual(2 * (STRIDE - 2 * PAGE_BYTES));
      expect(right(expert)).toBe(true);
    }
    close();
  });

  test("leave the page cache when they are evicted, and their neighbours stay", () => {
    const { memory, completed, cached, right, close } = open();
    for (const expert of [1, 2, 3]) memory.load(key(expert), "demand");
    memory.pump(0);
    for (const expert of [1, 2, 3]) for (const stage of [0, 1]) memory.wait(key(expert), stage);
    const before = cached(1);
    memory.evict(key(2));
    expect(cached(2)).toBe(0);
    expect(cached(1)).toBe(before);
    memory.load(key(2), "demand");
    memory.pump(0);
    for (const stage of [0, 1]) memory.wait(key(2), stage);
    expect(right(2)).toBe(true);
    expect(completed).toEqual([1, 2, 3, 2]);
    close();
  });

  test("that find room late are advised and awaited all the same, once", () => {
    const { memory, completed, close } = open();
    memory.load(key(4), "demand");
    memory.wait(key(4), 0);
    memory.wait(key(4), 1);
    memory.pump(0);
    expect(completed).toEqual([4]);
    expect(memory.inFlightBytes).toBe(0);
    memory.waitForAny();
    memory.load(key(5), "demand");
    memory.pump(0);
    memory.waitForAny();
    expect(completed).toEqual([4, 5]);
    close();
  });

  test("can be called off before they are advised, and no longer then", () => {
    const { memory, completed, close } = open();
    memory.load(key(0), "prefetch");
    expect(memory.cancel(key(0))).toBe("done");
    memory.pump(Number.MAX_SAFE_INTEGER);
    expect(memory.counters.bytesRead).toBe(0);
    memory.load(key(1), "prefetch");
    memory.pump(Number.MAX_SAFE_INTEGER);
    expect(memory.cancel(key(1))).toBe("refused");
    memory.waitForAny();
    expect(completed).toEqual([1]);
    close();
  });

  test("that are gone from the file fail by name instead of ending the process", () => {
    const { memory, path, close } = open();
    fs.truncateSync(path, 4096);
    memory.load(key(4), "demand");
    memory.pump(0);
    memory.wait(key(4), 0);
    expect(memory.failure).toMatchObject({ file: path });
    expect(memory.ready(key(4), 0)).toBe(false);
    close();
  });
});
