import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import koffi from "koffi";
import { afterAll, describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import type { ExpertKey } from "../cache/shape.ts";
import { createAio } from "./aio.ts";
import type { SlicePlace } from "./expert-memory.ts";
import { HUGE_PAGE_BYTES, placeInFile, placeInSlots, planSlots } from "./expert-placement.ts";
import { PAGE_BYTES, releaseMemory, reserveMemory, viewMemory } from "./libc.ts";
import { OwnedMemory, type OwnedMemoryOptions } from "./owned-memory.ts";
import { ceilTo, coveringPages, ownPages, sharedEdgeBytes } from "./page-plan.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "owned-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const EXPERTS = 5;

/** A file of experts, one tensor behind the other from an odd offset on, so that neighbours share pages. */
class ExpertFile {
  readonly layers: SlicePlace[][] = [];
  readonly bytes: number;
  readonly mappedBytes: number;
  readonly content: Buffer;
  readonly path: string;

  constructor(name: string, strides: readonly (readonly number[])[]) {
    let end = 5000;
    for (const layer of strides)
      this.layers.push(
        layer.map((strideBytes) => {
          const place = { file: 0, offset: end, strideBytes };
          end += strideBytes * EXPERTS;
          return place;
        }),
      );
    this.bytes = end + 333;
    this.mappedBytes = Math.ceil(this.bytes / PAGE_BYTES) * PAGE_BYTES;
    this.content = Buffer.alloc(this.bytes);
    for (let i = 0; i + 4 <= this.bytes; i += 4) this.content.writeUInt32LE(Math.imul(i + 1, 2654435761) >>> 0, i);
    this.path = join(folder, name);
    fs.writeFileSync(this.path, this.content);
    const written = fs.openSync(this.path, "r+");
    fs.fsyncSync(written);
    fs.closeSync(written);
  }

  get keys(): number {
    return this.layers.length * EXPERTS;
  }

  slicesOf(key: number): readonly SlicePlace[] {
    return this.layers[Math.floor(key / EXPERTS)];
  }

  bytesOf(key: number): number {
    return this.slicesOf(key).reduce((sum, { strideBytes }) => sum + strideBytes, 0);
  }

  get expertBytes(): number {
    return Array.from({ length: this.keys }, (_, key) => this.bytesOf(key)).reduce((a, b) => a + b);
  }
}

const offsetOf = (key: number, { offset, strideBytes }: SlicePlace) => offset + (key % EXPERTS) * strideBytes;

/**
 * Layers as mixed quantisations make them: slices that break pages, whole pages (twice as large), some under a page, and
 * some of several requests.
 */
const ODD = new ExpertFile("odd", [
  [3 * PAGE_BYTES + 1000, 3 * PAGE_BYTES + 1000, 40 * PAGE_BYTES + 500],
  [40 * PAGE_BYTES, 40 * PAGE_BYTES, 80 * PAGE_BYTES],
  [1500, 2 * PAGE_BYTES, 700],
  [(1 << 20) + 3 * PAGE_BYTES + 77, 2 * PAGE_BYTES + 9],
]);
/** Matrices of whole pages, which go into slots: experts under 2 MiB, a little over it, and twice that. */
const EVEN = new ExpertFile("even", [
  [3 * PAGE_BYTES, 3 * PAGE_BYTES, 40 * PAGE_BYTES],
  [200 * PAGE_BYTES, 200 * PAGE_BYTES, 200 * PAGE_BYTES],
  [513 * PAGE_BYTES, 520 * PAGE_BYTES],
]);
const { path } = ODD;

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

type Layout = "file" | "slots";

interface Opened {
  readonly memory: OwnedMemory;
  readonly file: ExpertFile;
  readonly completed: Set<number>;
  /** Address of a slice's first byte. */
  readonly addressOf: (key: number, stage: number) => number;
  /** Bytes of pages that exist. */
  readonly residentBytes: () => number;
  /** Pages that stay or are filled in part, beyond the budget. */
  readonly slackBytes: number;
  readonly close: () => void;
}

type CreateReads = (fd: number, done: ReadDone) => ReadEngine;

const mincore = koffi.load("libc.so.6").func("int mincore(uintptr_t address, size_t bytes, _Out_ uint8_t *vector)");

function open(
  createReads: CreateReads,
  flags: number,
  options: Pick<OwnedMemoryOptions, "budgetBytes"> & Partial<OwnedMemoryOptions>,
  layout: Layout = "file",
): Opened {
  const file = layout === "file" ? ODD : EVEN;
  const { layers } = file;
  const fd = fs.openSync(file.path, flags);
  const slots = planSlots(layers, EXPERTS, PAGE_BYTES);
  expect(slots !== undefined).toBe(layout === "slots");
  const bytes = slots === undefined ? file.mappedBytes : slots.bytes + HUGE_PAGE_BYTES;
  const reserved = reserveMemory(bytes);
  const files = [{ path: file.path, bytes: file.bytes, base: reserved }];
  const placement =
    slots === undefined
      ? placeInFile(files, layers, EXPERTS, PAGE_BYTES)
      : placeInSlots(files, layers, EXPERTS, PAGE_BYTES, slots, ceilTo(reserved, HUGE_PAGE_BYTES));
  const completed = new Set<number>();
  let memory: OwnedMemory | undefined;
  const reads = createReads(fd, (tag, bytes, error) => (memory as OwnedMemory).finished(tag, bytes, error));
  memory = new OwnedMemory({ placement, reads, onComplete: (key) => completed.add(key), ...options });
  const padding =
    slots === undefined ? 0 : Math.max(...slots.usedBytes.map((used, i) => used - file.bytesOf(i * EXPERTS)));
  return {
    memory,
    file,
    completed,
    addressOf: (key, stage) => {
      const slice = file.slicesOf(key)[stage];
      const tensor = placement.tensors[Math.floor(key / EXPERTS)]?.[stage];
      return tensor === undefined
        ? reserved + offsetOf(key, slice)
        : tensor.address + (key % EXPERTS) * tensor.expertStrideBytes;
    },
    residentBytes: () => {
      const pages = new Uint8Array(bytes / PAGE_BYTES);
      expect(mincore(reserved, bytes, pages)).toBe(0);
      return pages.reduce((sum, page) => sum + (page & 1), 0) * PAGE_BYTES;
    },
    slackBytes: slots === undefined ? EDGE_BYTES : padding * file.keys,
    close: () => {
      reads.close();
      fs.closeSync(fd);
      releaseMemory(reserved, bytes);
    },
  };
}

const EDGE_BYTES = ODD.layers
  .flat()
  .reduce((sum, s) => sum + sharedEdgeBytes(s.offset, s.strideBytes, EXPERTS, PAGE_BYTES), 0);

function expectStage({ file, addressOf }: Opened, key: number, stage: number): void {
  const slice = file.slicesOf(key)[stage];
  const offset = offsetOf(key, slice);
  const there = Buffer.from(viewMemory(addressOf(key, stage), slice.strideBytes));
  if (there.compare(file.content, offset, offset + slice.strideBytes) !== 0)
    throw new Error(`expert ${key}: stage ${stage} differs from the file`);
}

function expectBytes(opened: Opened, key: number): void {
  for (let stage = 0; stage < opened.file.slicesOf(key).length; stage++) expectStage(opened, key, stage);
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
    const { memory, file } = this.#opened;
    memory.pump(Number.MAX_SAFE_INTEGER);
    for (const key of [...this.#demanded, ...this.#speculative])
      for (let stage = 0; stage < file.slicesOf(key).length; stage++) memory.wait(key as ExpertKey, stage);
    while (memory.inFlightBytes > 0) memory.waitForAny();
    this.#takeNote();
    for (const key of this.#calledOff) {
      expect(memory.cancel(key as ExpertKey)).toBe("done");
      this.#calledOff.delete(key);
    }
    expect(this.#demanded.size + this.#speculative.size).toBe(0);
    for (const key of this.#resident) expectBytes(this.#opened, key);
    expect(this.#opened.residentBytes()).toBeLessThanOrEqual(this.#budgetBytes + this.#opened.slackBytes);
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
    const { file } = this.#opened;
    const key = Math.floor(this.#random() * file.keys);
    if ([this.#resident, this.#demanded, this.#speculative, this.#calledOff].some((keys) => keys.has(key))) return;
    while (this.#usedBytes() + file.bytesOf(key) > this.#budgetBytes) if (!this.#evict(this.#resident)) return;
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
    const { memory, file } = this.#opened;
    const stage = Math.floor(this.#random() * file.slicesOf(key).length);
    memory.wait(key as ExpertKey, stage);
    expect(memory.ready(key as ExpertKey, stage)).toBe(true);
    // One stage alone is whole as soon as it is said to be.
    expectStage(this.#opened, key, stage);
  }

  #usedBytes(): number {
    const all = [...this.#resident, ...this.#demanded, ...this.#speculative, ...this.#calledOff];
    return all.reduce((sum, key) => sum + this.#opened.file.bytesOf(key), 0);
  }

  #any(keys: Set<number>): number | undefined {
    return [...keys][Math.floor(this.#random() * keys.size)];
  }
}

const TOTAL_BYTES = ODD.expertBytes;
const DIRECT = fs.constants.O_RDONLY | fs.constants.O_DIRECT;

describe.each([
  ["file", true],
  ["file", false],
  ["slots", true],
  ["slots", false],
] as const)("memory of our own, laid out in %s, with recycling %s", (layout, recycle) => {
  const total = (layout === "file" ? ODD : EVEN).expertBytes;

  test("holds the file's bytes in every complete expert, whatever came before, within its budget", () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0.2, max: 1, noNaN: true }), (seed, share) => {
        const random = randomNumbers(seed);
        const budgetBytes = Math.floor(total * share);
        const depth = 1 + Math.floor(random() * 6);
        const create: CreateReads = (fd, done) => new WilfulReads(fd, done, random, depth);
        const opened = open(create, fs.constants.O_RDONLY, { budgetBytes, recycle }, layout);
        const player = new Player(opened, random, budgetBytes);
        for (let round = 0; round < 3; round++) {
          for (let i = 0; i < 60; i++) player.step();
          player.settle();
        }
        expect(opened.memory.recycling).toBe(recycle);
        opened.close();
      }),
      { numRuns: layout === "file" ? 150 : 40 },
    );
  });

  test("does so with direct reads in the kernel's queue", () => {
    const random = randomNumbers(7);
    const budgetBytes = Math.floor(total / 2);
    const create: CreateReads = (fd, done) =>
      createAio([{ path: (layout === "file" ? ODD : EVEN).path, fd }], done, { depth: 8 });
    const opened = open(create, DIRECT, { budgetBytes, recycle }, layout);
    const player = new Player(opened, random, budgetBytes);
    for (let round = 0; round < (layout === "file" ? 20 : 8); round++) {
      for (let i = 0; i < 50; i++) player.step();
      player.settle();
    }
    const { counters } = opened.memory;
    expect(counters.bytesArrived).toBe(counters.bytesRead);
    expect(counters.recycledBytes > 0).toBe(recycle);
    opened.close();
  });
});

describe("huge pages", () => {
  test("of an expert in a slot stay whole when they move to another one", () => {
    const file = EVEN;
    const opened = open(
      (fd, done) => createAio([{ path: file.path, fd }], done),
      DIRECT,
      { budgetBytes: file.expertBytes },
      "slots",
    );
    const load = (key: number) => {
      opened.memory.load(key as ExpertKey, "demand");
      opened.memory.pump(0);
      for (let stage = 0; stage < file.slicesOf(key).length; stage++) opened.memory.wait(key as ExpertKey, stage);
    };
    load(10);
    const before = hugeBytes();
    // Without huge pages on this system there is nothing to keep whole.
    for (const next of [11, 12, 13, 14]) {
      opened.memory.evict((next - 1) as ExpertKey);
      load(next);
      expectBytes(opened, next);
      expect(hugeBytes()).toBe(before);
    }
    expect(opened.memory.counters.recycledBytes).toBeGreaterThan(0);
    opened.close();
  });

  function hugeBytes(): number {
    const rollup = fs.readFileSync("/proc/self/smaps_rollup", "latin1");
    return 1024 * Number(/^AnonHugePages:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
  }
});

describe("eviction", () => {
  const create: CreateReads = (fd, done) => createAio([{ path, fd }], done);
  const load = ({ memory }: Opened, key: number) => {
    memory.load(key as ExpertKey, "demand");
    memory.pump(0);
    for (let stage = 0; stage < ODD.slicesOf(key).length; stage++) memory.wait(key as ExpertKey, stage);
  };

  test("leaves nothing of the expert's own pages, and all of its neighbours", () => {
    const opened = open(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: false });
    for (const key of [0, 1, 2]) load(opened, key);
    opened.memory.evict(1 as ExpertKey);
    for (const [stage, slice] of ODD.slicesOf(1).entries()) {
      const start = offsetOf(1, slice);
      const own = ownPages(start, slice.strideBytes, PAGE_BYTES);
      const address = opened.addressOf(1, stage) + own.start - start;
      expect(Buffer.from(viewMemory(address, own.end - own.start)).every((byte) => byte === 0)).toBe(true);
    }
    expectBytes(opened, 0);
    expectBytes(opened, 2);
    opened.close();
  });

  test("and loading again leaves no page that somebody else still counts on", () => {
    // Pages of evicted experts wait for a new owner; when their expert comes back, they are its own again.
    const opened = open(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: true });
    for (const key of [5, 6, 7]) load(opened, key);
    for (const key of [5, 6, 7]) opened.memory.evict(key as ExpertKey);
    for (const key of [6, 5, 8, 7, 9]) load(opened, key);
    for (const key of [5, 6, 7, 8, 9]) expectBytes(opened, key);
    expect(opened.memory.recycling).toBe(true);
    opened.close();
  });

  test("moves no more pages than the kernel has mappings for", () => {
    const opened = open(create, DIRECT, { budgetBytes: TOTAL_BYTES, recycle: true, mappingLimit: 0 });
    for (const key of [5, 6]) load(opened, key);
    opened.memory.evict(5 as ExpertKey);
    load(opened, 7);
    expect(opened.memory.counters.recycledBytes).toBe(0);
    expectBytes(opened, 6);
    expectBytes(opened, 7);
    opened.close();
  });
});

describe("demanded experts", () => {
  test("that find room while others are being submitted are read too", () => {
    // The cache demands more from within `onComplete`, which a full queue calls in the middle of a pump.
    const later = [1, 2, 3, 4];
    const opened = open((fd, done) => new WilfulReads(fd, done, randomNumbers(1), 1), fs.constants.O_RDONLY, {
      budgetBytes: TOTAL_BYTES,
      onComplete: () => {
        const key = later.shift();
        if (key !== undefined) opened.memory.load(key as ExpertKey, "demand");
      },
    });
    const { memory } = opened;
    memory.load(0 as ExpertKey, "demand");
    memory.load(9 as ExpertKey, "demand");
    memory.pump(0);
    for (const key of [0, 9, 1, 2, 3, 4]) for (let stage = 0; stage < 3; stage++) memory.wait(key as ExpertKey, stage);
    for (const key of [0, 9, 1, 2, 3, 4]) expectBytes(opened, key);
    opened.close();
  });
});

test("the test file has slices under a page and pages shared by neighbours", () => {
  const own = ODD.layers.flat().map((s) => ownPages(s.offset, s.strideBytes, PAGE_BYTES));
  expect(own.some(({ start, end }) => start === end)).toBe(true);
  expect(EDGE_BYTES).toBeGreaterThan(0);
  expect(coveringPages(ODD.layers[0][0].offset, 1, PAGE_BYTES).start).toBeLessThan(ODD.layers[0][0].offset);
});

describe("waiting", () => {
  test("is given up when the run is", () => {
    let aborted = false;
    const opened = open((fd, done) => new WilfulReads(fd, done, () => 0, 4), fs.constants.O_RDONLY, {
      budgetBytes: TOTAL_BYTES,
      aborted: () => aborted,
    });
    opened.memory.load(15 as ExpertKey, "demand");
    opened.memory.pump(0);
    aborted = true;
    opened.memory.wait(15 as ExpertKey, 0);
    expect(opened.memory.ready(15 as ExpertKey, 0)).toBe(false);
    // What was on its way still lands where it belongs.
    aborted = false;
    opened.memory.wait(15 as ExpertKey, 0);
    expectStage(opened, 15, 0);
    opened.close();
  });
});
