/**
 * What reads a cache back, fed with anything: a device whose pages were changed, swapped, made up or signed anew with absurd fields.
 * Opening and asking must end, throw nothing but a refusal, and return nothing that was not put under the key.
 */
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { keyOf, versionOf, writtenValue } from "../../src/bench/flash-faults/written-values.ts";
import { MemoryZones } from "../../src/flash/device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../../src/flash/device/zone-device.ts";
import type { FlashEngine } from "../../src/flash/engine.ts";
import { FlashError } from "../../src/flash/errors.ts";
import { openLogCache } from "../../src/flash/log-cache/log-cache.ts";
import { openNemo } from "../../src/flash/nemo/open.ts";
import { FaultyBlocks } from "../../src/flash/set-cache/faulty-blocks.test-data.ts";
import { openSetCache } from "../../src/flash/set-cache/set-cache.ts";
import { Randomness } from "../../src/predict/randomness.ts";

const ZONES = 9;
const ZONE_BYTES = 6 * PAGE_BYTES;
const KEYS = 220;
/** As the first version in the file, and as what is put after it was damaged. */
const FIRST_VERSION = 1;
const LATE_VERSION = 2 ** 31;
/** Cases of each kind for each engine: thousands in all. */
const RUNS = 300;
const REFUSALS: readonly string[] = ["not-a-cache", "other-parameters"];

/** A device with a cache's bytes: what an engine does to it stays there, and can be copied. */
interface FuzzedDevice {
  readonly open: () => Promise<FlashEngine>;
  readonly bytes: () => Promise<Uint8Array>;
}

function zonesOf(openOn: (device: MemoryZones) => Promise<FlashEngine>) {
  return async (bytes?: Uint8Array): Promise<FuzzedDevice> => {
    let device = new MemoryZones({ zones: ZONES, zoneBytes: ZONE_BYTES });
    if (bytes !== undefined) {
      for (let zone = 0; zone < ZONES; zone++)
        await device.append(zone, bytes.subarray(zone * ZONE_BYTES, (zone + 1) * ZONE_BYTES));
      device = device.reopened();
    }
    return {
      open: () => openOn(device),
      async bytes() {
        const copy = device.reopened();
        const zones = Array.from({ length: ZONES }, (_, zone) => copy.read(zone, 0, ZONE_BYTES / PAGE_BYTES));
        // Not the Buffer itself: its slices would share its memory.
        return new Uint8Array(Buffer.concat(await Promise.all(zones)));
      },
    };
  };
}

const DEVICES: Readonly<Record<string, (bytes?: Uint8Array) => Promise<FuzzedDevice>>> = {
  nemo: zonesOf((device) =>
    openNemo(device, { groupSetGroups: 2, checkpointZones: 2, flushThreshold: 0.5, hotness: 1 }),
  ),
  log: zonesOf((device) => openLogCache(device, { bufferBytes: PAGE_BYTES })),
  set: async (bytes) => {
    const blocks = 24;
    const device = new FaultyBlocks(blocks, {}, bytes?.slice() ?? new Uint8Array(blocks * PAGE_BYTES));
    return { open: () => openSetCache(device), bytes: async () => device.bytes.slice() };
  },
};

/** Devices as a process leaves them: some flushes after the first, full and gone round, closed, or in the middle of things. */
async function images(name: string): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for (const [rounds, closes] of [
    [2, false],
    [14, false],
    [14, true],
    [23, true],
  ] as const) {
    const device = await DEVICES[name]();
    const engine = await device.open();
    let version = FIRST_VERSION;
    const random = new Randomness(rounds);
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 50; i++) {
        const key = Math.floor(random.next() * KEYS);
        if (i % 9 === 0) await engine.delete(keyOf(key));
        else await engine.put(keyOf(key), writtenValue(key, version++));
      }
      if (round + 1 < rounds || !closes) await engine.flush();
    }
    if (closes) await engine.close();
    all.push(await device.bytes());
  }
  return all;
}

const ODD_NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0xfff, 0x1000, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Damage that leaves checksums as they were. */
function damage(bytes: Uint8Array, random: Randomness): void {
  const below = (count: number) => Math.floor(random.next() * count);
  const pageAt = () => below(bytes.length / PAGE_BYTES) * PAGE_BYTES;
  const at = pageAt();
  switch (below(6)) {
    case 0:
      bytes[at + below(PAGE_BYTES)] ^= 1 << below(8);
      break;
    case 1:
      for (let i = at + below(PAGE_BYTES), left = 1 + below(64); left > 0; i++, left--)
        bytes[i % bytes.length] = below(256);
      break;
    case 2:
      bytes.fill(random.next() < 0.5 ? 0 : 0xff, at, at + PAGE_BYTES);
      break;
    case 3:
      copyPart(bytes, at, pageAt(), PAGE_BYTES);
      break;
    case 4: {
      // The page of another zone that lies at the same place in it.
      const from = at % ZONE_BYTES;
      const zones = Math.floor(bytes.length / ZONE_BYTES);
      copyPart(bytes, at, below(zones) * ZONE_BYTES + from, PAGE_BYTES);
      break;
    }
    case 5:
      // The beginning of a page that was written over an older one.
      copyPart(bytes, at, pageAt(), 512 * below(8));
  }
}

function copyPart(bytes: Uint8Array, to: number, from: number, count: number): void {
  bytes.copyWithin(to, from, from + count);
}

/** An absurd number in a page's fields, and every checksum right: as no accident does, but a reader should survive it. */
function forge(bytes: Uint8Array, random: Randomness): void {
  const below = (count: number) => Math.floor(random.next() * count);
  const page = Buffer.from(bytes.buffer, bytes.byteOffset + below(bytes.length / PAGE_BYTES) * PAGE_BYTES, PAGE_BYTES);
  const width = [1, 2, 4][below(3)];
  const odd = ODD_NUMBERS[below(ODD_NUMBERS.length)] % 2 ** (8 * width);
  const at = below(4) === 0 ? PAGE_BYTES - 64 + below(60) : 4 + below(60);
  page.writeUIntLE(odd, at, width);
  sign(page);
}

function sign(page: Buffer): void {
  if (page.readUInt16LE(4) === 0x7301 || page.toString("latin1", 4, 8) === "WSET")
    page.writeUInt32LE(crc32(page.subarray(4)), 0);
  for (const stamp of [0, PAGE_BYTES / 2, PAGE_BYTES - 64])
    if (page.toString("latin1", stamp + 4, stamp + 8) === "WLOG")
      page.writeUInt32LE(crc32(page.subarray(stamp + 4, stamp + 64)), stamp);
  if (page.readUInt16LE(PAGE_BYTES - 6) >>> 8 === 0x7a)
    page.writeUInt32LE(crc32(page.subarray(0, PAGE_BYTES - 4)), PAGE_BYTES - 4);
}

/** Opens, asks, writes, asks and closes. @returns right and wrong answers, or undefined when it was refused */
async function use(device: FuzzedDevice, random: Randomness): Promise<{ right: number; wrong: number } | undefined> {
  let engine: FlashEngine;
  try {
    engine = await device.open();
  } catch (error) {
    if (!(error instanceof FlashError) || !REFUSALS.includes(error.kind)) throw error;
    return undefined;
  }
  const answers = { right: 0, wrong: 0 };
  const late = new Set<number>();
  const ask = async () => {
    for (let key = 0; key < KEYS; key++) {
      const value = await engine.get(keyOf(key));
      if (value === undefined) continue;
      const version = versionOf(key, value);
      // What was put after the damage is not to be hidden by it.
      if (version < FIRST_VERSION || (late.has(key) && version !== LATE_VERSION)) answers.wrong++;
      else answers.right++;
    }
  };
  await ask();
  for (let i = 0; i < 60; i++) {
    const key = Math.floor(random.next() * KEYS);
    late.add(key);
    await engine.put(keyOf(key), writtenValue(key, LATE_VERSION));
  }
  await engine.flush();
  await ask();
  await engine.close();
  return answers;
}

describe.each(["nemo", "log", "set"])("the reader of %s", (name) => {
  test("returns nothing wrong whatever was damaged", async () => {
    const bases = await images(name);
    const random = new Randomness(7, name.length);
    let right = 0;
    let refused = 0;
    for (let run = 0; run < RUNS; run++) {
      const bytes = bases[run % bases.length].slice();
      for (let left = 1 + Math.floor(random.next() ** 2 * 20); left > 0; left--) damage(bytes, random);
      const answers = await use(await DEVICES[name](bytes), random);
      if (answers === undefined) refused++;
      else if (answers.wrong > 0) expect.fail(`run ${run}: ${answers.wrong} wrong answers`);
      else right += answers.right;
    }
    expect(right).toBeGreaterThan(RUNS * 60);
    expect(refused).toBeLessThan(RUNS / 10);
  });

  test("ends, and refuses at most, when fields are absurd and every checksum is right", async () => {
    const bases = await images(name);
    const random = new Randomness(8, name.length);
    let right = 0;
    for (let run = 0; run < RUNS; run++) {
      const bytes = bases[run % bases.length].slice();
      for (let left = 1 + Math.floor(random.next() * 6); left > 0; left--) forge(bytes, random);
      const answers = await use(await DEVICES[name](bytes), random);
      right += answers?.right ?? 0;
    }
    expect(right).toBeGreaterThan(RUNS * 60);
  });

  test("refuses or begins anew on what was never a cache", async () => {
    const random = new Randomness(9);
    const length = (await (await DEVICES[name]()).bytes()).length;
    for (let run = 0; run < 60; run++) {
      const noise = new Uint8Array(length);
      for (let i = 0; i < length; i++) noise[i] = random.next() * 256;
      const answers = await use(await DEVICES[name](noise), random);
      expect(answers?.wrong ?? 0).toBe(0);
    }
  });
});
