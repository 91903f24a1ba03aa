import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type OpenFlashCacheOptions, openFlashCache, usualZoneBytes } from "./open-flash-cache.ts";

const MIB = 2 ** 20;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : new TextDecoder().decode(value));

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-flash-cache-"));
  file = path.join(folder, "cache");
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (options: Partial<OpenFlashCacheOptions> = {}) =>
  openFlashCache({ path: file, sizeBytes: 16 * MIB, ...options });

test.each(["nemo", "log", "set"] as const)("%s: what was set is there after a restart", async (engine) => {
  const cache = await open({ engine });
  expect(cache.engineName).toBe(engine);
  const keys = Array.from({ length: 1000 }, (_, i) => bytes(`key ${i}`));
  await Promise.all(keys.map((key, i) => cache.set(key, bytes(`value ${i}`.repeat(20)))));
  await cache.delete(bytes("key 7"));
  await cache.close();

  const again = await open({ engine });
  const values = (await again.getMany(keys)).map(text);
  expect(values[7]).toBeUndefined();
  const kept = values.filter((value, i) => value === `value ${i}`.repeat(20));
  expect(kept.length).toBe(values.filter((value) => value !== undefined).length);
  expect(kept.length).toBeGreaterThan(950);
  await again.close();
});

test("another file is refused and left as it is", async () => {
  writeFileSync(file, "not a cache");
  await expect(open()).rejects.toMatchObject({ name: "FlashError", kind: "not-a-cache" });
  expect(readFileSync(file, "utf8")).toBe("not a cache");
});

test("another engine, another size or other settings are refused, each by name", async () => {
  await (await open()).close();
  await expect(open({ engine: "log" })).rejects.toMatchObject({ kind: "other-parameters" });
  await expect(open({ sizeBytes: 32 * MIB })).rejects.toMatchObject({ kind: "other-parameters" });
  // The file is not locked by those who were refused.
  await (await open()).close();
});

test("a second opening is refused while the first is open", async () => {
  const cache = await open();
  await expect(open()).rejects.toMatchObject({ kind: "in-use" });
  await cache.close();
  await (await open()).close();
});

test("sizes and places that make no cache are refused, and leave nothing behind", async () => {
  await expect(open({ sizeBytes: MIB })).rejects.toMatchObject({ kind: "bad-options" });
  await expect(open({ path: path.join(folder, "none", "cache") })).rejects.toMatchObject({ kind: "bad-options" });
  expect(existsSync(file)).toBe(false);
});

test("zones grow with the cache", () => {
  expect([16 * MIB, 1024 * MIB, 2 ** 36].map(usualZoneBytes)).toEqual([MIB / 4, 4 * MIB, 64 * MIB]);
});
