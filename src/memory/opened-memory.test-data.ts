/** Memory of our own over a test file, as an engine opens it, with what tests ask of it; and reads that finish as they like. */
import fs from "node:fs";
import koffi from "koffi";
import { expect } from "vitest";
import type { ExpertKey } from "../cache/shape.ts";
import { EVEN, EXPERTS, type ExpertFile, ODD, offsetOf } from "./expert-file.test-data.ts";
import { HUGE_PAGE_BYTES, placeInFile, placeInSlots, planSlots } from "./expert-placement.ts";
import { PAGE_BYTES, releaseMemory, reserveMemory, viewMemory } from "./libc.ts";
import { OwnedMemory, type OwnedMemoryOptions } from "./owned-memory.ts";
import { ceilTo, sharedEdgeBytes } from "./page-plan.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

/** Reads that finish in any order, and only when somebody reaps: what a real engine may do, but by choice. */
export class WilfulReads implements ReadEngine {
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

export type Layout = "file" | "slots";

export interface Opened {
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

export type CreateReads = (fd: number, done: ReadDone) => ReadEngine;

const mincore = koffi.load("libc.so.6").func("int mincore(uintptr_t address, size_t bytes, _Out_ uint8_t *vector)");

export function openMemory(
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

export const EDGE_BYTES = ODD.layers
  .flat()
  .reduce((sum, s) => sum + sharedEdgeBytes(s.offset, s.strideBytes, EXPERTS, PAGE_BYTES), 0);

export function expectStage({ file, addressOf }: Opened, key: number, stage: number): void {
  const slice = file.slicesOf(key)[stage];
  const offset = offsetOf(key, slice);
  const there = Buffer.from(viewMemory(addressOf(key, stage), slice.strideBytes));
  if (there.compare(file.content, offset, offset + slice.strideBytes) !== 0)
    throw new Error(`expert ${key}: stage ${stage} differs from the file`);
}

export function expectBytes(opened: Opened, key: number): void {
  for (let stage = 0; stage < opened.file.slicesOf(key).length; stage++) expectStage(opened, key, stage);
}

/** Demands an expert and waits until it is whole. */
export function demandWhole({ memory, file }: Opened, key: number): void {
  memory.load(key as ExpertKey, "demand");
  memory.pump(0);
  for (let stage = 0; stage < file.slicesOf(key).length; stage++) memory.wait(key as ExpertKey, stage);
}
