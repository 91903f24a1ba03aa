import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import koffi from "koffi";
import { afterAll, describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import type { ExpertKey } from "../cache/shape.ts";
import { createAio } from "./aio.ts";
import type { ExpertPlaces, SlicePlace } from "./expert-memory.ts";
import { PAGE_BYTES, releaseMemory, reserveMemory, viewMemory } from "./libc.ts";
import { OwnedMemory, type OwnedMemoryOptions } from "./owned-memory.ts";
import { coveringPages, ownPages, sharedEdgeBytes } from "./page-plan.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "owned-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const EXPERTS = 5;
/**
 * Layers as mixed quantisations make them: slices that break pages, whole pages (twice as large), some under a page, and
 * some of several requests. One behind the other from an odd offset, so that neighbours share pages.
 */
const STRIDES = [
  [3 * PAGE_BYTES + 1000, 3 * PAGE_BYTES + 1000, 40 * PAGE_BYTES + 500],
  [40 * PAGE_BYTES, 40 * PAGE_BYTES, 80 * PAGE_BYTES],
  [1500, 2 * PAGE_BYTES, 700],
  [(1 << 20) + 3 * PAGE_BYTES + 77, 2 * PAGE_BYTES + 9],
];
const layers: SlicePlace[][] = [];
let end = 5000;
for (const strides of STRIDES)
  layers.push(
    strides.map((strideBytes) => {
      const place = { file: 0, offset: end, strideBytes };
      end += strideBytes * EXPERTS;
      return place;
    }),
  );
const FILE_BYTES = end + 333;
const MAPPED_BYTES = Math.ceil(FILE_BYTES / PAGE_BYTES) * PAGE_BYTES;
const KEYS = layers.length * EXPERTS;

const content = Buffer.alloc(FILE_BYTES);
for (let i = 0; i + 4 <= FILE_BYTES; i += 4) content.writeUInt32LE(Math.imul(i + 1, 2654435761) >>> 0, i);
const path = join(folder, "experts");
fs.writeFileSync(path, content);
const written = fs.openSync(path, "r+");
fs.fsyncSync(written);
fs.closeSync(written);

const slicesOf = (key: number) => layers[Math.floor(key / EXPERTS)];
const placeOf = (key: number, { offset, strideBytes }: SlicePlace) => offset + (key % EXPERTS) * strideBytes;
const bytesOf = (key: number) => slicesOf(key).reduce((sum, { strideBytes }) => sum + strideBytes, 0);
const EDGE_BYTES = layers
  .flat()
  .reduce((sum, s) => sum + sharedEdgeBytes(s.offset, s.strideBytes, EXPERTS, PAGE_BYTES), 0);

/** Reads that finish in any order, and only when somebody reaps: what a real engine may do, but by choice. */
class WilfulReads implements ReadEngine {
  readonly name = "pread-pool" as const;
  readonly #fd: number;
  readonly #done: ReadDone;
  readonly #random: () => number;
  readonly #depth: number;
  readonly #waiting: (() => void)[] = [];

  constructor(fd: number, done: ReadDone, random: () => number, depth: number) {
    this.#fd = fd;
    this.#done = done;
    this.#random = random;
    this.#depth = depth;
  }

  get free(): number {
    return this.#depth - this.#waiting.length;
  }

  get inFlight(): number {
    return this.#waiting.length;
  }

  submit(_file: number, offset: number, address: number, bytes: number, expected: number, tag: number): void {
    expect(this.free).toBeGreaterThan(0);
    this.#waiting.push(() => {
      expect(fs.readSync(this.#fd, Buffer.from(viewMemory(address, expected)), 0, expected, offset)).toBe(expected);
      this.#done(tag, bytes, undefined);
    });
  }

  reap(atLeast: number): number {
    const most = this.#waiting.length;
    const least = Math.min(atLeast, most);
    const count = least + Math.floor(this.#random() * (most - least + 1));
    for (let i = 0; i < count; i++) this.#waiting.splice(Math.floor(this.#random() * this.#waiting.length), 1)[0]();
    return count;
  }

  close(): void {
    while (this.inFlight > 0) this.reap(this.inFlight);
  }
}

interface Opened {
  readonly memory: OwnedMemory;
  readonly base: number;
  readonly completed: Set<number>;
  readonly close: () => void;
}

type CreateReads = (fd: number, done: ReadDone) => ReadEngine;

function open(
  createReads: CreateReads,
  flags: number,
  options: Pick<OwnedMemoryOptions, "budgetBytes"> & Partial<OwnedMemoryOptions>,
): Opened {
  const fd = fs.openSync(path, flags);
  const base = reserveMemory(MAPPED_BYTES);
  const completed = new Set<number>();
  let memory: OwnedMemory | undefined;
  const reads = createReads(fd, (tag, bytes, error) => (memory as OwnedMemory).finished(tag, bytes, error));
  const places: ExpertPlaces = {
    files: [{ path, bytes: FILE_BYTES, base }],
    layers,
    expertsPerLayer: EXPERTS,
    onComplete: (key) => completed.add(key),
  };
  memory = new OwnedMemory({ ...places, reads, ...options });
  return {
    memory,
    base,
    completed,
    close: () => {
      reads.close();
      fs.closeSync(fd);
      releaseMemory(base, MAPPED_BYTES);
    },
  };
}

const mincore = koffi.load("libc.so.6").func("int mincore(uintptr_t address, size_t bytes, _Out_ uint8_t *vector)");

/** Pages of the range that exist. */
function residentBytes(base: number): number {
  const pages = new Uint8Array(MAPPED_BYTES / PAGE_BYTES);
  expect(mincore(base, MAPPED_BYTES, pages)).toBe(0);
  return pages.reduce((sum, page) => sum + (page & 1), 0) * PAGE_BYTES;
}

function expectBytes(base: number, key: number): void {
  for (const slice of slicesOf(key)) {
    const offset = placeOf(key, slice);
    const there = Buffer.from(viewMemory(base + offset, slice.strideBytes));
    if (there.compare(content, offset, offset + slice.strideBytes) !== 0)
      throw new Error(`expert ${key}: the slice at ${offset} differs from the file`);
  }
}

/** The cache's part, played at random: loads what is absent, evicts what is complete, never more than the budget. */
class Player {
  readonly #opened: Opened;
  readonly #random: () => number;
  readonly #budgetBytes: number;
  readonly #resident = new Set<number>();
  readonly #speculative = new Set<number>();
  readonly #demanded = new Set<number>();
  readonly #calledOff = new Set<number>();

  constructor(opened: Opened, random: () => number, budgetBytes: number) {
    this.#opened = opened;
    this.#random = random;
    this.#budgetBytes = budgetBytes;
  }

  step(): void {
    const { memory } = this.#opened;
    const action = Math.floor(this.#random() * 10);
    if (action < 3) this.#load(action === 0 ? "prefetch" : "demand");
    else if (action === 3) this.#evict(this.#resident);
    else if (action === 4) memory.pump(this.#random() * 3e6);
    else if (action === 5) memory.poll();
    else if (action === 6) this.#cancel();
    else if (action === 7) this.#promote();
    else if (action === 8) memory.waitForAny();
    else this.#waitForOne();
    this.#takeNote();
  }

  /** Everything demanded arrives; what is in memory is checked. */
  settle(): void {
    const { memory, base } = this.#opened;
    memory.pump(Number.MAX_SAFE_INTEGER);
    for (const key of [...this.#demanded, ...this.#speculative])
      for (let stage = 0; stage < slicesOf(key).length; stage++) memory.wait(key as ExpertKey, stage);
    while (memory.inFlightBytes > 0) memory.waitForAny();
    this.#takeNote();
    for (const key of this.#calledOff) {
      expect(memory.cancel(key as ExpertKey)).toBe("done");
      this.#calledOff.delete(key);
    }
    expect(this.#demanded.size + this.#speculative.size).toBe(0);
    for (const key of this.#resident) expectBytes(base, key);
    expect(residentBytes(base)).toBeLessThanOrEqual(this.#budgetBytes + EDGE_BYTES);
  }

  #takeNote(): void {
    const { completed } = this.#opened;
    for (const key of completed) {
      // A load that was called off is never announced.
      expect(this.#demanded.delete(key) || this.#speculative.delete(key)).toBe(true);
      this.#resident.add(key);
    }
    completed.clear();
  }

  #load(kind: "demand" | "prefetch"): void {
    const key = Math.floor(this.#random() * KEYS);
    if ([this.#resident, this.#demanded, this.#speculative, this.#calledOff].some((keys) => keys.has(key))) return;
    while (this.#usedBytes() + bytesOf(key) > this.#budgetBytes) if (!this.#evict(this.#resident)) return;
    this.#opened.memory.load(key as ExpertKey, kind);
    (kind === "demand" ? this.#demanded : this.#speculative).add(key);
  }

  #evict(from: Set<number>): boolean {
    const key = this.#any(from);
    if (key === undefined) return false;
    this.#resident.delete(key);
    this.#opened.memory.evict(key as ExpertKey);
    return true;
  }

  #cancel(): void {
    const key = this.#any(this.#speculative) ?? this.#any(this.#calledOff);
    if (key === undefined) return;
    const outcome = this.#opened.memory.cancel(key as ExpertKey);
    if (outcome === "refused") expect(this.#calledOff.has(key)).toBe(false);
    else this.#speculative.delete(key);
    if (outcome === "pending") this.#calledOff.add(key);
    if (outcome === "done") this.#calledOff.delete(key);
  }

  #promote(): void {
    const key = this.#any(this.#calledOff) ?? this.#any(this.#speculative);
    if (key === undefined) return;
    this.#speculative.delete(key);
    this.#calledOff.delete(key);
    this.#demanded.add(key);
    this.#opened.memory.promote(key as ExpertKey);
  }

  #waitForOne(): void {
    const key = this.#any(this.#demanded);
    if (key === undefined) return;
    const { memory, base } = this.#opened;
    const stage = Math.floor(this.#random() * slicesOf(key).length);
    memory.wait(key as ExpertKey, stage);
    expect(memory.ready(key as ExpertKey, stage)).toBe(true);
    // One stage alone is whole as soon as it is said to be.
    const slice = slicesOf(key)[stage];
    const offset = placeOf(key, slice);
    const there = Buffer.from(viewMemory(base + offset, slice.strideBytes));
    expect(there.compare(content, offset, offset + slice.strideBytes)).toBe(0);
  }

  #usedBytes(): number {
    const all = [...this.#resident, ...this.#demanded, ...this.#speculative, ...this.#calledOff];
    return all.reduce((sum, key) => sum + bytesOf(key), 0);
  }

  #any(keys: Set<number>): number | undefined {
    return [...keys][Math.floor(this.#random() * keys.size)];
  }
}

const TOTAL_BYTES = Array.from({ length: KEYS }, (_, key) => bytesOf(key)).reduce((a, b) => a + b);
const DIRECT = fs.constants.O_RDONLY | fs.constants.O_DIRECT;

describe.each([true, false])("memory of our own, with recycling %s", (recycle) => {
  test("holds the file's bytes in every complete expert, whatever came before, within its budget", () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0.2, max: 1, noNaN: true }), (seed, share) => {
        const random = randomNumbers(seed);
        const budgetBytes = Math.floor(TOTAL_BYTES * share);
        const depth = 1 + Math.floor(random() * 6);
        const create: CreateReads = (fd, done) => new WilfulReads(fd, done, random, depth);
        const opened = open(create, fs.constants.O_RDONLY, { budgetBytes, recycle });
        const player = new Player(opened, random, budgetBytes);
        for (let round = 0; round < 3; round++) {
          for (let i = 0; i < 60; i++) player.step();
          player.settle();
        }
        expect(opened.memory.recycling).toBe(recycle);
        opened.close();
      }),
      { numRuns: 150 },
    );
  });

  test("does so with direct reads in the kernel's queue", () => {
    const random = randomNumbers(7);
    const budgetBytes = Math.floor(TOTAL_BYTES / 2);
    const create: CreateReads = (fd, done) => createAio([{ path, fd }], done, { depth: 8 });
    const opened = open(create, DIRECT, { budgetBytes, recycle });
    const player = new Player(opened, random, budgetBytes);
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 50; i++) player.step();
      player.settle();
    }
    const { counters } = opened.memory;
    expect(counters.bytesArrived).toBe(counters.bytesRead);
    expect(counters.recycledBytes > 0).toBe(recycle);
    opened.close();
  });
});

describe("eviction", () => {
  const create: CreateReads = (fd, done) => createAio([{ path, fd }], done);
  const load = ({ memory }: Opened, key: number) => {
    memory.load(key as ExpertKey, "demand");
    memory.pump(0);
    for (let stage = 0; stage < slicesOf(key).length; stage++) memory.wait(key as ExpertKey, stage);
  };

  test("leaves nothing of the expert's own pages, and all of its neighbours", () => {
    const opened = open(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: false });
    for (const key of [0, 1, 2]) load(opened, key);
    opened.memory.evict(1 as ExpertKey);
    for (const slice of slicesOf(1)) {
      const own = ownPages(placeOf(1, slice), slice.strideBytes, PAGE_BYTES);
      expect(Buffer.from(viewMemory(opened.base + own.start, own.end - own.start)).every((byte) => byte === 0)).toBe(
        true,
      );
    }
    expectBytes(opened.base, 0);
    expectBytes(opened.base, 2);
    opened.close();
  });

  test("and loading again leaves no page that somebody else still counts on", () => {
    // Pages of evicted experts wait for a new owner; when their expert comes back, they are its own again.
    const opened = open(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: true });
    for (const key of [5, 6, 7]) load(opened, key);
    for (const key of [5, 6, 7]) opened.memory.evict(key as ExpertKey);
    for (const key of [6, 5, 8, 7, 9]) load(opened, key);
    for (const key of [5, 6, 7, 8, 9]) expectBytes(opened.base, key);
    expect(opened.memory.recycling).toBe(true);
    opened.close();
  });

  test("moves no more pages than the kernel has mappings for", () => {
    const opened = open(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: true, mappingLimit: 0 });
    for (const key of [5, 6]) load(opened, key);
    opened.memory.evict(5 as ExpertKey);
    load(opened, 7);
    expect(opened.memory.counters.recycledBytes).toBe(0);
    expectBytes(opened.base, 6);
    expectBytes(opened.base, 7);
    opened.close();
  });
});

describe("demanded experts", () => {
  test("that find room while others are being submitted are read too", () => {
    // The cache demands more from within `onComplete`, which a full queue calls in the middle of a pump.
    const fd = fs.openSync(path, "r");
    const base = reserveMemory(MAPPED_BYTES);
    let memory: OwnedMemory | undefined;
    const later = [1, 2, 3, 4];
    const reads = new WilfulReads(fd, (tag, n, error) => memory?.finished(tag, n, error), randomNumbers(1), 1);
    memory = new OwnedMemory({
      files: [{ path, bytes: FILE_BYTES, base }],
      layers,
      expertsPerLayer: EXPERTS,
      onComplete: () => {
        const key = later.shift();
        if (key !== undefined) memory?.load(key as ExpertKey, "demand");
      },
      reads,
      budgetBytes: TOTAL_BYTES,
    });
    memory.load(0 as ExpertKey, "demand");
    memory.load(9 as ExpertKey, "demand");
    memory.pump(0);
    for (const key of [0, 9, 1, 2, 3, 4]) for (let stage = 0; stage < 3; stage++) memory.wait(key as ExpertKey, stage);
    for (const key of [0, 9, 1, 2, 3, 4]) expectBytes(base, key);
    reads.close();
    fs.closeSync(fd);
    releaseMemory(base, MAPPED_BYTES);
  });
});

test("the test file has slices under a page and pages shared by neighbours", () => {
  const own = layers.flat().map((s) => ownPages(s.offset, s.strideBytes, PAGE_BYTES));
  expect(own.some(({ start, end }) => start === end)).toBe(true);
  expect(EDGE_BYTES).toBeGreaterThan(0);
  expect(coveringPages(layers[0][0].offset, 1, PAGE_BYTES).start).toBeLessThan(layers[0][0].offset);
});
