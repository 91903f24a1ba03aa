/** What every block device does, whatever it is made of. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import type { BlockDevice } from "./block-device.ts";
import { openBlockFile } from "./block-file.ts";
import { BlocksOnZones } from "./blocks-on-zones.ts";
import { openFileZones } from "./file-zones.ts";
import { MemoryZones } from "./memory-zones.test-data.ts";
import { PageMappedFtl } from "./page-mapped-ftl.ts";
import { SimulatedFdp } from "./simulated-fdp.ts";
import { PAGE_BYTES } from "./zone-device.ts";

const folder = fs.mkdtempSync(path.join(tmpdir(), "blocks-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => path.join(folder, `file-${files++}`);

const BLOCKS = 100;

interface Kind {
  readonly name: string;
  readonly open: () => Promise<BlockDevice>;
}

const KINDS: readonly Kind[] = [
  { name: "BlockFile", open: () => openBlockFile({ path: newFile(), blocks: BLOCKS }) },
  { name: "BlockFile by threads", open: () => openBlockFile({ path: newFile(), blocks: BLOCKS, direct: false }) },
  {
    name: "PageMappedFtl",
    open: async () => new PageMappedFtl({ blocks: BLOCKS, eraseBlockPages: 4, overprovisioning: 0.2 }),
  },
  {
    name: "a part of SimulatedFdp",
    open: async () => {
      const capacityBytes = (BLOCKS + 20) * PAGE_BYTES;
      const drive = new SimulatedFdp({ reclaimUnitBytes: 4 * PAGE_BYTES, reclaimUnits: 42, capacityBytes });
      drive.blocks({ blocks: 20, handle: 1 });
      return drive.blocks({ blocks: BLOCKS, handle: 2 });
    },
  },
  {
    name: "BlocksOnZones in RAM",
    open: async () => {
      const zones = new MemoryZones({ zones: 18, zoneBytes: 8 * PAGE_BYTES }).reopened();
      return new BlocksOnZones(zones, { blocks: BLOCKS });
    },
  },
  {
    name: "BlocksOnZones in a file",
    open: async () => {
      const zones = await openFileZones({ path: newFile(), zones: 18, zoneBytes: 8 * PAGE_BYTES });
      return new BlocksOnZones(zones, { blocks: BLOCKS });
    },
  },
];

const filled = (value: number) => new Uint8Array(PAGE_BYTES).fill(value);

describe.each(KINDS)("$name", ({ open }) => {
  test("gives back the last version of every block, through many overwrites", async () => {
    const device = await open();
    const random = new Randomness(7);
    const model = new Uint8Array(BLOCKS);
    expect(await device.read(17)).toEqual(filled(0));
    for (let round = 0; round < 12; round++) {
      const chosen = new Set(Array.from({ length: 60 }, () => Math.floor(random.next() * BLOCKS)));
      const writes = [...chosen].map((block) => {
        model[block] = 1 + Math.floor(random.next() * 255);
        return device.write(block, filled(model[block]));
      });
      await Promise.all(writes);
      const pages = await Promise.all(Array.from({ length: BLOCKS }, (_, block) => device.read(block)));
      const wrong = pages.flatMap((page, block) => (page.every((byte) => byte === model[block]) ? [] : [block]));
      expect(wrong).toEqual([]);
    }
    await device.sync();
    await device.close();
  });

  test("reads while it writes: the old version or the new one", async () => {
    const device = await open();
    await Promise.all(Array.from({ length: BLOCKS }, (_, block) => device.write(block, filled(1))));
    let seen = 0;
    for (let round = 0; round < 5; round++) {
      const writes = Array.from({ length: 40 }, (_, i) => device.write((i * 7) % 50, filled(2)));
      // Blocks that nobody writes to, but cleaning may move.
      const reads = Array.from({ length: 40 }, (_, i) => device.read(50 + i));
      for (const page of await Promise.all(reads)) if (page.every((byte) => byte === 1)) seen++;
      await Promise.all(writes);
    }
    expect(seen).toBe(200);
    await device.close();
  });

  test("reads into memory of the caller's own", async () => {
    const device = await open();
    const into = filled(9);
    expect(await device.read(3, into)).toBe(into);
    expect(into).toEqual(filled(0));
    await device.write(3, filled(5));
    expect(await device.read(3, into)).toBe(into);
    expect(into).toEqual(filled(5));
    await device.close();
  });

  test("refuses what is no block, and everything once it is closed", async () => {
    const device = await open();
    const bad = [
      () => device.read(BLOCKS),
      () => device.read(-1),
      () => device.read(0.5),
      () => device.read(0, new Uint8Array(100)),
      () => device.write(BLOCKS, filled(1)),
      () => device.write(0, new Uint8Array(2 * PAGE_BYTES)),
    ];
    for (const call of bad) {
      await expect(call(), String(call)).rejects.toMatchObject({ name: "FlashError", kind: "bad-access" });
    }
    await device.close();
    await device.close();
    for (const call of [() => device.read(0), () => device.write(0, filled(1)), () => device.sync()]) {
      await expect(call()).rejects.toMatchObject({ kind: "closed" });
    }
  });

  test("counts pages, and at least what the host wrote as programmed", async () => {
    const device = await open();
    for (let i = 0; i < 500; i++) await device.write((i * 37) % BLOCKS, filled(i & 255));
    const before = device.counters.pagesRead;
    await device.read(1);
    expect(device.counters.pagesRead - before).toBe(1);
    expect(device.counters.hostBytesWritten).toBeGreaterThanOrEqual(500 * PAGE_BYTES);
    expect(device.counters.nandBytesWritten).toBeGreaterThanOrEqual(device.counters.hostBytesWritten);
    await device.close();
  });
});

test("cleaning by the engine counts as its writes", async () => {
  const zones = new MemoryZones({ zones: 18, zoneBytes: 8 * PAGE_BYTES });
  const device = new BlocksOnZones(zones, { blocks: BLOCKS });
  const random = new Randomness(3);
  for (let i = 0; i < 2000; i++) await device.write(Math.floor(random.next() * BLOCKS), filled(1));
  expect(device.blocksCopied).toBeGreaterThan(0);
  expect(device.counters.hostBytesWritten).toBe((2000 + device.blocksCopied) * PAGE_BYTES);
  expect(zones.counters.hostBytesWritten).toBe(device.counters.hostBytesWritten);
});

test("after a write that failed, blocks on zones are read-only", async () => {
  const zones = new MemoryZones({ zones: 18, zoneBytes: 8 * PAGE_BYTES, fullAfterBytes: 3 * PAGE_BYTES });
  const device = new BlocksOnZones(zones, { blocks: BLOCKS });
  const writes = [0, 1, 2, 3, 4].map((block) => device.write(block, filled(block + 1)));
  const ends = await Promise.allSettled(writes);
  expect(ends.map(({ status }) => status)).toEqual([
    ...["fulfilled", "fulfilled", "fulfilled", "rejected", "rejected"],
  ]);
  await expect(device.write(0, filled(9))).rejects.toMatchObject({ kind: "read-only" });
  expect(await device.read(2)).toEqual(filled(3));
});

test("no blocks where there is no reserve to clean with", () => {
  const zones = new MemoryZones({ zones: 4, zoneBytes: 8 * PAGE_BYTES });
  expect(() => new BlocksOnZones(zones, { blocks: 9 })).toThrow(expect.objectContaining({ kind: "bad-options" }));
  expect(new BlocksOnZones(zones).blocks).toBe(8);
});
