import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { BlocksOnZones } from "../device/blocks-on-zones.ts";
import { MemoryZones, type MemoryZonesOptions } from "../device/memory-zones.test-data.ts";
import { PageMappedFtl } from "../device/page-mapped-ftl.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { againstMap, keyOf, residentsByFates, versionedValue } from "./against-map.test-data.ts";
import { type KangarooOptions, openKangaroo } from "./kangaroo.ts";

const ZONE_BYTES = 8 * PAGE_BYTES;

function smallDevices(faults: Partial<MemoryZonesOptions> = {}, blocks = 40) {
  return {
    log: new MemoryZones({ zones: 4, zoneBytes: ZONE_BYTES, ...faults }),
    sets: new PageMappedFtl({ blocks, overprovisioning: Math.max(1, 64 / blocks), eraseBlockPages: 8 }),
  };
}

const SMALL: KangarooOptions = { segmentBytes: 4 * PAGE_BYTES };

describe("kangaroo", () => {
  it("never answers with an older version than the last put", async () => {
    for (const threshold of [1, 2, 3]) {
      for (let seed = 0; seed < 8; seed++) {
        const engine = await openKangaroo(smallDevices(), { ...SMALL, threshold, seed, partitions: (seed % 2) + 1 });
        const { hits } = await againstMap(engine, { seed, steps: 4000, keys: 1500 });
        expect(hits).toBeGreaterThan(100);
        await engine.close();
      }
    }
  });

  it("holds to it on zones, in one set alone and with pages that cannot be read", async () => {
    for (let seed = 0; seed < 8; seed++) {
      const onZones = new BlocksOnZones(new MemoryZones({ zones: 10, zoneBytes: ZONE_BYTES }), { blocks: 40 });
      const zoned = await openKangaroo({ ...smallDevices(), sets: onZones }, { ...SMALL, seed });
      expect((await againstMap(zoned, { seed, steps: 3000, keys: 1500 })).hits).toBeGreaterThan(50);
      const single = await openKangaroo(smallDevices({}, 1), { ...SMALL, seed, segmentBytes: PAGE_BYTES });
      expect((await againstMap(single, { seed, steps: 1500, keys: 60, meanBytes: 40 })).hits).toBeGreaterThan(50);

      const devices = smallDevices();
      const random = new Randomness(seed);
      const failing = await openKangaroo(devices, { ...SMALL, seed });
      const before = () => {
        const page = Math.floor(random.next() * 32);
        devices.log.failReads(page >> 3, page & 7, random.next() < 0.3);
      };
      expect((await againstMap(failing, { seed, steps: 3000, keys: 1500, before })).hits).toBeGreaterThan(50);
      expect(failing.stats().readErrors).toBeGreaterThan(0);
    }
  });

  it("goes on read-only, and still with nothing old, when the log's device is full", async () => {
    const engine = await openKangaroo(smallDevices({ fullAfterBytes: 60 * PAGE_BYTES }), SMALL);
    await againstMap(engine, { seed: 1, steps: 6000, keys: 1500 });
    expect(engine.stats().readOnly).toMatch(/full/);
    expect(await engine.put(keyOf(1), versionedValue(1, 1, 10))).toBe(false);
    expect(await engine.get(keyOf(1))).toBeUndefined();
  });

  it("writes a set for two objects, drops one alone, and puts back one that was read", async () => {
    const devices = smallDevices({}, 4000);
    const engine = await openKangaroo(devices, { ...SMALL, admission: 1 });
    // Four thousand sets and a log of about a hundred objects: next to none wait together.
    for (let i = 0; i < 1000; i++) {
      await engine.put(keyOf(i), versionedValue(i, 0, 900));
      await engine.get(keyOf(0));
    }
    const { fates, residentObjects } = engine.stats();
    expect(devices.sets.counters.hostBytesWritten).toBeLessThan(50 * PAGE_BYTES);
    expect(await engine.get(keyOf(0))).toBeDefined();
    expect(fates.readmitted).toBeGreaterThan(3);
    expect(fates.migrated).toBeLessThan(100);
    expect(fates.evictedCold).toBe(1000 - residentObjects);

    const few = await openKangaroo(smallDevices({}, 40), { ...SMALL, admission: 1 });
    for (let i = 0; i < 1000; i++) await few.put(keyOf(i), versionedValue(i, 0, 900));
    expect(few.stats().fates.migrated).toBeGreaterThan(600);
  });

  it("keeps its accounts", async () => {
    const devices = smallDevices();
    const engine = await openKangaroo(devices, { ...SMALL, admission: 0.9 });
    const puts = 4000;
    for (let i = 0; i < puts; i++) await engine.put(keyOf(i % 1200), versionedValue(i, 0, 200));
    const stats = engine.stats();
    expect(stats.fates.notAdmitted).toBeGreaterThan(puts * 0.07);
    expect(stats.fates.notAdmitted).toBeLessThan(puts * 0.13);
    expect(residentsByFates(stats, puts - stats.fates.notAdmitted)).toBe(stats.residentObjects);
    const { log, sets } = devices;
    expect(stats.deviceBytesWritten).toBe(log.counters.hostBytesWritten + sets.counters.hostBytesWritten);
    expect(stats.fillRate.all).toBeGreaterThan(stats.fillRate.fresh);
    expect(stats.unsavedBytes).toBeLessThanOrEqual(4 * PAGE_BYTES);
    let hits = 0;
    for (let i = 0; i < 1200; i++) if ((await engine.get(keyOf(i))) !== undefined) hits++;
    expect(hits).toBeLessThanOrEqual(stats.residentObjects);
    const after = engine.stats();
    expect(after.hitsRam + after.hitsFlash).toBe(hits);
    // Beside these, tombstones of what admission refused.
    expect(after.setPagesRead).toBeGreaterThanOrEqual(after.hitsFlash + after.falsePositives);
    expect(after.setPagesRead).toBeLessThan(after.hitsFlash + after.falsePositives + 100);
  });

  it("takes keys and values at their limits, and refuses those beyond", async () => {
    const engine = await openKangaroo(smallDevices(), { ...SMALL, admission: 1 });
    const most = engine.maxObjectBytes - keyOf(1).bytes.length;
    expect(await engine.put(keyOf(1), new Uint8Array(most))).toBe(true);
    expect(await engine.put(keyOf(2), new Uint8Array(0))).toBe(true);
    expect(await engine.get(keyOf(1))).toHaveLength(most);
    expect(await engine.get(keyOf(2))).toHaveLength(0);
    expect(await engine.put(keyOf(1), new Uint8Array(most + 1))).toBe(false);
    expect(await engine.get(keyOf(1))).toBeUndefined();
    await engine.close();
    await expect(engine.get(keyOf(1))).rejects.toMatchObject({ kind: "closed" });
  });

  it("finds nothing of an engine before it", async () => {
    const devices = smallDevices();
    const first = await openKangaroo(devices, { ...SMALL, admission: 1 });
    for (let i = 0; i < 1500; i++) await first.put(keyOf(i), versionedValue(i, 0, 200));
    await first.flush();
    const second = await openKangaroo(devices, { ...SMALL, admission: 1 });
    for (let i = 0; i < 1500; i++) expect(await second.get(keyOf(i))).toBeUndefined();
    expect(second.stats().setPagesRead).toBe(0);
  });

  it("refuses what it cannot be built of", async () => {
    const wrong: KangarooOptions[] = [{ admission: 0 }, { threshold: 0 }, { partitions: 3 }, { segmentBytes: 1000 }];
    for (const options of [...wrong, { filterBytes: 0 }, { logFreeShare: 1 }]) {
      await expect(openKangaroo(smallDevices(), options)).rejects.toMatchObject({ kind: "bad-options" });
    }
  });
});
