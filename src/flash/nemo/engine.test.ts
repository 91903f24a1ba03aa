import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { MemoryZones, type MemoryZonesOptions } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { ENTRY_BYTES, MAX_OBJECT_BYTES } from "../format/set-page.ts";
import { type HashedKey, hashKey, setNumberOf } from "../key-hash.ts";
import type { NemoEngine } from "./engine.ts";
import { openNemo } from "./open.ts";
import type { NemoOptions } from "./options.ts";

const SETS = 8;
const GEOMETRY = { zones: 8, zoneBytes: (SETS + 2) * PAGE_BYTES };
/** Eight zones: six for set groups, two for their index. */
const SMALL: NemoOptions = { groupSetGroups: 4, checkpointZones: 0, hotness: 1, indexCachedShare: 1 };

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function keyOf(text: string): HashedKey {
  return hashKey(bytesOf(text));
}

async function textAt(engine: NemoEngine, key: string): Promise<string | undefined> {
  const value = await engine.get(keyOf(key));
  return value === undefined ? undefined : new TextDecoder().decode(value);
}

/** Keys of one set, "name 0" first. */
function keysOfSet(s: number, count: number, name: string): string[] {
  const keys: string[] = [];
  for (let n = 0; keys.length < count; n++)
    if (setNumberOf(keyOf(`${name} ${n}`), SETS) === s) keys.push(`${name} ${n}`);
  return keys;
}

/** Writes set groups of other keys, two flushed at a time. */
async function pass(engine: NemoEngine, setGroups: number, name: string): Promise<void> {
  const until = engine.stats().setGroupsWritten + setGroups;
  for (let n = 0; engine.stats().setGroupsWritten < until; n++) {
    for (let i = 0; i < 40; i++) await engine.put(keyOf(`${name} ${n} ${i}`), new Uint8Array(200));
    await engine.flush();
  }
}

function open(options: NemoOptions = {}, device: MemoryZonesOptions = GEOMETRY) {
  const zones = new MemoryZones(device);
  return openNemo(zones, { ...SMALL, ...options }).then((engine) => ({ engine, zones }));
}

describe("nemo's objects", () => {
  it("may be as large as a set allows and as small as a key of one byte", async () => {
    const { engine } = await open();
    const key = keyOf("k");
    expect(engine.maxObjectBytes).toBe(MAX_OBJECT_BYTES);
    expect(await engine.put(key, new Uint8Array(MAX_OBJECT_BYTES))).toBe(false);
    expect(await engine.put(key, new Uint8Array(MAX_OBJECT_BYTES - 1).fill(3))).toBe(true);
    await engine.flush();
    expect(await engine.get(key)).toEqual(new Uint8Array(MAX_OBJECT_BYTES - 1).fill(3));
    // One that is too large replaces the object all the same, by nothing.
    expect(await engine.put(key, new Uint8Array(MAX_OBJECT_BYTES))).toBe(false);
    expect(await engine.get(key)).toBeUndefined();
    expect(await engine.put(key, new Uint8Array(0))).toBe(true);
    expect(await engine.get(key)).toHaveLength(0);
    await engine.flush();
    expect(await engine.get(key)).toHaveLength(0);
    expect(await engine.get(keyOf(""))).toBeUndefined();
    await engine.put(keyOf(""), bytesOf("no key"));
    expect(await textAt(engine, "")).toBe("no key");
    const small = await open({ maxObjectBytes: 100 });
    expect(await small.engine.put(key, new Uint8Array(100))).toBe(false);
    expect(await small.engine.put(key, new Uint8Array(99))).toBe(true);
  });

  it("have no keys that are too large for a set, and deleting one writes nothing", async () => {
    const { engine } = await open({ indexCachedShare: 0 });
    // Past the first index group: from here on the filters do not tell without a read.
    await pass(engine, 4, "other");
    const key = hashKey(new Uint8Array(MAX_OBJECT_BYTES + 1));
    expect(await engine.put(key, bytesOf("v"))).toBe(false);
    await engine.delete(key);
    expect(engine.stats()).toMatchObject({ setGroupsWritten: 4, unsavedBytes: 0 });
  });

  it("may all be of one set, and be more of them than a word has bits", async () => {
    const { engine } = await open({ writeBack: "hot", filterObjects: 250, filterFalsePositives: 0.01 });
    const keys = keysOfSet(3, 120, "k");
    for (const key of keys) await engine.put(keyOf(key), bytesOf("v"));
    await engine.flush();
    for (const key of keys) expect(await textAt(engine, key)).toBe("v");
    expect(engine.stats().fates.flushed).toBe(120);
    // Every one was read, from the 32nd on too: all are carried along as long as there is room.
    await pass(engine, 6, "other");
    for (const key of keys) expect(await textAt(engine, key)).toBe("v");
    expect(engine.stats().fates.writtenBackHot).toBe(120);
  });

  it("fit a cache of one set a group, and one of two set groups", async () => {
    for (const zones of [3, 8]) {
      const { engine } = await open({ groupSetGroups: 2 }, { zones, zoneBytes: 3 * PAGE_BYTES });
      let hits = 0;
      for (let n = 0; n < 400; n++) {
        await engine.put(keyOf(`${n}`), bytesOf(`value ${n}`.padEnd(300)));
        const before = await textAt(engine, `${n - 3}`);
        if (before !== undefined) expect(before.trim()).toBe(`value ${n - 3}`);
        hits += before === undefined ? 0 : 1;
      }
      expect(engine.stats().setGroups).toBe(zones === 3 ? 2 : 5);
      expect(engine.stats().setGroupsWritten).toBeGreaterThan(20);
      expect(hits).toBeGreaterThan(350);
    }
  });

  it("need zones enough, and filters that share a page", async () => {
    const zones = (count: number, pages: number) => new MemoryZones({ zones: count, zoneBytes: pages * PAGE_BYTES });
    await expect(openNemo(zones(3, 8), {})).rejects.toThrow("too few");
    await expect(openNemo(zones(8, 2), {})).rejects.toThrow("too few");
    await expect(openNemo(zones(8, 8), { groupSetGroups: 114 })).rejects.toThrow("do not share a page");
    await expect(openNemo(zones(8, 8), { indexCachedShare: 2 })).rejects.toThrow("indexCachedShare");
    for (const [name, value] of [
      ["salt", -1],
      ["salt", 2 ** 32],
      ["checkpointZones", 0.5],
    ] as const)
      await expect(openNemo(zones(8, 8), { [name]: value })).rejects.toThrow(name);
  });
});

describe("an older copy", () => {
  /** v1 goes to flash, is read there, v2 follows; then v1's set group is evicted. */
  async function outlive(change: (engine: NemoEngine) => Promise<unknown>, options: NemoOptions = {}) {
    const { engine } = await open({ writeBack: "hot-and-cold", ...options });
    await engine.put(keyOf("key"), bytesOf("v1"));
    await engine.flush();
    await pass(engine, 2, "before");
    expect(await textAt(engine, "key")).toBe("v1");
    await change(engine);
    await engine.flush();
    const seen: (string | undefined)[] = [];
    for (let i = 0; i < 12; i++) {
      await pass(engine, 1, `after ${i}`);
      seen.push(await textAt(engine, "key"));
    }
    return { seen, engine };
  }

  it("does not come back when its set group is evicted, hot", async () => {
    const { seen, engine } = await outlive((e) => e.put(keyOf("key"), bytesOf("v2")));
    expect(new Set(seen)).not.toContain("v1");
    expect(seen[0]).toBe("v2");
    expect(engine.stats().staleNotWrittenBack).toBeGreaterThan(0);
  });

  it("does not come back after a delete", async () => {
    const { seen } = await outlive((e) => e.delete(keyOf("key")));
    expect(new Set(seen)).toEqual(new Set([undefined]));
  });

  it("does come back where consistency is but advisory, as published", async () => {
    const { seen } = await outlive((e) => e.delete(keyOf("key")), { consistency: "advisory" });
    expect(seen).toContain("v1");
  });

  it("is hidden by a tombstone when the newer one is sacrificed in RAM", async () => {
    const { engine } = await open({ flushThreshold: 1, filterObjects: 60 });
    const [key, ...others] = keysOfSet(2, 60, "k");
    await engine.put(keyOf(key), bytesOf("v1"));
    await engine.flush();
    // The front's set fills up first; v2 is then the oldest of the rear.
    for (let i = 0; i < 15; i++) await engine.put(keyOf(others[i]), new Uint8Array(240));
    await engine.put(keyOf(key), new Uint8Array(240).fill(2));
    for (let i = 15; i < 29; i++) await engine.put(keyOf(others[i]), new Uint8Array(240));
    const { sacrificed } = engine.stats().fates;
    expect(await engine.get(keyOf(key))).toEqual(new Uint8Array(240).fill(2));
    // Objects of which nothing older exists go before it, so many big ones are needed.
    for (let i = 29; engine.stats().entombed === 0 && i < 36; i++)
      await engine.put(keyOf(others[i]), new Uint8Array(3500));
    expect(engine.stats().fates.sacrificed).toBeGreaterThan(sacrificed);
    expect(engine.stats().entombed).toBe(1);
    expect(engine.stats().setGroupsWritten).toBe(1);
    expect(await engine.get(keyOf(key))).toBeUndefined();
    await engine.flush();
    expect(await engine.get(keyOf(key))).toBeUndefined();
  });
});

describe("nemo's figures", () => {
  it("add up: objects by fate, device bytes, RAM", async () => {
    const { engine, zones } = await open({ writeBack: "hot-and-cold", flushThreshold: 1 });
    const random = new Randomness(3);
    for (let n = 0; n < 4000; n++) {
      const key = keyOf(`${Math.floor(random.next() * 900)}`);
      await engine.put(key, new Uint8Array(60 + Math.floor(random.next() * 300)));
      await engine.get(keyOf(`${Math.floor(random.next() * 900)}`));
    }
    await engine.flush();
    const stats = engine.stats();
    const { fates } = stats;
    expect(fates.sacrificed).toBeGreaterThan(0);
    expect(fates.writtenBackHot * fates.writtenBackCold * fates.evictedCold).toBeGreaterThan(0);
    // After the flush nothing is in RAM.
    expect(stats.unsavedBytes).toBe(0);
    expect(stats.puts).toBe(fates.flushed + fates.sacrificed + fates.replaced);
    expect(fates.flushed).toBe(stats.residentObjects + fates.evictedCold);
    expect(stats.updates).toBe(fates.replaced);
    expect(stats.deviceBytesWritten).toBe((stats.setGroupsWritten + stats.indexGroupsWritten) * zones.zoneBytes);
    expect(stats.indexGroupsWritten).toBe(Math.floor(stats.setGroupsWritten / 4));
    expect(stats.fillRate.all).toBeGreaterThan(stats.fillRate.fresh);
    const image = (SETS + 2) * PAGE_BYTES;
    expect(stats.ram.buffers).toBe(3 * image + SETS * PAGE_BYTES);
    expect(stats.ram.hotness).toBe(6 * SETS * 4);
    expect(stats.ram.index).toBe(image + SETS * (2 * PAGE_BYTES + 4 + 4) + 6 * 8);
  });

  it("count logical bytes without overhead, and hits by place", async () => {
    const { engine } = await open();
    await engine.put(keyOf("four"), bytesOf("value"));
    await engine.put(keyOf("four"), bytesOf("value!"));
    await engine.get(keyOf("four"));
    await engine.get(keyOf("none"));
    expect(engine.stats()).toMatchObject({ puts: 2, updates: 1, logicalBytes: 19, gets: 2, hitsRam: 1, hitsFlash: 0 });
    expect(engine.stats().unsavedBytes).toBe(ENTRY_BYTES + 10);
    await engine.flush();
    await engine.get(keyOf("four"));
    expect(engine.stats()).toMatchObject({ hitsRam: 1, hitsFlash: 1, setPagesRead: 1, unsavedBytes: 0 });
  });

  it("read as many pages per get as equation 10 says", async () => {
    const zones = new MemoryZones({ zones: 45, zoneBytes: 34 * PAGE_BYTES });
    const falsePositives = 0.01;
    const engine = await openNemo(zones, {
      ...{ checkpointZones: 0, indexCachedShare: 0, groupSetGroups: 8, filterFalsePositives: falsePositives },
      // Constant sizes fill a set with 15, and filters of 15 are as wrong as they say.
      ...{ filterObjects: 15, writeBack: "off" },
    });
    let n = 0;
    while (engine.stats().setGroupsWritten < 60) await engine.put(keyOf(`${n++}`), new Uint8Array(240));
    const before = engine.stats();
    const gets = 4000;
    for (let i = 0; i < gets; i++) await engine.get(keyOf(`absent ${i}`));
    const { setGroups, indexPagesRead, setPagesRead } = engine.stats();
    // Groups of 8 on flash: those that overlap the set groups there are, less the one in RAM.
    const groups = 7 - Math.floor((60 - setGroups) / 8);
    expect((indexPagesRead - before.indexPagesRead) / gets).toBe(groups);
    // An absent key costs the false positives of all set groups; sets are 85 % full, so their filters are better than said.
    const pages = (setPagesRead - before.setPagesRead) / gets;
    expect(pages).toBeLessThan(setGroups * falsePositives);
    expect(pages).toBeGreaterThan(setGroups * falsePositives * 0.3);
    await engine.close();
  });
});

describe("hotness", () => {
  it("outlives a cooling only while its set number is in the index cache", async () => {
    const { engine } = await open({ coolingShare: 0.01, indexCachedShare: 1 / SETS, writeBack: "hot" });
    const [kept] = keysOfSet(1, 1, "kept");
    const [cooled] = keysOfSet(2, 1, "cooled");
    for (const key of [kept, cooled]) await engine.put(keyOf(key), bytesOf("v"));
    await engine.flush();
    // The index group is written with the fourth: from there on reads go through the index cache, of one set number.
    await pass(engine, 3, "a");
    for (const key of [cooled, kept]) expect(await textAt(engine, key)).toBe("v");
    await pass(engine, 4, "b");
    expect(await textAt(engine, kept)).toBe("v");
    expect(await textAt(engine, cooled)).toBeUndefined();
    expect(engine.stats().fates.writtenBackHot).toBe(1);
  });
});

describe("a device that fails", () => {
  it("leaves gets working and refuses puts when it is full", async () => {
    const { engine } = await open({}, { ...GEOMETRY, fullAfterBytes: 25 * PAGE_BYTES });
    for (let n = 0; n < 30; n++) await engine.put(keyOf(`a ${n}`), bytesOf(`${n}`));
    await engine.flush();
    for (let n = 0; n < 30; n++) await engine.put(keyOf(`b ${n}`), bytesOf(`${n}`));
    await engine.flush();
    for (let n = 0; n < 30; n++) await engine.put(keyOf(`c ${n}`), bytesOf(`${n}`));
    await expect(engine.flush()).rejects.toThrow("full");
    expect(engine.stats().readOnly).toContain("full");
    expect(await engine.put(keyOf("new"), bytesOf("new"))).toBe(false);
    for (const name of ["a", "b", "c"])
      for (let n = 0; n < 30; n++) expect(await textAt(engine, `${name} ${n}`)).toBe(`${n}`);
    await engine.delete(keyOf("a 3"));
    expect(await textAt(engine, "a 3")).toBeUndefined();
    await engine.close();
  });

  it("hides what a refused put or a delete would have replaced, also when no tombstone finds room in RAM", async () => {
    const { engine } = await open({ flushThreshold: 0 }, { ...GEOMETRY, fullAfterBytes: 12 * PAGE_BYTES });
    const keys = keysOfSet(2, 14, "k");
    for (const key of keys) await engine.put(keyOf(key), bytesOf("v1"));
    await engine.put(keyOf("other"), bytesOf("v1"));
    await engine.flush();
    // Set 2 is full in every set group in RAM when the flush fails, so that this put is refused as it waits for room.
    for (let n = 0; engine.stats().readOnly === undefined; n++) {
      if (!(await engine.put(keyOf(keys[0]), new Uint8Array(3000)))) break;
      await engine.put(keyOf(keysOfSet(2, n + 1, "large")[n]), new Uint8Array(4000));
    }
    expect(engine.stats().readOnly).toContain("full");
    expect(setNumberOf(keyOf("other"), SETS)).not.toBe(2);
    expect(await textAt(engine, "other")).toBe("v1");
    for (const [i, key] of keys.entries()) {
      if (i % 2) await engine.delete(keyOf(key));
      else expect(await engine.put(keyOf(key), bytesOf("v2"))).toBe(false);
      expect(await engine.get(keyOf(key))).toBeUndefined();
    }
    expect(await engine.put(keyOf("other"), bytesOf("v2"))).toBe(false);
    expect(await textAt(engine, "other")).toBeUndefined();
    await engine.close();
  });

  it("gives a miss, never an older value, for a page that cannot be read or has a bit flipped", async () => {
    const { engine, zones } = await open();
    const s = setNumberOf(keyOf("key"), SETS);
    await engine.put(keyOf("key"), bytesOf("v1"));
    await engine.flush();
    await engine.put(keyOf("key"), bytesOf("v2"));
    await engine.flush();
    expect(await textAt(engine, "key")).toBe("v2");
    zones.failReads(1, s + 1);
    expect(await textAt(engine, "key")).toBeUndefined();
    zones.failReads(1, s + 1, false);
    expect(await textAt(engine, "key")).toBe("v2");
    zones.flipBit(1, (s + 1) * PAGE_BYTES + 30, 2);
    expect(await textAt(engine, "key")).toBeUndefined();
    expect(engine.stats().readErrors).toBe(2);
  });

  it("gives misses for a set number whose index page is damaged", async () => {
    const { engine, zones } = await open({ indexCachedShare: 0, writeBack: "off" });
    const s = setNumberOf(keyOf("key"), SETS);
    await engine.put(keyOf("key"), bytesOf("v1"));
    await engine.flush();
    await pass(engine, 3, "fill");
    expect(await textAt(engine, "key")).toBe("v1");
    zones.flipBit(6, (s + 1) * PAGE_BYTES + 5, 0);
    expect(await textAt(engine, "key")).toBeUndefined();
    expect(engine.stats().readErrors).toBe(1);
  });
});

describe("a closed cache", () => {
  it("refuses calls, and closes once", async () => {
    const { engine } = await open();
    await Promise.all([engine.close(), engine.close()]);
    await expect(engine.get(keyOf("k"))).rejects.toMatchObject({ kind: "closed" });
    await expect(engine.put(keyOf("k"), bytesOf("v"))).rejects.toMatchObject({ kind: "closed" });
    await expect(engine.delete(keyOf("k"))).rejects.toMatchObject({ kind: "closed" });
    await expect(engine.flush()).rejects.toMatchObject({ kind: "closed" });
  });

  it("stops a get by its signal", async () => {
    const { engine } = await open();
    await engine.put(keyOf("k"), bytesOf("v"));
    await engine.flush();
    const signal = AbortSignal.abort(new Error("too late"));
    await expect(engine.get(keyOf("k"), signal)).rejects.toThrow("too late");
    const late = new AbortController();
    const get = engine.get(keyOf("k"), late.signal);
    late.abort(new Error("changed my mind"));
    await expect(get).rejects.toThrow("changed my mind");
  });
});
