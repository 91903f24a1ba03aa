/** What every zone device does, whatever it is made of. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { FlashErrorKind } from "../errors.ts";
import { openFileZones } from "./file-zones.ts";
import { MemoryZones } from "./memory-zones.test-data.ts";
import { SimulatedFdp } from "./simulated-fdp.ts";
import { SimulatedZns } from "./simulated-zns.ts";
import { PAGE_BYTES, type ZoneDevice } from "./zone-device.ts";

const folder = fs.mkdtempSync(path.join(tmpdir(), "zones-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => path.join(folder, `file-${files++}`);

const ZONES = 5;
const ZONE_PAGES = 8;
const ZONE_BYTES = ZONE_PAGES * PAGE_BYTES;
const GEOMETRY = { zones: ZONES, zoneBytes: ZONE_BYTES };

interface Kind {
  readonly name: string;
  readonly open: () => Promise<ZoneDevice>;
}

const KINDS: readonly Kind[] = [
  { name: "MemoryZones", open: async () => new MemoryZones(GEOMETRY) },
  { name: "FileZones", open: () => openFileZones({ ...GEOMETRY, path: newFile() }) },
  { name: "FileZones with holes", open: () => openFileZones({ ...GEOMETRY, path: newFile(), punchHoles: true }) },
  {
    name: "FileZones with two reads in flight",
    open: () => openFileZones({ ...GEOMETRY, path: newFile(), inFlight: 2 }),
  },
  { name: "FileZones by threads", open: () => openFileZones({ ...GEOMETRY, path: newFile(), direct: false }) },
  { name: "SimulatedZns", open: async () => new SimulatedZns(GEOMETRY) },
  {
    name: "a part of SimulatedFdp",
    open: async () => {
      const capacityBytes = 2 * ZONES * ZONE_BYTES;
      const drive = new SimulatedFdp({ reclaimUnitBytes: ZONE_BYTES, reclaimUnits: 2 * ZONES + 10, capacityBytes });
      drive.zones({ ...GEOMETRY, handle: 3 });
      return drive.zones({ ...GEOMETRY, handle: 5 });
    },
  },
];

/** Pages that differ in every byte position and from each other. */
function pages(count: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: count * PAGE_BYTES }, (_, i) => ((i + seed * 7919) * 2654435761) >>> 21);
}

const refused = (kind: FlashErrorKind) => ({ name: "FlashError", kind });

describe.each(KINDS)("$name", ({ open }) => {
  test("gives back what was appended, page by page and across appends", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    const first = pages(3, 1);
    const second = pages(2, 2);
    // Not awaited in between: appends to a zone happen in the order of the calls.
    await Promise.all([device.append(1, first), device.append(1, second), device.append(4, second)]);
    expect([device.written(0), device.written(1), device.written(4)]).toEqual([0, 5 * PAGE_BYTES, 2 * PAGE_BYTES]);
    expect(await device.read(1, 0, 3)).toEqual(first);
    expect(await device.read(1, 3, 2)).toEqual(second);
    expect(await device.read(1, 2, 2)).toEqual(joined(first.subarray(2 * PAGE_BYTES), second.subarray(0, PAGE_BYTES)));
    expect(await device.read(4, 1, 1)).toEqual(second.subarray(PAGE_BYTES));
  });

  test("reads into memory of the caller's own, and nothing beside it", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    await device.append(0, pages(2, 3));
    const memory = new Uint8Array(PAGE_BYTES + 200).fill(0xee);
    const into = memory.subarray(100, 100 + PAGE_BYTES);
    expect(await device.read(0, 1, 1, into)).toBe(into);
    expect(into).toEqual(pages(2, 3).subarray(PAGE_BYTES));
    expect(memory.subarray(0, 100).every((byte) => byte === 0xee)).toBe(true);
    expect(memory.subarray(100 + PAGE_BYTES).every((byte) => byte === 0xee)).toBe(true);
  });

  test("holds nothing of the caller's memory once an append is done", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    const bytes = pages(1, 4);
    await device.append(0, bytes);
    bytes.fill(0);
    const read = await device.read(0, 0, 1);
    expect(read).toEqual(pages(1, 4));
    read.fill(0);
    expect(await device.read(0, 0, 1)).toEqual(pages(1, 4));
  });

  test("answers many reads at once, each with its own page", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    const full = pages(ZONE_PAGES, 5);
    for (let zone = 0; zone < ZONES - 1; zone++) await device.append(zone, full);
    const reads = Array.from({ length: 600 }, (_, i) => device.read(i % (ZONES - 1), (i * 5) % ZONE_PAGES, 1));
    const wrong = (await Promise.all(reads)).filter((page, i) => {
      const at = ((i * 5) % ZONE_PAGES) * PAGE_BYTES;
      return Buffer.compare(page, full.subarray(at, at + PAGE_BYTES)) !== 0;
    });
    expect(wrong).toEqual([]);
  });

  test("starts a zone again after a reset", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    await device.append(2, pages(ZONE_PAGES, 6));
    await device.append(3, pages(1, 7));
    await device.reset(2);
    expect([device.written(2), device.written(3)]).toEqual([0, PAGE_BYTES]);
    await expect(device.read(2, 0, 1)).rejects.toMatchObject(refused("bad-access"));
    await device.append(2, pages(ZONE_PAGES, 8));
    expect(await device.read(2, 0, ZONE_PAGES)).toEqual(pages(ZONE_PAGES, 8));
    expect(await device.read(3, 0, 1)).toEqual(pages(1, 7));
  });

  test("refuses what does not lie in the zones", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    await device.append(0, pages(ZONE_PAGES - 1, 9));
    const calls = [
      () => device.append(0, pages(2, 9)),
      () => device.append(1, pages(1, 9).subarray(1)),
      () => device.append(1, new Uint8Array(0)),
      () => device.append(ZONES, pages(1, 9)),
      () => device.append(-1, pages(1, 9)),
      () => device.read(0, ZONE_PAGES - 1, 1),
      () => device.read(0, 0, ZONE_PAGES),
      () => device.read(0, 0, 0),
      () => device.read(0, -1, 1),
      () => device.read(0, 0.5, 1),
      () => device.read(1, 0, 1),
      () => device.read(ZONES, 0, 1),
      () => device.read(0, 0, 1, new Uint8Array(PAGE_BYTES - 1)),
      () => device.reset(ZONES),
    ];
    for (const call of calls) await expect(call(), String(call)).rejects.toMatchObject(refused("bad-access"));
    // A refused append changes nothing.
    expect(device.written(0)).toBe((ZONE_PAGES - 1) * PAGE_BYTES);
    await device.append(0, pages(1, 10));
    expect(await device.read(0, ZONE_PAGES - 1, 1)).toEqual(pages(1, 10));
  });

  test("counts host bytes, pages and resets; sequential zones have a device write amplification of exactly 1", async () => {
    await using zones = closing(await open());
    const { device } = zones;
    let appended = 0;
    for (let turn = 0; turn < 4; turn++) {
      for (let zone = 0; zone < ZONES; zone++) {
        if (device.written(zone) > 0) await device.reset(zone);
        await device.append(zone, pages(3, turn));
        await device.append(zone, pages(ZONE_PAGES - 3, turn));
        appended += ZONE_BYTES;
      }
    }
    await device.read(0, 0, 3);
    await device.read(0, 2, 1);
    expect(device.counters).toEqual({
      hostBytesWritten: appended,
      nandBytesWritten: appended,
      hostBytesRead: 4 * PAGE_BYTES,
      pagesRead: 4,
      resets: 3 * ZONES,
    });
  });

  test("refuses everything once it is closed", async () => {
    const device = await open();
    await device.append(0, pages(1, 11));
    await device.sync();
    await device.close();
    await device.close();
    const calls = [
      () => device.append(0, pages(1, 11)),
      () => device.read(0, 0, 1),
      () => device.reset(0),
      () => device.sync(),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject(refused("closed"));
  });
});

function closing(device: ZoneDevice): AsyncDisposable & { device: ZoneDevice } {
  return { device, [Symbol.asyncDispose]: () => device.close() };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Uint8Array.from([...a, ...b]);
}
