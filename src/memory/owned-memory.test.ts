import fs from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import type { ExpertKey } from "../cache/shape.ts";
import { createAio } from "./aio.ts";
import { EVEN, ODD } from "./expert-file.test-data.ts";
import { MemoryPlayer } from "./memory-player.test-data.ts";
import { type CreateReads, expectBytes, expectStage, openMemory, WilfulReads } from "./opened-memory.test-data.ts";

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
        const opened = openMemory(create, fs.constants.O_RDONLY, { budgetBytes, recycle }, layout);
        const player = new MemoryPlayer(opened, random, budgetBytes);
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
    const opened = openMemory(create, DIRECT, { budgetBytes, recycle }, layout);
    const player = new MemoryPlayer(opened, random, budgetBytes);
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

describe("demanded experts", () => {
  test("that find room while others are being submitted are read too", () => {
    // The cache demands more from within `onComplete`, which a full queue calls in the middle of a pump.
    const later = [1, 2, 3, 4];
    const opened = openMemory((fd, done) => new WilfulReads(fd, done, randomNumbers(1), 1), fs.constants.O_RDONLY, {
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

describe("waiting", () => {
  test("is given up when the run is", () => {
    let aborted = false;
    const opened = openMemory((fd, done) => new WilfulReads(fd, done, () => 0, 4), fs.constants.O_RDONLY, {
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
