/** Pages that cannot be read (EIO), while a cache is opened and while it is used: misses that are counted, never an error, never a lie. */
import { describe, expect, test } from "vitest";
import { keyOf, versionOf, writtenValue } from "../../src/bench/flash-faults/written-values.ts";
import { MemoryZones } from "../../src/flash/device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../../src/flash/device/zone-device.ts";
import type { FlashEngine } from "../../src/flash/engine.ts";
import { openLogCache } from "../../src/flash/log-cache/log-cache.ts";
import { openNemo } from "../../src/flash/nemo/open.ts";
import { FaultyBlocks } from "../../src/flash/set-cache/faulty-blocks.test-data.ts";
import { openSetCache } from "../../src/flash/set-cache/set-cache.ts";
import { Randomness } from "../../src/predict/randomness.ts";

const ZONES = 10;
const ZONE_BYTES = 6 * PAGE_BYTES;
const KEYS = 300;

/** A device whose pages can be made to fail, with its cache opened again as after a kill. */
interface FailingDevice {
  /** Pages of zones, or blocks. */
  readonly pages: number;
  fail(page: number, failing: boolean): void;
  open(): Promise<FlashEngine>;
  reopened(): FailingDevice;
}

function failingZones(openOn: (device: MemoryZones) => Promise<FlashEngine>, device: MemoryZones): FailingDevice {
  const zonePages = ZONE_BYTES / PAGE_BYTES;
  return {
    pages: ZONES * zonePages,
    fail: (page, failing) => device.failReads(Math.floor(page / zonePages), page % zonePages, failing),
    open: () => openOn(device),
    reopened: () => failingZones(openOn, device.reopened()),
  };
}

function failingBlocks(device: FaultyBlocks): FailingDevice {
  return {
    pages: device.blocks,
    fail: (block, failing) => (failing ? device.failing.add(block) : device.failing.delete(block)),
    open: () => openSetCache(device),
    reopened: () => failingBlocks(device.reopened()),
  };
}

const newZones = () => new MemoryZones({ zones: ZONES, zoneBytes: ZONE_BYTES });
const DEVICES = {
  nemo: () =>
    failingZones(
      (device) => openNemo(device, { groupSetGroups: 2, checkpointZones: 2, flushThreshold: 0.5 }),
      newZones(),
    ),
  log: () => failingZones((device) => openLogCache(device, { bufferBytes: PAGE_BYTES }), newZones()),
  set: () => failingBlocks(new FaultyBlocks(40)),
} as const;

describe.each(["nemo", "log", "set"] as const)("%s with pages that cannot be read", (name) => {
  test("misses, opens, and never returns what is older than was put last", async () => {
    const random = new Randomness(3, name.length);
    let [hits, errors] = [0, 0];
    for (let run = 0; run < 60; run++) {
      let device = DEVICES[name]();
      let engine = await device.open();
      /** Of the versions put, the oldest that may be seen. */
      const floor = new Map<number, number>();
      let version = 1;
      for (let life = 0; life < 3; life++) {
        for (let step = 0; step < 260; step++) {
          const key = Math.floor(random.next() * KEYS);
          if (step % 20 === 0) device.fail(Math.floor(random.next() * device.pages), random.next() < 0.7);
          if (random.next() < 0.6) {
            floor.set(key, ++version);
            expect(await engine.put(keyOf(key), writtenValue(key, version))).toBe(true);
          } else {
            const value = await engine.get(keyOf(key));
            if (value === undefined) continue;
            const seen = versionOf(key, value);
            if (seen !== floor.get(key)) expect.fail(`run ${run}: version ${seen}, not ${floor.get(key)}`);
            hits++;
          }
        }
        await engine.flush();
        expect(engine.stats().readOnly).toBeUndefined();
        errors += engine.stats().readErrors;
        device = device.reopened();
        // Of a page that fails at the opening it is not known what it would have told: older values may come to light.
        const damaged = life > 0;
        if (damaged) for (let i = 0; i < 4; i++) device.fail(Math.floor(random.next() * device.pages), true);
        engine = await device.open().catch((error: unknown) => {
          // Both headers of a set cache: it is not known whose the file is.
          expect(error).toMatchObject({ kind: "not-a-cache" });
          return DEVICES[name]().open();
        });
        for (const [key, newest] of floor) {
          const value = await engine.get(keyOf(key));
          if (value === undefined) continue;
          const seen = versionOf(key, value);
          if (seen < 1 || (!damaged && seen < newest)) expect.fail(`run ${run}: version ${seen}, not ${newest}`);
          floor.set(key, seen);
        }
        if (damaged) break;
      }
    }
    expect(hits).toBeGreaterThan(1000);
    expect(errors).toBeGreaterThan(20);
  });
});
