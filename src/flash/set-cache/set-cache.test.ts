import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { MAX_OBJECT_BYTES } from "../format/set-page.ts";
import { hashKey } from "../key-hash.ts";
import { keyOf, StrictModel, useAtRandom } from "../log-cache/strict-model.test-data.ts";
import { BucketFilters } from "./bucket-filters.ts";
import { FaultyBlocks } from "./faulty-blocks.test-data.ts";
import { HEADER_BLOCKS } from "./header-block.ts";
import { openSetCache } from "./set-cache.ts";

const value = (bytes: number, fill = 7) => new Uint8Array(bytes).fill(fill);
const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;

describe("set cache", () => {
  it("returns what was put, replaces and deletes, and keeps it when it is opened again", async () => {
    const device = new FaultyBlocks(20);
    const set = await openSetCache(device);
    await set.put(keyOf(1), value(10));
    await set.put(keyOf(2), value(0));
    await set.put(keyOf(1), value(20));
    await set.put(keyOf(3), value(30));
    await set.delete(keyOf(3));
    await set.delete(keyOf(4));
    expect(await set.get(keyOf(1))).toEqual(value(20));
    expect(await set.get(keyOf(2))).toEqual(value(0));
    expect(await set.get(keyOf(3))).toBeUndefined();
    expect(set.stats()).toMatchObject({ residentObjects: 2, updates: 1, deletes: 2, hitsFlash: 2, readErrors: 0 });
    expect(set.stats().fates).toMatchObject({ replaced: 2, evictedCold: 0, flushed: 4 });
    await set.close();
    await expect(set.get(keyOf(1))).rejects.toMatchObject({ kind: "closed" });

    const next = device.reopened();
    const again = await openSetCache(next);
    expect(next.counters.hostBytesRead).toBe(HEADER_BLOCKS * PAGE_BYTES);
    expect(again.stats().residentObjects).toBe(2);
    expect(await again.get(keyOf(1))).toEqual(value(20));
    expect(await again.get(keyOf(3))).toBeUndefined();
  });

  it("writes one page for each object", async () => {
    const device = new FaultyBlocks(2000);
    const set = await openSetCache(device);
    const random = new Randomness(4);
    let objectBytes = 0;
    const count = 40_000;
    for (let i = 0; i < count; i++) {
      const size = 100 + Math.floor(random.next() * 276);
      objectBytes += size + keyOf(i).bytes.length;
      await set.put(keyOf(i), value(size));
    }
    const { deviceBytesWritten, logicalBytes, residentObjects, fates, puts, ram, fillRate } = set.stats();
    expect(logicalBytes).toBe(objectBytes);
    const expected = PAGE_BYTES / (objectBytes / count);
    expect(Math.abs(deviceBytesWritten / logicalBytes / expected - 1)).toBeLessThan(0.01);
    expect(residentObjects + fates.evictedCold + fates.replaced).toBe(puts);
    // 8 bytes a bucket, about 15 objects in each.
    const bits = (ram.index * 8) / residentObjects;
    expect(bits).toBeGreaterThan(3.5);
    expect(bits).toBeLessThan(5);
    // Of all writes, those of buckets that were still filling among them.
    expect(fillRate.all).toBeGreaterThan(0.5);
    expect(fillRate.fresh).toBeLessThan(0.07);
  });

  it("reads a page for a hit and few for misses", async () => {
    const set = await openSetCache(new FaultyBlocks(300));
    for (let i = 0; i < 6000; i++) await set.put(keyOf(i), value(230));
    for (let i = 5000; i < 6000; i++) await set.get(keyOf(i));
    for (let i = 10_000; i < 20_000; i++) await set.get(keyOf(i));
    const { gets, hitsFlash, falsePositives, setPagesRead } = set.stats();
    expect(setPagesRead).toBe(hitsFlash + falsePositives);
    expect(falsePositives / (gets - hitsFlash)).toBeGreaterThan(0.05);
    expect(falsePositives / (gets - hitsFlash)).toBeLessThan(0.2);
  });

  it("evicts the oldest of a bucket", async () => {
    const set = await openSetCache(new FaultyBlocks(HEADER_BLOCKS + 1));
    for (let i = 0; i < 50; i++) await set.put(keyOf(i), value(400, i));
    const held: number[] = [];
    for (let i = 0; i < 50; i++) {
      const found = await set.get(keyOf(i));
      if (found === undefined) continue;
      expect(found).toEqual(value(400, i));
      held.push(i);
    }
    expect(held).toEqual(Array.from({ length: held.length }, (_, i) => 50 - held.length + i));
    expect(held.length).toBe(9);
    expect(set.stats().fates.evictedCold).toBe(41);
  });

  it("never answers with an older value, whatever is put, deleted and reopened", async () => {
    let hits = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Randomness(seed);
      let device = new FaultyBlocks(HEADER_BLOCKS + 1 + Math.floor(random.next() * 8));
      const model = new StrictModel();
      for (let session = 0; session < 4; session++) {
        const set = await openSetCache(device);
        await useAtRandom(set, model, random, { keys: 40, operations: 60, mostValueBytes: 1500 });
        for (const k of model.keys) if ((await model.check(set, k)) === "hit") hits++;
        expect(set.stats()).toMatchObject({ readErrors: 0, readOnly: undefined });
        const { residentObjects } = set.stats();
        await set.close();
        device = device.reopened();
        expect((await openSetCache(device)).stats().residentObjects).toBe(residentObjects);
      }
    }
    expect(hits).toBeGreaterThan(300 * 4 * 8);
  });

  it("survives a kill in the middle of any write", async () => {
    let torn = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Randomness(seed, 9);
      const fault = () => ({ stopAfterBytes: Math.floor(random.next() ** 2 * 60 * PAGE_BYTES) });
      let device = new FaultyBlocks(HEADER_BLOCKS + 2 + Math.floor(random.next() * 6), fault());
      const model = new StrictModel();
      for (let session = 0; session < 5; session++) {
        // Making a new cache can be cut off too.
        const set = await openSetCache(device).catch((error: unknown) => {
          if (device.stopped) return undefined;
          throw error;
        });
        if (set !== undefined) {
          await useAtRandom(set, model, random, { keys: 40, operations: 80, mostValueBytes: 1200 });
          torn += set.stats().readErrors;
        }
        device = device.reopened(session === 3 ? {} : fault());
        model.killed();
      }
      const set = await openSetCache(device);
      for (const k of model.keys) await model.check(set, k);
      torn += set.stats().readErrors;
    }
    expect(torn).toBeGreaterThan(100);
  });

  it("answers with a miss where a bit has flipped", async () => {
    const device = new FaultyBlocks(HEADER_BLOCKS + 3);
    const set = await openSetCache(device);
    const held: number[] = [];
    for (let i = 0; i < 30; i++) await set.put(keyOf(i), value(200, i));
    for (let i = 0; i < 30; i++) if ((await set.get(keyOf(i))) !== undefined) held.push(i);
    await set.close();
    const random = new Randomness(8);
    let missed = 0;
    for (let trial = 0; trial < 200; trial++) {
      const damaged = device.reopened();
      damaged.bytes[Math.floor(random.next() * damaged.bytes.length)] ^= 1 << Math.floor(random.next() * 8);
      const again = await openSetCache(damaged);
      let misses = 0;
      for (const i of held) {
        const found = await again.get(keyOf(i));
        if (found === undefined) misses++;
        else expect(same(found, value(200, i))).toBe(true);
      }
      expect(misses > 0).toBe(again.stats().readErrors > 0);
      missed += misses;
    }
    expect(missed).toBeGreaterThan(100);
  });

  it("changes a bucket once at a time, in the order of the calls", async () => {
    const device = new FaultyBlocks(HEADER_BLOCKS + 3);
    const set = await openSetCache(device);
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 300; i++) {
      if (i % 7 === 6) calls.push(set.delete(keyOf(i % 10)));
      else calls.push(set.put(keyOf(i % 10), value(100, i)));
      calls.push(set.get(keyOf((i + 5) % 10)).then((found) => expect([undefined, 100]).toContain(found?.length)));
    }
    await Promise.all(calls);
    expect(set.stats().readErrors).toBe(0);
    for (let i = 290; i < 300; i++) {
      const expected = i % 7 === 6 ? undefined : value(100, i);
      expect(await set.get(keyOf(i % 10))).toEqual(expected);
    }
  });

  it("goes on without writing when the disk is full, and hides what it could not replace", async () => {
    const device = new FaultyBlocks(HEADER_BLOCKS + 30, { fullAfterBytes: 40 * PAGE_BYTES });
    const set = await openSetCache(device);
    let kept = 0;
    while (await set.put(keyOf(kept), value(100, kept))) kept++;
    expect(set.stats().readOnly).toMatch(/full/);
    let found = 0;
    for (let i = 0; i < kept; i++) if (same(await set.get(keyOf(i)), value(100, i))) found++;
    expect(found).toBeGreaterThan(kept - 6);
    for (let i = 0; i < 10; i++) {
      if (i % 2) await set.delete(keyOf(i));
      else expect(await set.put(keyOf(i), value(50))).toBe(false);
      expect(await set.get(keyOf(i))).toBeUndefined();
    }
    await expect(set.flush()).rejects.toMatchObject({ kind: "read-only" });
    await set.close();
  });

  it("counts a read that fails as a miss, and does not forget a delete for it", async () => {
    const device = new FaultyBlocks(HEADER_BLOCKS + 1);
    const set = await openSetCache(device);
    await set.put(keyOf(1), value(10));
    device.failing.add(HEADER_BLOCKS);
    expect(await set.get(keyOf(1))).toBeUndefined();
    expect(set.stats().readErrors).toBe(1);
    await set.delete(keyOf(1));
    device.failing.clear();
    expect(await set.get(keyOf(1))).toBeUndefined();
  });

  it("keeps objects at the limit and no larger ones", async () => {
    const set = await openSetCache(new FaultyBlocks(HEADER_BLOCKS + 1));
    const one = hashKey(new Uint8Array([5]));
    expect(await set.put(one, value(MAX_OBJECT_BYTES - 1))).toBe(true);
    expect(await set.get(one)).toEqual(value(MAX_OBJECT_BYTES - 1));
    expect(await set.put(one, value(MAX_OBJECT_BYTES))).toBe(false);
    expect(await set.get(one)).toBeUndefined();
    for (let i = 0; i < 200; i++) await set.put(keyOf(i), value(0));
    expect(await set.get(keyOf(199))).toEqual(value(0));
  });

  it("is empty under another salt, for good", async () => {
    const device = new FaultyBlocks(HEADER_BLOCKS + 4);
    const first = await openSetCache(device, { salt: 1 });
    await first.put(keyOf(1), value(10));
    await first.close();
    const second = await openSetCache(device.reopened(), { salt: 2 });
    expect(await second.get(keyOf(1))).toBeUndefined();
    const other = device.reopened();
    await (await openSetCache(other, { salt: 2 })).close();
    const back = await openSetCache(other.reopened(), { salt: 1 });
    expect(await back.get(keyOf(1))).toBeUndefined();
    expect(back.stats().readErrors).toBe(0);
    const unchanged = await openSetCache(device.reopened(), { salt: 1 });
    expect(await unchanged.get(keyOf(1))).toEqual(value(10));
  });

  it("refuses what is no set cache of this size", async () => {
    const device = new FaultyBlocks(10);
    await (await openSetCache(device)).close();
    const smaller = new FaultyBlocks(9, {}, device.bytes.slice(0, 9 * PAGE_BYTES));
    await expect(openSetCache(smaller)).rejects.toMatchObject({ kind: "other-parameters" });
    const foreign = new FaultyBlocks(10, {}, device.bytes.slice().fill(65));
    await expect(openSetCache(foreign)).rejects.toMatchObject({ kind: "not-a-cache" });
    await expect(openSetCache(new FaultyBlocks(2))).rejects.toMatchObject({ kind: "bad-options" });
  });
});

describe("bucket filters", () => {
  it("never deny a key of the bucket, and hide one for certain", async () => {
    const device = new FaultyBlocks(HEADER_BLOCKS + 1);
    const set = await openSetCache(device);
    for (let i = 0; i < 40; i++) await set.put(keyOf(i), value(0));
    const filters = new BucketFilters(1, false);
    expect(filters.isUnknown(0)).toBe(true);
    filters.fill(0, device.bytes.slice(HEADER_BLOCKS * PAGE_BYTES));
    for (let i = 0; i < 40; i++) expect(filters.mayHold(0, keyOf(i).low)).toBe(true);
    for (let i = 0; i < 40; i++) {
      filters.fill(0, device.bytes.slice(HEADER_BLOCKS * PAGE_BYTES));
      filters.hide(0, keyOf(i).low);
      expect(filters.mayHold(0, keyOf(i).low)).toBe(false);
    }
    filters.empty(0);
    expect(filters.isEmpty(0)).toBe(true);
  });
});
