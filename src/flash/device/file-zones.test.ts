/** What only files do: they are found again, belong to others, are locked, and have no space left. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compiledModule } from "../../compiled-module.ts";
import { openBlockFile } from "./block-file.ts";
import { type CacheFile, DATA_OFFSET } from "./cache-file.ts";
import { FileZones, openFileZones } from "./file-zones.ts";
import { PAGE_BYTES } from "./zone-device.ts";

const folder = fs.mkdtempSync(path.join(tmpdir(), "file-zones-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => path.join(folder, `file-${files++}`);

const SIZE = { zones: 3, zoneBytes: 4 * PAGE_BYTES };
const page = (value: number) => new Uint8Array(PAGE_BYTES).fill(value);

async function made(label = ""): Promise<string> {
  const file = newFile();
  const device = await openFileZones({ ...SIZE, path: file, label });
  expect(device.created).toBe(true);
  await device.append(1, page(7));
  await device.sync();
  await device.close();
  return file;
}

const kind = (name: string) => expect.objectContaining({ name: "FlashError", kind: name });

describe("a file of zones", () => {
  test("is found again: zones count as full, and hold what they held", async () => {
    const file = await made("seed 1");
    expect(fs.statSync(file).size).toBe(DATA_OFFSET + SIZE.zones * SIZE.zoneBytes);
    const again = await openFileZones({ ...SIZE, path: file });
    expect([again.created, again.label, again.path]).toEqual([false, "seed 1", file]);
    expect([0, 1, 2].map((zone) => again.written(zone))).toEqual([16384, 16384, 16384]);
    expect(await again.read(1, 0, 1)).toEqual(page(7));
    expect(await again.read(1, 1, 1)).toEqual(page(0));
    await expect(again.append(1, page(8))).rejects.toEqual(kind("bad-access"));
    await again.reset(1);
    await again.append(1, page(8));
    expect(await again.read(1, 0, 1)).toEqual(page(8));
    await again.close();
  });

  test("has its space set aside when it is made", async () => {
    const file = newFile();
    const device = await openFileZones({ path: file, zones: 4, zoneBytes: 2 ** 20 });
    expect(fs.statSync(file).blocks * 512).toBeGreaterThanOrEqual(4 * 2 ** 20);
    await device.close();
  });

  test("gives space back at a reset only when told to", async () => {
    const blocks = async (punchHoles: boolean) => {
      const device = await openFileZones({ path: newFile(), zones: 2, zoneBytes: 2 ** 20, punchHoles });
      await device.append(0, new Uint8Array(2 ** 20).fill(1));
      await device.sync();
      const before = fs.statSync(device.path).blocks;
      await device.reset(0);
      const after = fs.statSync(device.path).blocks;
      await device.close();
      return before - after;
    };
    expect(await blocks(false)).toBe(0);
    expect(await blocks(true)).toBe(2048);
  });

  test("goes through large appends and reads in slices, past the page cache where that is to be had", async () => {
    const zoneBytes = 2 ** 20 * 2 + 5 * PAGE_BYTES;
    const bytes = new Uint8Array(zoneBytes);
    for (let i = 0; i < bytes.length; i += 97) bytes[i] = i >>> 6;
    for (const direct of [true, false]) {
      const device = await openFileZones({ path: newFile(), zones: 2, zoneBytes, direct });
      if (!direct || device.downgrades.length === 0) expect(device.direct).toBe(direct);
      await device.append(0, bytes);
      const [all, some] = await Promise.all([device.read(0, 0, zoneBytes / PAGE_BYTES), device.read(0, 254, 5)]);
      expect(Buffer.compare(all, bytes)).toBe(0);
      expect(Buffer.compare(some, bytes.subarray(254 * PAGE_BYTES, 259 * PAGE_BYTES))).toBe(0);
      await device.close();
    }
  });

  test("ends what is under way before it closes", async () => {
    const device = await openFileZones({ ...SIZE, path: newFile(), inFlight: 4 });
    await device.append(0, page(3));
    const reads = Array.from({ length: 50 }, () => device.read(0, 0, 1));
    const write = device.append(2, page(4));
    await device.close();
    expect((await Promise.all(reads)).every((bytes) => bytes[0] === 3)).toBe(true);
    await write;
  });
});

describe("appends side by side", () => {
  /** A device whose writes the test ends, in the order in which they went out. */
  const held = () => {
    const writes: { readonly offset: number; end(error?: Error): void }[] = [];
    const io: CacheFile["io"] = {
      name: "threads",
      read: async (_, into) => into,
      write: (offset) =>
        new Promise((resolve, reject) => {
          writes.push({ offset, end: (error) => (error === undefined ? resolve() : reject(error)) });
        }),
      close: async () => {},
    };
    const known = { path: "held", label: "", created: true, direct: false, downgrades: [], fd: -1 };
    const file: CacheFile = { ...known, io, sync: async () => {}, close: async () => {} };
    return { writes, device: new FileZones(file, { ...SIZE, path: "held" }), faulty: new FileZones(file, HOLES) };
  };
  // No descriptor, so that no hole can be punched.
  const HOLES = { ...SIZE, path: "held", punchHoles: true };
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  test("go out at once, and count as written in their order", async () => {
    const { device, writes } = held();
    const first = device.append(1, page(1));
    const second = device.append(1, page(2));
    await turn();
    const zoneAt = DATA_OFFSET + SIZE.zoneBytes;
    expect(writes.map(({ offset }) => offset)).toEqual([zoneAt, zoneAt + PAGE_BYTES]);
    writes[1].end();
    await turn();
    expect(device.written(1)).toBe(0);
    writes[0].end();
    await first;
    await second;
    expect(device.written(1)).toBe(2 * PAGE_BYTES);
  });

  // Whoever does not wait for each append must not be ended by an unhandled rejection: vitest fails on one.
  test("fail together, and the zone takes nothing more until it is reset", async () => {
    const { device, writes } = held();
    await Promise.all([device.append(1, page(1)), turn().then(() => writes[0].end())]);
    const failed = device.append(1, page(2));
    const behind = device.append(1, page(3));
    const after = Promise.allSettled([failed, behind]);
    const broken = new Error("broken");
    writes[2].end(new Error("later"));
    await turn();
    writes[1].end(broken);
    expect(await after).toEqual([
      { status: "rejected", reason: broken },
      { status: "rejected", reason: broken },
    ]);
    for (let i = 0; i < 5; i++) await expect(device.append(1, page(4))).rejects.toBe(broken);
    expect([writes.length, device.written(1)]).toEqual([3, PAGE_BYTES]);
    const reset = device.reset(1);
    const anew = device.append(1, page(5));
    await reset;
    await turn();
    writes[3].end();
    await anew;
    expect([writes[3].offset, device.written(1)]).toEqual([DATA_OFFSET + SIZE.zoneBytes, PAGE_BYTES]);
  });

  test("stay behind a reset, and fail with it before anything is overwritten", async () => {
    const { device, faulty, writes } = held();
    const old = device.append(0, page(1));
    const reset = device.reset(0);
    const fresh = device.append(0, page(2));
    await turn();
    expect(writes.length).toBe(1);
    writes[0].end();
    await old;
    await reset;
    expect(device.written(0)).toBe(0);
    await turn();
    writes[1].end();
    await fresh;
    expect([writes[1].offset, device.written(0)]).toEqual([DATA_OFFSET, PAGE_BYTES]);
    const both = await Promise.allSettled([faulty.reset(0), faulty.append(0, page(3))]);
    for (const end of both) expect(end).toMatchObject({ status: "rejected", reason: { kind: "read-only" } });
    await expect(faulty.append(0, page(4))).rejects.toEqual(kind("read-only"));
    expect(writes.length).toBe(2);
  });
});

describe("a file that is no such cache", () => {
  const refusesAndKeeps = async (file: string, name: string, options: { label?: string } = {}) => {
    const before = fs.readFileSync(file);
    await expect(openFileZones({ ...SIZE, ...options, path: file })).rejects.toEqual(kind(name));
    await expect(openFileZones({ ...SIZE, ...options, path: file })).rejects.toThrow(file);
    expect(fs.readFileSync(file).equals(before)).toBe(true);
  };

  test("is refused and left as it is: foreign, damaged at any byte, cut short", async () => {
    const foreign = newFile();
    fs.writeFileSync(foreign, "A letter to a friend.");
    await refusesAndKeeps(foreign, "not-a-cache");
    fs.writeFileSync(foreign, new Uint8Array(2 * PAGE_BYTES));
    await refusesAndKeeps(foreign, "not-a-cache");
    const file = await made("label");
    const bytes = fs.readFileSync(file);
    for (const at of [0, 7, 8, 12, 16, 20, 24, 28, 40, 2000, PAGE_BYTES - 1]) {
      const damaged = Buffer.from(bytes);
      damaged[at] ^= 1;
      fs.writeFileSync(foreign, damaged);
      await refusesAndKeeps(foreign, "not-a-cache");
    }
    fs.writeFileSync(foreign, bytes.subarray(0, PAGE_BYTES - 1));
    await refusesAndKeeps(foreign, "not-a-cache");
  });

  test("is refused and left as it is: other geometry, label or kind", async () => {
    const file = await made("alpha");
    await refusesAndKeeps(file, "other-parameters", { label: "beta" });
    const geometries = [
      { zones: 4, zoneBytes: SIZE.zoneBytes },
      { zones: 3, zoneBytes: 2 * SIZE.zoneBytes },
    ];
    for (const other of geometries) {
      await expect(openFileZones({ ...other, path: file })).rejects.toEqual(kind("other-parameters"));
    }
    await expect(openBlockFile({ blocks: 3, path: file })).rejects.toEqual(kind("other-parameters"));
    await (await openFileZones({ ...SIZE, path: file, label: "alpha" })).close();
  });

  test("is refused: a directory, a device, no directory, a label too long", async () => {
    await expect(openFileZones({ ...SIZE, path: folder })).rejects.toEqual(kind("not-a-cache"));
    await expect(openFileZones({ ...SIZE, path: "/dev/null" })).rejects.toEqual(kind("not-a-cache"));
    const nowhere = path.join(folder, "none", "file");
    await expect(openFileZones({ ...SIZE, path: nowhere })).rejects.toEqual(kind("bad-options"));
    const label = "x".repeat(PAGE_BYTES);
    await expect(openFileZones({ ...SIZE, path: newFile(), label })).rejects.toEqual(kind("bad-options"));
  });
});

describe("making a file", () => {
  test("goes on where a killed process stopped, at whatever length", async () => {
    const file = await made("again");
    for (const length of [PAGE_BYTES, PAGE_BYTES + 1000, DATA_OFFSET + SIZE.zoneBytes + PAGE_BYTES]) {
      fs.truncateSync(file, length);
      const device = await openFileZones({ ...SIZE, path: file });
      expect(device.created).toBe(false);
      expect(await device.read(2, 3, 1)).toEqual(page(0));
      await device.close();
      expect(fs.statSync(file).size).toBe(DATA_OFFSET + SIZE.zones * SIZE.zoneBytes);
    }
    // Killed before its first page was written.
    fs.truncateSync(file, 0);
    const device = await openFileZones({ ...SIZE, path: file });
    expect(device.created).toBe(true);
    await device.close();
  });

  test("without the space for it leaves nothing behind", async () => {
    const { bavail, bsize } = fs.statfsSync(folder);
    const zones = 64;
    const zoneBytes = Math.ceil((bavail * bsize * 2) / zones / 2 ** 20) * 2 ** 20;
    const file = newFile();
    await expect(openFileZones({ path: file, zones, zoneBytes })).rejects.toEqual(kind("read-only"));
    await expect(openFileZones({ path: file, zones, zoneBytes })).rejects.toThrow(/ENOSPC/);
    expect(fs.existsSync(file)).toBe(false);
    expect(fs.statfsSync(folder).bavail).toBeGreaterThan(bavail / 2);
  });
});

describe("the lock", () => {
  test("keeps a second one out, of this process too, and ends with close", async () => {
    const file = newFile();
    const first = await openFileZones({ ...SIZE, path: file });
    await expect(openFileZones({ ...SIZE, path: file })).rejects.toEqual(kind("in-use"));
    await expect(openFileZones({ ...SIZE, path: file })).rejects.toThrow(file);
    await first.append(0, page(1));
    await first.close();
    await (await openFileZones({ ...SIZE, path: file })).close();
  });

  test("of another process keeps us out until that is killed, whose appends are all there", async () => {
    const file = newFile();
    const program = `
      import { openFileZones } from "${compiledModule(import.meta.url, "./file-zones.js")}";
      const device = await openFileZones({ path: ${JSON.stringify(file)}, zones: 3, zoneBytes: 16384 });
      await device.append(2, new Uint8Array(8192).fill(5));
      console.log("appended");
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    await expect(openFileZones({ ...SIZE, path: file })).rejects.toEqual(kind("in-use"));
    child.kill("SIGKILL");
    await once(child, "exit");
    const device = await openFileZones({ ...SIZE, path: file });
    expect(await device.read(2, 0, 2)).toEqual(new Uint8Array(8192).fill(5));
    await device.close();
  });
});
