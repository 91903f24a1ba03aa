import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { MemoryZones, type MemoryZonesOptions } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { againstMap, keyOf, residentsByFates, versionedValue } from "../kangaroo/against-map.test-data.ts";
import { type FairywrenOptions, openFairywren } from "./fairywren.ts";

const ZONE_BYTES = 8 * PAGE_BYTES;

function smallDevice(faults: Partial<MemoryZonesOptions> = {}): MemoryZones {
  return new MemoryZones({ zones: 24, zoneBytes: ZONE_BYTES, ...faults });
}

const SMALL: FairywrenOptions = { segmentBytes: 4 * PAGE_BYTES, sliceBytes: 3 * PAGE_BYTES, logShare: 0.2 };

describe("fairywren", () => {
  it("never answers with an older version than the last put", async () => {
    for (let seed = 0; seed < 10; seed++) {
      const engine = await openFairywren(smallDevice(), {
        ...SMALL,
        partitions: (seed % 2) + 1,
        hotEvery: 1 + (seed % 5),
      });
      const { hits } = await againstMap(engine, { seed, steps: 4000, keys: 2500 });
      expect(hits).toBeGreaterThan(500);
      expect(engine.stats().fairywren.zonesCleaned).toBeGreaterThan(10);
      await engine.close();
    }
  });

  it("holds to it with pages that cannot be read, and in one bucket alone", async () => {
    for (let seed = 0; seed < 5; seed++) {
      const device = smallDevice();
      const random = new Randomness(seed);
      const engine = await openFairywren(device, SMALL);
      const before = () => {
        const page = Math.floor(random.next() * 24 * 8);
        device.failReads(page >> 3, page & 7, random.next() < 0.3);
      };
      expect((await againstMap(engine, { seed, steps: 5000, keys: 2500, before })).hits).toBeGreaterThan(50);
      expect(engine.stats().readErrors).toBeGreaterThan(0);

      const tiny = new MemoryZones({ zones: 10, zoneBytes: 2 * PAGE_BYTES });
      const single = await openFairywren(tiny, { segmentBytes: PAGE_BYTES, overprovisioning: 0.8 });
      expect((await againstMap(single, { seed, steps: 1500, keys: 60, meanBytes: 40 })).hits).toBeGreaterThan(50);
    }
  });

  it("goes on read-only, and still with nothing old, when the device is full", async () => {
    const engine = await openFairywren(smallDevice({ fullAfterBytes: 300 * PAGE_BYTES }), SMALL);
    await againstMap(engine, { seed: 1, steps: 9000, keys: 2500 });
    expect(engine.stats().readOnly).toMatch(/full/);
    expect(await engine.put(keyOf(1), versionedValue(1, 1, 10))).toBe(false);
    expect(await engine.get(keyOf(1))).toBeUndefined();
  });

  it("keeps its accounts", async () => {
    const device = smallDevice();
    const engine = await openFairywren(device, SMALL);
    const puts = 9000;
    for (let i = 0; i < puts; i++) await engine.put(keyOf(i % 3100), versionedValue(i, 0, 200));
    const stats = engine.stats();
    expect(residentsByFates(stats, puts)).toBe(stats.residentObjects);
    expect(stats.deviceBytesWritten).toBe(device.counters.hostBytesWritten);
    expect(stats.fillRate.all).toBeGreaterThan(stats.fillRate.fresh);
    let hits = 0;
    for (let i = 0; i < 3100; i++) if ((await engine.get(keyOf(i))) !== undefined) hits++;
    expect(hits).toBeGreaterThan(stats.residentObjects * 0.9);
    expect(hits).toBeLessThanOrEqual(stats.residentObjects);
    const after = engine.stats();
    expect(after.hitsRam + after.hitsFlash).toBe(hits);
    expect(after.setPagesRead).toBe(after.hitsFlash + after.falsePositives);
  });

  it("loses no object of the log that has room in its set: what the published code did", async () => {
    // A quarter of what the device holds: no set overflows, so everything must be found.
    const device = new MemoryZones({ zones: 24, zoneBytes: 4 * ZONE_BYTES });
    const engine = await openFairywren(device, { segmentBytes: 4 * PAGE_BYTES, logShare: 0.1 });
    const keys = 2500;
    for (let i = 0; i < keys; i++) await engine.put(keyOf(i), versionedValue(i, 0, 200));
    expect(engine.stats().fates.migrated).toBeGreaterThan(500);
    let right = 0;
    for (let i = 0; i < keys; i++) {
      const value = await engine.get(keyOf(i));
      if (value !== undefined && Buffer.compare(value, versionedValue(i, 0, 200)) === 0) right++;
    }
    expect(right).toBe(keys);
  });

  it("keeps what is read when the rest is put out", async () => {
    const engine = await openFairywren(smallDevice(), SMALL);
    const wanted = 60;
    for (let i = 0; i < 12_000; i++) {
      await engine.put(keyOf(i), versionedValue(i, 0, 200));
      if (i % 5 === 0) await engine.get(keyOf((i / 5) % wanted));
    }
    let kept = 0;
    let others = 0;
    for (let i = 0; i < wanted; i++) {
      if ((await engine.get(keyOf(i))) !== undefined) kept++;
      if ((await engine.get(keyOf(2000 + i))) !== undefined) others++;
    }
    expect(kept).toBeGreaterThan(wanted * 0.9);
    expect(others).toBeLessThan(wanted * 0.3);
  });

  it("finds nothing of an engine before it, and refuses what it cannot be built of", async () => {
    const device = smallDevice();
    const first = await openFairywren(device, SMALL);
    for (let i = 0; i < 1500; i++) await first.put(keyOf(i), versionedValue(i, 0, 200));
    const second = await openFairywren(device.reopened(), SMALL);
    for (let i = 0; i < 1500; i++) expect(await second.get(keyOf(i))).toBeUndefined();
    const wrong: FairywrenOptions[] = [{ logShare: 1 }, { hotEvery: 0 }, { admission: 2 }, { sliceBytes: 100 }];
    for (const options of [...wrong, { segmentBytes: 2 ** 30 }, { partitions: 2 }]) {
      await expect(openFairywren(smallDevice(), options)).rejects.toMatchObject({ kind: "bad-options" });
    }
    const few = new MemoryZones({ zones: 6, zoneBytes: ZONE_BYTES });
    await expect(openFairywren(few)).rejects.toMatchObject({ kind: "bad-options" });
  });
});
