import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type FlashEngine, noStats } from "../engine.ts";
import type { HashedKey } from "../key-hash.ts";
import { FlashCache, type FlashCacheOptions } from "./flash-cache.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : new TextDecoder().decode(value));

/** A map that stands for flash; reads and puts wait until they are let go when `held` or `heldPut` is set. */
class MapEngine implements FlashEngine {
  readonly name = "log";
  readonly maxObjectBytes = 100;
  readonly values = new Map<string, Uint8Array>();
  readonly asked: string[] = [];
  readonly deleted: string[] = [];
  held: Promise<void> | undefined;
  heldPut: Promise<void> | undefined;
  closed = 0;

  async get(key: HashedKey, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.asked.push(text(key.bytes) as string);
    const value = this.values.get(`${key.low} ${key.high}`);
    await this.held;
    signal?.throwIfAborted();
    return value === undefined ? undefined : Uint8Array.from(value);
  }
  async put(key: HashedKey, value: Uint8Array): Promise<boolean> {
    if (key.bytes.length + value.length > this.maxObjectBytes) {
      this.values.delete(`${key.low} ${key.high}`);
      return false;
    }
    if (this.heldPut !== undefined) await this.heldPut;
    this.values.set(`${key.low} ${key.high}`, Uint8Array.from(value));
    return true;
  }
  async delete(key: HashedKey): Promise<void> {
    this.deleted.push(text(key.bytes) as string);
    this.values.delete(`${key.low} ${key.high}`);
  }
  async flush(): Promise<void> {}
  async close(): Promise<void> {
    this.closed++;
  }
  stats() {
    return noStats();
  }
}

let engine: MapEngine;
beforeEach(() => {
  engine = new MapEngine();
});
afterEach(() => {
  vi.useRealTimers();
});

const open = (options: FlashCacheOptions = {}) => new FlashCache(engine, options);

test("what was set comes back, from RAM without asking the engine", async () => {
  const cache = open({ ramBytes: 4096 });
  expect(await cache.set(bytes("a"), bytes("one"))).toBe(true);
  expect(text(await cache.get(bytes("a")))).toBe("one");
  expect(engine.asked).toEqual([]);
  expect(cache.stats()).toMatchObject({ gets: 1, hits: 1, ramHits: 1, sets: 1 });

  const withoutRam = open();
  expect(text(await withoutRam.get(bytes("a")))).toBe("one");
  expect(engine.asked).toEqual(["a"]);
  expect(withoutRam.stats()).toMatchObject({ gets: 1, hits: 1, ramHits: 0 });
});

test("a read from the engine is kept in RAM", async () => {
  await open().set(bytes("a"), bytes("one"));
  const cache = open({ ramBytes: 4096 });
  await cache.get(bytes("a"));
  await cache.get(bytes("a"));
  expect(engine.asked).toEqual(["a"]);
});

test("a value set while an older one is being read is not hidden by it", async () => {
  await open().set(bytes("a"), bytes("old"));
  let release = () => {};
  engine.held = new Promise((resolve) => {
    release = resolve;
  });
  const cache = open({ ramBytes: 4096 });
  const reading = cache.get(bytes("a"));
  await cache.set(bytes("a"), bytes("new"));
  await cache.delete(bytes("b"));
  release();
  expect(text(await reading)).toBe("old");
  expect(text(await cache.get(bytes("a")))).toBe("new");
});

test("many keys are read side by side, each in its place", async () => {
  const cache = open();
  await cache.set(bytes("a"), bytes("1"));
  await cache.set(bytes("c"), bytes("3"));
  let release = () => {};
  engine.held = new Promise((resolve) => {
    release = resolve;
  });
  const reading = cache.getMany([bytes("a"), bytes("b"), bytes("c")]);
  expect(engine.asked).toEqual(["a", "b", "c"]);
  release();
  expect((await reading).map(text)).toEqual(["1", undefined, "3"]);
});

test("a value is gone when its time is up, in RAM and on flash", async () => {
  vi.useFakeTimers();
  for (const ramBytes of [0, 4096]) {
    const cache = open({ ramBytes, ttlMs: 5000 });
    await cache.set(bytes("a"), bytes("short"), { ttlMs: 1000 });
    await cache.set(bytes("b"), bytes("long"));
    vi.advanceTimersByTime(999);
    expect((await cache.getMany([bytes("a"), bytes("b")])).map(text)).toEqual(["short", "long"]);
    vi.advanceTimersByTime(1);
    expect((await cache.getMany([bytes("a"), bytes("b")])).map(text)).toEqual([undefined, "long"]);
    vi.advanceTimersByTime(4000);
    expect(await cache.get(bytes("b"))).toBeUndefined();
    expect(cache.stats()).toMatchObject({ gets: 5, hits: 3, expired: 2 });
  }
  await expect(open().set(bytes("a"), bytes("b"), { ttlMs: 0 })).rejects.toMatchObject({ kind: "bad-options" });
  expect(() => open({ ttlMs: Number.NaN })).toThrow(expect.objectContaining({ kind: "bad-options" }));
});

test("another salt sees nothing, and its own values", async () => {
  const [plain, first, second] = [{}, { salt: "model-1" }, { salt: "model-2" }].map(open);
  await plain.set(bytes("a"), bytes("plain"));
  expect(await first.get(bytes("a"))).toBeUndefined();
  await first.set(bytes("a"), bytes("1"));
  expect(await second.get(bytes("a"))).toBeUndefined();
  expect(text(await first.get(bytes("a")))).toBe("1");
  expect(text(await plain.get(bytes("a")))).toBe("plain");
});

test("at second sight: the first set stays in RAM, the second goes to flash", async () => {
  const cache = open({ admission: "second-sight" });
  await cache.get(bytes("a"));
  expect(await cache.set(bytes("a"), bytes("1"))).toBe(false);
  expect([engine.values.size, engine.deleted]).toEqual([0, []]);
  expect(await cache.set(bytes("a"), bytes("2"))).toBe(true);
  expect(text(await cache.get(bytes("a")))).toBe("2");
  expect(cache.stats()).toMatchObject({ sets: 2, notAdmitted: 1 });
});

test("a value that is not admitted, or does not fit, leaves no older one behind", async () => {
  await open().set(bytes("a"), bytes("old"));
  const cache = open({ admission: "second-sight" });
  expect(await cache.set(bytes("a"), bytes("new"))).toBe(false);
  expect(await cache.get(bytes("a"))).toBeUndefined();

  await cache.set(bytes("a"), bytes("fits"));
  expect(text(await cache.get(bytes("a")))).toBe("fits");
  expect(await cache.set(bytes("a"), new Uint8Array(200))).toBe(false);
  expect(await cache.get(bytes("a"))).toBeUndefined();
});

test("a miss that is overtaken by a set is not remembered as one", async () => {
  const cache = open({ admission: "second-sight" });
  let release = () => {};
  engine.held = new Promise((resolve) => {
    release = resolve;
  });
  const reading = cache.get(bytes("a"));
  await cache.set(bytes("a"), bytes("1"));
  await cache.set(bytes("a"), bytes("2"));
  release();
  expect(await reading).toBeUndefined();
  expect(await cache.set(bytes("a"), new Uint8Array(200))).toBe(false);
  expect(await cache.get(bytes("a"))).toBeUndefined();
});

test("a read while a set waits for the device leaves no miss and no older value behind", async () => {
  await open().set(bytes("a"), bytes("old"));
  for (const [key, read] of [
    ["a", "old"],
    ["b", undefined],
  ] as const) {
    const cache = open({ ramBytes: 4096 });
    let release = () => {};
    engine.heldPut = new Promise((resolve) => {
      release = resolve;
    });
    const setting = cache.set(bytes(key), bytes("new"));
    engine.heldPut = undefined;
    // Until the new value has left RAM, nobody asks the engine.
    for (let i = 0; i < 100; i++) await cache.set(bytes(`other ${i}`), bytes("x"));
    expect(text(await cache.get(bytes(key)))).toBe(read);
    release();
    expect(await setting).toBe(true);
    expect(text(await cache.get(bytes(key)))).toBe("new");
    // Kept nowhere: it would be "new" again if the engine were thought to have none.
    expect(await cache.set(bytes(key), new Uint8Array(8000))).toBe(false);
    expect(await cache.get(bytes(key))).toBeUndefined();
  }
});

test("deleted is gone from RAM and flash", async () => {
  const cache = open({ ramBytes: 4096 });
  await cache.set(bytes("a"), bytes("1"));
  await cache.delete(bytes("a"));
  expect(await cache.get(bytes("a"))).toBeUndefined();
});

test("a signal ends a read, before or within", async () => {
  const cache = open();
  await expect(cache.get(bytes("a"), { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  const controller = new AbortController();
  const reading = cache.getMany([bytes("a")], { signal: controller.signal });
  controller.abort(new Error("late"));
  await expect(reading).rejects.toThrow("late");
});

test("closed once, then every call is an error", async () => {
  const cache = open({ ramBytes: 4096 });
  await cache.set(bytes("a"), bytes("1"));
  await Promise.all([cache.close(), cache.close()]);
  expect(engine.closed).toBe(1);
  for (const call of [
    () => cache.get(bytes("a")),
    () => cache.set(bytes("a"), bytes("1")),
    () => cache.delete(bytes("a")),
    () => cache.flush(),
  ])
    await expect(call()).rejects.toMatchObject({ name: "FlashError", kind: "closed" });
});
