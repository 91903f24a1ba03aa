import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { theoreticalDlwa } from "./dlwa-theory.test-data.ts";
import { PageMappedFtl } from "./page-mapped-ftl.ts";
import { SimulatedFdp } from "./simulated-fdp.ts";
import { SimulatedZns, ZN540_ZONE_BYTES } from "./simulated-zns.ts";
import { type DeviceCounters, PAGE_BYTES } from "./zone-device.ts";

const PAGE = new Uint8Array(PAGE_BYTES);

function dlwa({ nandBytesWritten, hostBytesWritten }: Readonly<DeviceCounters>): number {
  return nandBytesWritten / hostBytesWritten;
}

describe("SimulatedZns", () => {
  test("has the ZN540's geometry: zones of 275,712 pages, 14 of them begun at a time", async () => {
    const device = new SimulatedZns({ zones: 16, store: false });
    expect(device.zoneBytes).toBe(275_712 * PAGE_BYTES);
    for (let zone = 0; zone < 14; zone++) await device.append(zone, PAGE);
    await expect(device.append(14, PAGE)).rejects.toMatchObject({ kind: "bad-access" });
    await device.append(3, PAGE);
    await device.reset(5);
    await device.append(14, PAGE);
    await expect(device.append(15, PAGE)).rejects.toMatchObject({ kind: "bad-access" });
    await device.append(0, new Uint8Array(ZN540_ZONE_BYTES - PAGE_BYTES));
    await device.append(15, PAGE);
  });

  test("without bytes counts the same, and reads zeros", async () => {
    const device = new SimulatedZns({ zones: 2, zoneBytes: 4 * PAGE_BYTES, store: false });
    await device.append(0, new Uint8Array(2 * PAGE_BYTES).fill(7));
    expect(await device.read(0, 1, 1)).toEqual(PAGE);
    expect(device.counters).toMatchObject({ hostBytesWritten: 8192, nandBytesWritten: 8192, hostBytesRead: 4096 });
  });
});

describe("PageMappedFtl", () => {
  test("counts as theory says: 20 % more flash than the host sees, FIFO cleaning", async () => {
    const blocks = 60_000;
    const device = new PageMappedFtl({ blocks, overprovisioning: 0.2, cleaning: "fifo", store: false });
    const random = new Randomness(11);
    const write = async (count: number) => {
      for (let i = 0; i < count; i++) await device.write(Math.floor(random.next() * blocks), PAGE);
    };
    for (let block = 0; block < blocks; block++) await device.write(block, PAGE);
    await write(3 * blocks);
    const before = { ...device.counters };
    await write(5 * blocks);
    const host = device.counters.hostBytesWritten - before.hostBytesWritten;
    const nand = device.counters.nandBytesWritten - before.nandBytesWritten;
    expect(host).toBe(5 * blocks * PAGE_BYTES);
    expect(Math.abs(nand / host / theoreticalDlwa(1 / 1.2) - 1)).toBeLessThan(0.03);
    // What is programmed must have been erased before.
    const erased = device.counters.resets * 64 * PAGE_BYTES;
    expect(erased / device.counters.nandBytesWritten).toBeGreaterThan(0.85);
    expect(erased).toBeLessThan(device.counters.nandBytesWritten);
  });
});

describe("SimulatedFdp", () => {
  /** A cache as of arXiv 2503.11665: large objects in sequence on 90 % of the space, small ones at random on 10 %. */
  async function cacheOn(smallHandle: number): Promise<{ whole: number; large: number; small: number }> {
    const unitPages = 128;
    const units = 320;
    const logicalPages = Math.floor(units * unitPages * 0.93);
    const drive = new SimulatedFdp({
      ...{ reclaimUnitBytes: unitPages * PAGE_BYTES, reclaimUnits: units, handles: 2, store: false },
      capacityBytes: logicalPages * PAGE_BYTES,
    });
    const zones = 267;
    const large = drive.zones({ zones, zoneBytes: unitPages * PAGE_BYTES, handle: 0 });
    const smallBlocks = logicalPages - zones * unitPages;
    const small = drive.blocks({ blocks: smallBlocks, handle: smallHandle });
    const random = new Randomness(2);
    for (let i = 0; i < 8 * zones; i++) {
      const zone = i % zones;
      if (large.written(zone) > 0) await large.reset(zone);
      for (let page = 0; page < unitPages; page++) {
        await large.append(zone, PAGE);
        await small.write(Math.floor(random.next() * smallBlocks), PAGE);
      }
    }
    return { whole: drive.map.writeAmplification, large: dlwa(large.counters), small: dlwa(small.counters) };
  }

  test("with a handle of their own, random writes cost large objects nothing; together they cost all", async () => {
    const apart = await cacheOn(1);
    const together = await cacheOn(0);
    expect(apart.large).toBe(1);
    expect(apart.whole).toBeLessThan(1.4);
    expect(together.whole).toBeGreaterThan(1.5 * apart.whole);
    expect(together.large).toBeGreaterThan(1);
    // Both parts are written alike, so the drive's figure lies in the middle.
    for (const { whole, large, small } of [apart, together]) expect((large + small) / 2).toBeCloseTo(whole, 10);
  });

  test("hands out no more than it has, and only its own handles", () => {
    const drive = new SimulatedFdp({
      ...{ reclaimUnitBytes: 4 * PAGE_BYTES, reclaimUnits: 20, capacityBytes: 40 * PAGE_BYTES },
    });
    drive.blocks({ blocks: 30, handle: 7 });
    const bad = expect.objectContaining({ kind: "bad-options" });
    expect(() => drive.blocks({ blocks: 11, handle: 0 })).toThrow(bad);
    expect(() => drive.zones({ zones: 3, zoneBytes: 4 * PAGE_BYTES, handle: 0 })).toThrow(bad);
    expect(() => drive.blocks({ blocks: 1, handle: 8 })).toThrow(bad);
    drive.zones({ zones: 2, zoneBytes: 4 * PAGE_BYTES, handle: 0 });
  });
});
