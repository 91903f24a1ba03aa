import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { MemoryZones } from "./memory-zones.test-data.ts";
import { PAGE_BYTES } from "./zone-device.ts";

const SIZE = { zones: 3, zoneBytes: 4 * PAGE_BYTES };
const page = (value: number) => new Uint8Array(PAGE_BYTES).fill(value);
const pagesOf = (...values: number[]) => Buffer.concat(values.map(page));

describe("memory zones", () => {
  test("stop after a byte: part of a page is applied, and nothing works any more", async () => {
    const device = new MemoryZones({ ...SIZE, stopAfterBytes: 2 * PAGE_BYTES + 100 });
    await device.append(0, page(1));
    await expect(device.append(1, pagesOf(2, 3))).rejects.toMatchObject({ kind: "read-only" });
    expect(device.stopped).toBe(true);
    for (const call of [() => device.append(0, page(4)), () => device.reset(0), () => device.sync()]) {
      await expect(call()).rejects.toMatchObject({ kind: "read-only" });
    }
    await expect(device.read(0, 0, 1)).rejects.toMatchObject({ kind: "read-failed" });
    const after = device.reopened();
    expect(await after.read(0, 0, 1)).toEqual(page(1));
    expect(await after.read(1, 0, 1)).toEqual(page(2));
    const torn = await after.read(1, 1, 1);
    expect(torn.subarray(0, 100)).toEqual(page(3).subarray(0, 100));
    expect(torn.subarray(100)).toEqual(page(0).subarray(100));
  });

  test("stop exactly after an append lets it through", async () => {
    const device = new MemoryZones({ ...SIZE, stopAfterBytes: PAGE_BYTES });
    await device.append(0, page(1));
    expect(device.stopped).toBe(false);
    await expect(device.append(0, page(2))).rejects.toMatchObject({ kind: "read-only" });
    expect(await device.reopened().read(0, 1, 1)).toEqual(page(0));
  });

  test("scattered, the last page can be there without the first, and just as many bytes are", async () => {
    let lastWithoutFirst = 0;
    for (let seed = 0; seed < 50; seed++) {
      const device = new MemoryZones({ ...SIZE, stopAfterBytes: 2 * PAGE_BYTES + 10, scatter: new Randomness(seed) });
      await expect(device.append(0, pagesOf(1, 2, 3, 4))).rejects.toMatchObject({ kind: "read-only" });
      const left = await device.reopened().read(0, 0, 4);
      expect(left.filter((byte) => byte !== 0).length).toBe(2 * PAGE_BYTES + 10);
      if (left[3 * PAGE_BYTES] === 4 && left[0] === 0) lastWithoutFirst++;
    }
    expect(lastWithoutFirst).toBeGreaterThan(0);
  });

  test("a full disk refuses appends and nothing else", async () => {
    const device = new MemoryZones({ ...SIZE, fullAfterBytes: 2 * PAGE_BYTES });
    await device.append(0, page(1));
    await expect(device.append(0, pagesOf(2, 3))).rejects.toMatchObject({ kind: "read-only" });
    expect(device.written(0)).toBe(PAGE_BYTES);
    await device.append(0, page(2));
    expect(await device.read(0, 1, 1)).toEqual(page(2));
    await device.reset(0);
    await device.sync();
  });

  test("flips bits and fails reads where it is told to", async () => {
    const device = new MemoryZones(SIZE);
    await device.append(2, pagesOf(0, 0, 0));
    device.flipBit(2, PAGE_BYTES + 5, 3);
    expect((await device.read(2, 1, 1))[5]).toBe(8);
    device.failReads(2, 1);
    await expect(device.read(2, 0, 2)).rejects.toMatchObject({ kind: "read-failed" });
    expect((await device.read(2, 2, 1))[5]).toBe(0);
    device.failReads(2, 1, false);
    expect((await device.read(2, 1, 1))[5]).toBe(8);
  });

  test("opened again, every zone counts as full, shows what it held before its reset, and is a copy", async () => {
    const device = new MemoryZones(SIZE);
    await device.append(0, page(1));
    await device.append(1, pagesOf(2, 3));
    await device.reset(1);
    await device.append(1, page(4));
    const after = device.reopened({ stopAfterBytes: 0 });
    expect([0, 1, 2].map((zone) => after.written(zone))).toEqual([SIZE.zoneBytes, SIZE.zoneBytes, SIZE.zoneBytes]);
    expect(await after.read(1, 0, 2)).toEqual(new Uint8Array(pagesOf(4, 3)));
    expect(await after.read(2, 0, 1)).toEqual(page(0));
    await expect(after.append(1, page(9))).rejects.toMatchObject({ kind: "bad-access" });
    await device.append(0, page(5));
    expect(await after.read(0, 1, 1)).toEqual(page(0));
    await after.reset(1);
    await expect(after.append(1, page(9))).rejects.toMatchObject({ kind: "read-only" });
  });

  test.each([
    { zones: 0, zoneBytes: PAGE_BYTES },
    { zones: 1.5, zoneBytes: PAGE_BYTES },
    { zones: 1, zoneBytes: 0 },
    { zones: 1, zoneBytes: PAGE_BYTES + 512 },
  ])("no device of %o", (size) => {
    expect(() => new MemoryZones(size)).toThrow(expect.objectContaining({ kind: "bad-options" }));
  });
});
