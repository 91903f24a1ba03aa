import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryZones } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { type HashedKey, hashKey } from "../key-hash.ts";
import { NemoEngine } from "./engine.ts";
import { openNemo } from "./open.ts";
import { type NemoOptions, shapeOf } from "./options.ts";
import { emptyState } from "./state.ts";

const SETS = 6;
const ZONE_BYTES = (SETS + 2) * PAGE_BYTES;
/** Twelve zones: seven for set groups, three for their index (group g in 7 + g % 3), two for the checkpoint. */
const ZONES = 12;
const FIRST_INDEX_ZONE = 7;
const OPTIONS: NemoOptions = { groupSetGroups: 3, checkpointZones: 2, hotness: 1, indexCachedShare: 0.5 };

function keyOf(n: number): HashedKey {
  return hashKey(new TextEncoder().encode(`key ${n}`));
}

function objectOf(n: number): Uint8Array {
  return new TextEncoder().encode(`value of ${n}`.padEnd(60 + ((n * 31) % 300)));
}

/** A cache that holds the keys from 0 on, flushed `flushes` times and not closed. */
async function filled(flushes: number, device = new MemoryZones({ zones: ZONES, zoneBytes: ZONE_BYTES })) {
  const engine = await openNemo(device, OPTIONS);
  let count = 0;
  while (engine.stats().setGroupsWritten < flushes) {
    for (let i = 0; i < 40; i++) await engine.put(keyOf(count), objectOf(count++));
    await engine.flush();
  }
  return { engine, device, count };
}

/** Keys found, each with its own value. */
async function found(engine: NemoEngine, count: number): Promise<number[]> {
  const keys: number[] = [];
  for (let n = 0; n < count; n++) {
    const value = await engine.get(keyOf(n));
    if (value === undefined) continue;
    // The matcher for typed arrays takes a hundred times as long as what is tested here.
    if (Buffer.compare(value, objectOf(n)) !== 0) expect.fail(`key ${n} has another value`);
    keys.push(n);
  }
  return keys;
}

describe("opening after a kill", () => {
  it("finds every object of every set group written, wherever the pool and its index stand", async () => {
    const { engine, device } = await filled(0);
    for (let count = 0; engine.stats().setGroupsWritten < 18; ) {
      for (let i = 0; i < 40; i++) await engine.put(keyOf(count), objectOf(count++));
      await engine.flush();
      const before = await found(engine, count);
      expect(before.length).toBeGreaterThan(30);
      const again = await openNemo(device.reopened(), OPTIONS);
      expect(await found(again, count)).toEqual(before);
      expect(again.stats().residentObjects).toBe(engine.stats().residentObjects);
      expect(again.stats().readErrors).toBe(0);
    }
  });

  it("writes an index group again that is missing or damaged", async () => {
    const { engine, device, count } = await filled(8);
    const before = await found(engine, count);
    const copy = device.reopened();
    copy.flipBit(FIRST_INDEX_ZONE + 1, ZONE_BYTES - 5, 0);
    const again = await openNemo(copy, OPTIONS);
    expect(again.stats().indexGroupsWritten).toBe(1);
    expect(await found(again, count)).toEqual(before);
    const third = await openNemo(copy.reopened(), OPTIONS);
    expect(third.stats().indexGroupsWritten).toBe(0);
    expect(await found(third, count)).toEqual(before);
  });

  it("keeps what it can when such an index group cannot be written", async () => {
    const { engine, device, count } = await filled(8);
    const before = await found(engine, count);
    const copy = device.reopened({ fullAfterBytes: 0 });
    copy.flipBit(FIRST_INDEX_ZONE, ZONE_BYTES - 5, 0);
    const again = await openNemo(copy, OPTIONS);
    expect(again.stats().readOnly).toContain("full");
    const after = await found(again, count);
    expect(after.length).toBeGreaterThan(20);
    expect(before).toEqual(expect.arrayContaining(after));
    expect(await again.put(keyOf(0), objectOf(0))).toBe(false);
    await again.close();
  });

  it("takes a set group by its header or its footer, the newest only with both", async () => {
    const { engine, device, count } = await filled(5);
    const before = await found(engine, count);
    for (const byte of [3, ZONE_BYTES - 3]) {
      const copy = device.reopened();
      copy.flipBit(2, byte, 1);
      expect(await found(await openNemo(copy, OPTIONS), count)).toEqual(before);
    }
    const newest = device.reopened();
    newest.flipBit(4, ZONE_BYTES - 3, 1);
    const without = await found(await openNemo(newest, OPTIONS), count);
    expect(without.length).toBeLessThan(before.length);
    expect(before).toEqual(expect.arrayContaining(without));
  });

  it("uses none from before a gap: what they hold may be older than what is lost", async () => {
    const { device, count } = await filled(5);
    const copy = device.reopened();
    copy.flipBit(2, 3, 1);
    copy.flipBit(2, ZONE_BYTES - 3, 1);
    const engine = await openNemo(copy, OPTIONS);
    const objects = engine.stats().residentObjects;
    expect(objects).toBeGreaterThan(40);
    expect((await found(engine, count)).length).toBe(objects);
    expect((await found(engine, 100)).length).toBe(0);
  });

  it("gives misses for a set that is damaged, before or after its filters were rebuilt", async () => {
    const { engine, device, count } = await filled(2);
    const before = await found(engine, count);
    const copy = device.reopened();
    copy.flipBit(1, 3 * PAGE_BYTES + 100, 4);
    const again = await openNemo(copy, OPTIONS);
    const after = await found(again, count);
    expect(after.length).toBeLessThan(before.length);
    expect(after.length).toBeGreaterThan(before.length / 2);
    expect(again.stats().readErrors).toBeGreaterThan(1);
  });

  it("survives pages of noise anywhere", async () => {
    const { device, count } = await filled(9);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(ZONES - 1), fc.nat(ZONE_BYTES - 1), fc.nat(7)), { minLength: 1, maxLength: 60 }),
        async (flips) => {
          const copy = device.reopened();
          for (const [zone, byte, bit] of flips) copy.flipBit(zone, byte, bit);
          const engine = await openNemo(copy, OPTIONS);
          await found(engine, count);
          for (let n = 0; n < 60; n++) await engine.put(keyOf(n), objectOf(n));
          await engine.flush();
          await found(engine, 60);
          await engine.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("opening after a close", () => {
  it("finds everything again, RAM and filters included, with few reads", async () => {
    const { engine, device, count } = await filled(8);
    for (let n = count; n < count + 30; n++) await engine.put(keyOf(n), objectOf(n));
    await engine.delete(keyOf(count - 1));
    const before = await found(engine, count + 30);
    expect(before).toEqual(expect.arrayContaining([count, count + 29]));
    expect(before).not.toContain(count - 1);
    const { unsavedBytes, residentObjects } = engine.stats();
    await engine.close();
    const again = await openNemo(device.reopened(), OPTIONS);
    expect(again.stats()).toMatchObject({ unsavedBytes, residentObjects });
    // No set group was read: a header and a footer of ten zones, and the checkpoint.
    expect(again.stats().deviceBytesRead).toBeLessThan((20 + 1 + 2 * SETS) * PAGE_BYTES);
    expect(await found(again, count + 30)).toEqual(before);
  });

  it("remembers what was read", async () => {
    const { engine, device } = await filled(7);
    const last = (await found(engine, 40)).length;
    expect(last).toBeGreaterThan(10);
    await engine.close();
    const again = await openNemo(device.reopened(), { ...OPTIONS, indexCachedShare: 1 });
    // Reads that bring the set numbers back into the index cache, and touch no object.
    for (let n = 0; n < 100; n++) await again.get(keyOf(1_000_000 + n));
    for (let n = 0; n < 40; n++) await again.put(keyOf(2_000_000 + n), objectOf(n));
    await again.flush();
    expect(again.stats().fates.writtenBackHot).toBeGreaterThan(0);
  });

  it("does not find the same checkpoint twice", async () => {
    const { engine, device } = await filled(2);
    await engine.put(keyOf(7000), objectOf(7000));
    await engine.close();
    const second = device.reopened();
    const again = await openNemo(second, OPTIONS);
    expect(await again.get(keyOf(7000))).toEqual(objectOf(7000));
    const third = await openNemo(second.reopened(), OPTIONS);
    expect(await third.get(keyOf(7000))).toBeUndefined();
  });

  it("does without a damaged checkpoint", async () => {
    const { engine, device, count } = await filled(4);
    const before = await found(engine, count);
    await engine.put(keyOf(7000), objectOf(7000));
    await engine.close();
    const copy = device.reopened();
    copy.flipBit(10, PAGE_BYTES + 20, 0);
    const again = await openNemo(copy, OPTIONS);
    expect(await again.get(keyOf(7000))).toBeUndefined();
    expect(again.stats().unsavedBytes).toBe(0);
    expect(await found(again, count)).toEqual(before);
  });

  it("flushes a front that the checkpoint zones cannot hold", async () => {
    const device = new MemoryZones({ zones: ZONES, zoneBytes: ZONE_BYTES });
    const options = { ...OPTIONS, checkpointZones: 1, flushThreshold: 1 };
    const engine = await openNemo(device, options);
    let count = 0;
    while (engine.stats().unsavedBytes < 1.1 * SETS * PAGE_BYTES) await engine.put(keyOf(count), objectOf(count++));
    expect(engine.stats().setGroupsWritten).toBe(0);
    const before = await found(engine, count);
    await engine.close();
    const again = await openNemo(device.reopened(), options);
    expect(await found(again, count)).toEqual(before);
    expect(again.stats().unsavedBytes).toBeGreaterThan(0);
  });
});

describe("the last numbers of set groups", () => {
  it("are used, and then the cache is read-only", async () => {
    const device = new MemoryZones({ zones: ZONES, zoneBytes: ZONE_BYTES });
    const state = emptyState(device, shapeOf(device, OPTIONS));
    // The first of an index group, so that the four that are left fill one and begin the next.
    state.pool.next = 2 ** 32 - 4;
    state.pool.oldest = state.pool.next;
    state.index.groupNumber = state.pool.next / 3;
    const engine = new NemoEngine(state, { ...device.counters }, undefined);
    const count = 48;
    for (let n = 0; n < count; n++) {
      await engine.put(keyOf(n), objectOf(n));
      if (n % 12 === 11) await engine.flush();
    }
    expect(engine.stats()).toMatchObject({ setGroupsWritten: 4, indexGroupsWritten: 1, residentObjects: count });
    expect((await found(engine, count)).length).toBe(count);

    const again = await openNemo(device.reopened(), OPTIONS);
    expect((await found(again, count)).length).toBe(count);
    await again.put(keyOf(count), objectOf(count));
    await expect(again.flush()).rejects.toMatchObject({ kind: "read-only" });
    expect(await again.put(keyOf(count + 1), objectOf(count + 1))).toBe(false);
    expect((await found(again, count + 1)).length).toBe(count + 1);
    await again.close();
  });
});

describe("opening with other options", () => {
  it("refuses other parameters and changes nothing", async () => {
    const { engine, device, count } = await filled(4);
    const before = await found(engine, count);
    const copy = device.reopened();
    for (const options of [{ filterObjects: 30 }, { groupSetGroups: 4 }, { checkpointZones: 3 }])
      await expect(openNemo(copy, { ...OPTIONS, ...options })).rejects.toMatchObject({ kind: "other-parameters" });
    expect(await found(await openNemo(copy, OPTIONS), count)).toEqual(before);
  });

  it("begins anew under another salt", async () => {
    const { device, count } = await filled(4);
    const engine = await openNemo(device.reopened(), { ...OPTIONS, salt: 5 });
    expect(await found(engine, count)).toEqual([]);
    expect(engine.stats().residentObjects).toBe(0);
    await engine.put(keyOf(1), objectOf(1));
    await engine.flush();
    expect(await found(engine, 3)).toEqual([1]);
  });
});
