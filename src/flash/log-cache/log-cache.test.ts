import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { MemoryZones } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { MAX_OBJECT_BYTES } from "../format/set-page.ts";
import { hashKey } from "../key-hash.ts";
import { openLogCache } from "./log-cache.ts";
import { flushIfPossible, keyOf, StrictModel, useAtRandom } from "./strict-model.test-data.ts";

const text = (value: string) => new TextEncoder().encode(value);
const key = (value: string) => hashKey(text(value));
const value = (bytes: number, fill = 7) => new Uint8Array(bytes).fill(fill);
/** `toEqual` looks at every byte, slowly. */
const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;

describe("log cache", () => {
  it("returns what was put, from RAM and from flash, and after closing", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 16 * PAGE_BYTES });
    const log = await openLogCache(device);
    await log.put(key("a"), text("one"));
    await log.put(key("b"), value(0));
    expect(await log.get(key("a"))).toEqual(text("one"));
    await log.put(key("a"), text("two"));
    await log.delete(key("c"));
    for (let i = 0; i < 100; i++) await log.put(key(`filler ${i}`), value(500));
    expect(await log.get(key("a"))).toEqual(text("two"));
    expect(await log.get(key("b"))).toEqual(value(0));
    expect(log.stats()).toMatchObject({ hitsRam: 1, hitsFlash: 2, updates: 1, puts: 103, deletes: 1, readErrors: 0 });
    await log.close();
    await expect(log.get(key("a"))).rejects.toMatchObject({ kind: "closed" });

    const again = await openLogCache(device.reopened());
    expect(await again.get(key("a"))).toEqual(text("two"));
    expect(await again.get(key("b"))).toEqual(value(0));
    expect(again.stats().residentObjects).toBe(102);
  });

  it("never answers with an older value, through evictions and reopenings", async () => {
    let hits = 0;
    for (let seed = 1; seed <= 400; seed++) {
      const random = new Randomness(seed);
      const readmitShare = seed % 3 === 0 ? 0.5 : 0;
      const zones = 3 + Math.floor(random.next() * 4);
      let device = new MemoryZones({ zones, zoneBytes: (4 + Math.floor(random.next() * 6)) * PAGE_BYTES });
      const model = new StrictModel();
      for (let session = 0; session < 3; session++) {
        const log = await openLogCache(device, { bufferBytes: 8192, readmitShare });
        await useAtRandom(log, model, random, { keys: 40, operations: 80, mostValueBytes: 1500 });
        for (const k of model.keys) if ((await model.check(log, k)) === "hit") hits++;
        const stats = log.stats();
        expect(stats.readErrors).toBe(0);
        expect(stats.readOnly).toBeUndefined();
        await log.close();
        device = device.reopened();
      }
    }
    expect(hits).toBeGreaterThan(400 * 3 * 7);
  });

  it("finds everything that was flushed after a kill at any byte, and nothing older or torn", async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Randomness(seed, 77);
      const zones = 3 + Math.floor(random.next() * 3);
      const zoneBytes = (5 + Math.floor(random.next() * 6)) * PAGE_BYTES;
      const fault = () => ({
        stopAfterBytes: Math.floor(random.next() * 30 * PAGE_BYTES),
        ...(random.next() < 0.5 ? { scatter: new Randomness(seed, 78) } : {}),
      });
      let device = new MemoryZones({ zones, zoneBytes, ...fault() });
      const model = new StrictModel();
      for (let session = 0; session < 5; session++) {
        const log = await openLogCache(device, { bufferBytes: 8192, readmitShare: seed % 2 ? 0.4 : 0 });
        const use = { keys: 40, operations: 120, mostValueBytes: 1200 };
        if (await useAtRandom(log, model, random, use)) await flushIfPossible(log, model);
        device = device.reopened(session === 3 ? {} : fault());
        model.killed();
      }
      const log = await openLogCache(device);
      for (const k of model.keys) await model.check(log, k);
    }
  });

  it("keeps every flushed object when nothing had to be evicted", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Randomness(seed, 5);
      const stopAfterBytes = Math.floor(random.next() * 60 * PAGE_BYTES);
      const device = new MemoryZones({ zones: 20, zoneBytes: 8 * PAGE_BYTES, stopAfterBytes });
      const log = await openLogCache(device, { bufferBytes: 8192 });
      const safe: number[] = [];
      for (let i = 0, waiting: number[] = []; log.stats().readOnly === undefined; i++) {
        await log.put(keyOf(i), value(200, i));
        waiting.push(i);
        if (i % 10 !== 9) continue;
        await log.flush().then(
          () => safe.push(...waiting.splice(0)),
          () => {},
        );
      }
      // The dead process still answers from RAM and never with something else.
      for (const i of safe.slice(-3)) expect([undefined, value(200, i)]).toContainEqual(await log.get(keyOf(i)));
      const again = await openLogCache(device.reopened());
      for (const i of safe) expect(same(await again.get(keyOf(i)), value(200, i))).toBe(true);
    }
  });

  it("does not bring back an old copy or a deleted key when zones leave", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 8 * PAGE_BYTES });
    const log = await openLogCache(device, { bufferBytes: 4096, readmitShare: 0.5 });
    await log.put(key("updated"), text("v1"));
    await log.put(key("deleted"), text("v1"));
    for (let i = 0; i < 40; i++) await log.put(key(`first ${i}`), value(600));
    expect(await log.get(key("updated"))).toEqual(text("v1"));
    expect(await log.get(key("deleted"))).toEqual(text("v1"));
    await log.put(key("updated"), text("v2"));
    await log.delete(key("deleted"));
    for (let i = 0; i < 400; i++) {
      await log.put(key(`later ${i}`), value(600));
      expect([undefined, text("v2")]).toContainEqual(await log.get(key("updated")));
      expect(await log.get(key("deleted"))).toBeUndefined();
    }
  });

  it("keeps read objects when asked to, and only then", async () => {
    const survives = async (readmitShare: number) => {
      const device = new MemoryZones({ zones: 5, zoneBytes: 8 * PAGE_BYTES });
      const log = await openLogCache(device, { bufferBytes: 4096, readmitShare });
      await log.put(key("hot"), text("here"));
      for (let i = 0; i < 1000; i++) {
        await log.put(key(`cold ${i}`), value(300));
        await log.get(key("hot"));
      }
      const { fates, residentObjects, puts, readErrors } = log.stats();
      expect(readErrors).toBe(0);
      expect(residentObjects + fates.evictedCold + fates.replaced).toBe(puts);
      return { hit: (await log.get(key("hot"))) !== undefined, readmitted: fates.readmitted };
    };
    expect(await survives(0)).toEqual({ hit: false, readmitted: 0 });
    const kept = await survives(0.5);
    expect(kept.hit).toBe(true);
    expect(kept.readmitted).toBeGreaterThanOrEqual(2);
  });

  it("goes on when every object is read: a share of each zone is new", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 16 * PAGE_BYTES });
    const log = await openLogCache(device, { bufferBytes: 4096, readmitShare: 0.9 });
    for (let i = 0; i < 2000; i++) {
      await log.put(keyOf(i), value(200));
      await log.get(keyOf(i));
    }
    expect(log.stats().deviceBytesWritten).toBeLessThan(20 * log.stats().logicalBytes);
    expect(await log.get(keyOf(1999))).toEqual(value(200));
  });

  it("writes little more than the objects", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 2 ** 22 });
    const log = await openLogCache(device, { bufferBytes: 2 ** 18 });
    const random = new Randomness(3);
    for (let i = 0; i < 100_000; i++) await log.put(keyOf(i), value(100 + Math.floor(random.next() * 276)));
    await log.flush();
    const { deviceBytesWritten, logicalBytes, fillRate, fates, residentObjects, puts } = log.stats();
    const alwa = deviceBytesWritten / logicalBytes;
    expect(alwa).toBeGreaterThan(1.05);
    expect(alwa).toBeLessThan(1.1);
    expect(fillRate.fresh).toBeGreaterThan(0.95);
    expect(residentObjects + fates.evictedCold).toBe(puts);
  });

  it("answers with a miss where a bit has flipped", async () => {
    const device = new MemoryZones({ zones: 3, zoneBytes: 8 * PAGE_BYTES });
    const log = await openLogCache(device);
    const kept: number[] = [];
    for (let i = 0; i < 60; i++) {
      await log.put(keyOf(i), value(500, i));
      kept.push(i);
    }
    await log.close();
    const random = new Randomness(11);
    let missed = 0;
    for (let trial = 0; trial < 300; trial++) {
      const damaged = device.reopened();
      const zone = Math.floor(random.next() * 2);
      damaged.flipBit(zone, Math.floor(random.next() * 8 * PAGE_BYTES), Math.floor(random.next() * 8));
      const again = await openLogCache(damaged);
      let misses = 0;
      for (const i of kept) {
        const found = await again.get(keyOf(i));
        if (found === undefined) misses++;
        else expect(same(found, value(500, i))).toBe(true);
      }
      expect(misses).toBeLessThanOrEqual(1);
      missed += misses;
    }
    expect(missed).toBeGreaterThan(100);
  });

  it("goes on without writing when the disk is full", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 16 * PAGE_BYTES, fullAfterBytes: 20 * PAGE_BYTES });
    const log = await openLogCache(device, { bufferBytes: 4096 });
    let kept = 0;
    while (await log.put(keyOf(kept), value(300, kept))) kept++;
    expect(log.stats().readOnly).toMatch(/full/);
    for (let i = 0; i < kept; i++) expect(await log.get(keyOf(i))).toEqual(value(300, i));
    // A value that could not be kept does not leave the one before it in its place.
    expect(await log.put(keyOf(0), value(10))).toBe(false);
    expect(await log.get(keyOf(0))).toBeUndefined();
    await log.delete(keyOf(1));
    expect(await log.get(keyOf(1))).toBeUndefined();
    await expect(log.flush()).rejects.toMatchObject({ kind: "read-only" });
    await log.close();
  });

  it("counts reads that fail as misses", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 16 * PAGE_BYTES });
    const log = await openLogCache(device, { bufferBytes: 4096 });
    for (let i = 0; i < 100; i++) await log.put(keyOf(i), value(900, i));
    device.failReads(0, 2);
    let misses = 0;
    for (let i = 0; i < 20; i++) {
      const found = await log.get(keyOf(i));
      if (found === undefined) misses++;
      else expect(found).toEqual(value(900, i));
    }
    expect(misses).toBeGreaterThan(2);
    expect(log.stats().readErrors).toBe(misses);
    // What cannot be read at opening either is lost, and no more than that.
    const unreadable = device.reopened();
    unreadable.failReads(0, 15);
    const again = await openLogCache(unreadable);
    expect(await again.get(keyOf(3))).toEqual(value(900, 3));
  });

  it("keeps objects at the limit, and no larger ones", async () => {
    const device = new MemoryZones({ zones: 3, zoneBytes: 4 * PAGE_BYTES });
    const log = await openLogCache(device);
    const one = key("x");
    expect(await log.put(one, value(MAX_OBJECT_BYTES - 1))).toBe(true);
    expect(await log.get(one)).toEqual(value(MAX_OBJECT_BYTES - 1));
    expect(await log.put(one, value(MAX_OBJECT_BYTES))).toBe(false);
    expect(await log.get(one)).toBeUndefined();
    for (let i = 0; i < 20; i++) {
      expect(await log.put(keyOf(i), value(MAX_OBJECT_BYTES - keyOf(i).bytes.length, i))).toBe(true);
      if (i > 0) expect((await log.get(keyOf(i - 1)))?.length).toBe(MAX_OBJECT_BYTES - keyOf(i - 1).bytes.length);
    }
    expect(log.stats().readErrors).toBe(0);
    await log.close();
  });

  it("takes puts without waiting for each, in order", async () => {
    const device = new MemoryZones({ zones: 6, zoneBytes: 16 * PAGE_BYTES });
    const log = await openLogCache(device, { bufferBytes: 4096 });
    const puts: Promise<boolean>[] = [];
    for (let i = 0; i < 500; i++) puts.push(log.put(keyOf(i % 50), text(`${i}`.padEnd(100))));
    const during = Promise.all(Array.from({ length: 50 }, (_, i) => log.get(keyOf(i))));
    expect((await Promise.all(puts)).every(Boolean)).toBe(true);
    for (const found of await during) expect(found === undefined || found.length === 100).toBe(true);
    for (let i = 450; i < 500; i++) expect(await log.get(keyOf(i % 50))).toEqual(text(`${i}`.padEnd(100)));
  });

  it("holds its room when it is opened for a few objects at a time", async () => {
    let device = new MemoryZones({ zones: 6, zoneBytes: 16 * PAGE_BYTES });
    const count = 100;
    for (let i = 0; i < count; i++) {
      const log = await openLogCache(device);
      await log.put(keyOf(i), value(1000, i));
      if (i % 10 === 9) await log.delete(keyOf(i - 1));
      await log.close();
      device = device.reopened();
    }
    const log = await openLogCache(device);
    let found = 0;
    for (let i = 0; i < count; i++) {
      const answer = await log.get(keyOf(i));
      if (answer === undefined) continue;
      expect(i % 10).not.toBe(8);
      expect(answer).toEqual(value(1000, i));
      found++;
    }
    // 100 KB in 384 KiB: nothing had to go but what was deleted.
    expect(found).toBe(90);
  });

  it("refuses what is no log of these parameters", async () => {
    const device = new MemoryZones({ zones: 4, zoneBytes: 8 * PAGE_BYTES });
    const log = await openLogCache(device);
    await log.put(key("a"), text("b"));
    await log.close();
    const smaller = new MemoryZones({ zones: 3, zoneBytes: 8 * PAGE_BYTES });
    const first = await device.reopened().read(0, 0, 1);
    await smaller.append(0, first);
    await expect(openLogCache(smaller)).rejects.toMatchObject({ kind: "other-parameters" });
    const foreign = new MemoryZones({ zones: 4, zoneBytes: 8 * PAGE_BYTES });
    await foreign.append(0, value(PAGE_BYTES, 65));
    await expect(openLogCache(foreign)).rejects.toMatchObject({ kind: "not-a-cache" });
    await expect(openLogCache(new MemoryZones({ zones: 1, zoneBytes: 2 ** 20 }))).rejects.toMatchObject({
      kind: "bad-options",
    });
  });

  it("stops a get whose caller has given up", async () => {
    const log = await openLogCache(new MemoryZones({ zones: 4, zoneBytes: 8 * PAGE_BYTES }));
    await expect(log.get(key("a"), AbortSignal.abort(new Error("late")))).rejects.toThrow("late");
  });
});
