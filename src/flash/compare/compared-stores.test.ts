import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ComparedStore, MissingPackageError, optionalPackage } from "./compared-store.ts";
import { openEngineStore } from "./engine-store.ts";
import { openLmdbStore } from "./lmdb-store.ts";
import { openSqliteStore } from "./sqlite-store.ts";

const stores: readonly (readonly [string, (file: string) => Promise<ComparedStore>])[] = [
  ["log", (file) => openEngineStore(file, { engine: "log", sizeBytes: 2 ** 24 })],
  ["nemo", (file) => openEngineStore(file, { engine: "nemo", sizeBytes: 2 ** 24 })],
  ["set", (file) => openEngineStore(file, { engine: "set", sizeBytes: 2 ** 24 })],
  ["SQLite", openSqliteStore],
  ["LMDB", openLmdbStore],
];

describe("compared stores", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), "compared-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it.for(stores)("%s gives back what was put, also after closing", async ([name, open], { skip }) => {
    const file = path.join(folder, name);
    const key = (i: number) => new TextEncoder().encode(`key ${i}`);
    const value = (i: number) => new Uint8Array(i % 200).fill(i);
    const count = 150;
    const keys = Array.from({ length: count + 10 }, (_, i) => key(i));
    const check = async (store: ComparedStore, shift: number) => {
      const values = await store.getMany(keys);
      expect(values).toHaveLength(count + 10);
      for (let i = 0; i < count; i++) expect(Buffer.from(values[i] ?? [255])).toEqual(Buffer.from(value(i + shift)));
      for (let i = count; i < count + 10; i++) expect(values[i]).toBeUndefined();
    };
    let store: ComparedStore;
    try {
      store = await open(file);
    } catch (error) {
      // Packages for comparison are optional.
      if (error instanceof MissingPackageError) skip(error.message);
      throw error;
    }
    await store.putMany(keys.slice(0, count).map((k, i) => [k, value(i)] as const));
    await check(store, 0);
    await store.putMany(keys.slice(0, count).map((k, i) => [k, value(i + 7)] as const));
    await check(store, 7);
    await store.flush();
    expect(store.bytesOnDisk()).toBeGreaterThan(count * 100);
    await store.close();

    store = await open(file);
    await check(store, 7);
    await store.close();
  });

  it("name the package that is missing", async () => {
    await expect(optionalPackage("no-such-package-of-ours")).rejects.toThrow(/install no-such-package-of-ours/);
  });
});
