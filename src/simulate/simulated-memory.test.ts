/** The order in which reads are served, and what becomes of those that are called off. Times follow from the drive. */
import { beforeEach, describe, expect, test } from "vitest";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import { plainDisk } from "./disk-model.ts";
import { SimulatedMemory } from "./simulated-memory.ts";
import { VirtualClock } from "./virtual-clock.ts";

const MIB = 2 ** 20;
/** Three stages of 2 MiB; the drive takes 1 ms for a MiB, however many it has to do. */
const shape: ModelShape = { layers: 1, experts: 8, expertsUsed: 1, expertBytes: [6 * MIB] };
const expert = (number: number) => number as ExpertKey;

let clock: VirtualClock;
let memory: SimulatedMemory;
let complete: number[];
let start: number;
beforeEach(() => {
  clock = new VirtualClock();
  start = clock.ms;
  complete = [];
  memory = new SimulatedMemory({
    ...{ shape, stages: 3, clock, msPerHandover: 0, msPerRequest: 0 },
    disk: plainDisk({ bytesPerSecond: 1000 * MIB, latencyMs: 0 }),
    onComplete: (key) => void complete.push(key),
  });
});
const passed = () => clock.ms - start;

describe("demanded experts", () => {
  test("arrive stage by stage, the first product's weights of all of them first", () => {
    memory.load(expert(0), "demand");
    memory.load(expert(1), "demand");
    memory.pump(0);
    memory.wait(expert(0), 0);
    expect(passed()).toBeCloseTo(2);
    memory.wait(expert(1), 0);
    expect(passed()).toBeCloseTo(4);
    expect(memory.ready(expert(0), 1)).toBe(false);
    memory.wait(expert(1), 2);
    expect(passed()).toBeCloseTo(12);
    expect(complete).toEqual([0, 1]);
    expect(memory.waitedMs).toBeCloseTo(12);
    expect(memory.inFlightBytes).toBe(0);
  });

  test("arrive while something else goes on, and are noticed when asked for", () => {
    memory.load(expert(0), "demand");
    memory.pump(0);
    clock.ms += 5;
    expect(complete).toEqual([]);
    memory.poll();
    expect(memory.ready(expert(0), 1)).toBe(true);
    expect(memory.ready(expert(0), 2)).toBe(false);
    memory.wait(expert(0), 2);
    expect(passed()).toBeCloseTo(6);
    expect(memory.waitedMs).toBeCloseTo(1);
  });

  test("do not wait for a time in which nothing was to be read", () => {
    clock.ms += 100;
    memory.load(expert(0), "demand");
    memory.pump(0);
    memory.wait(expert(0), 2);
    expect(passed()).toBeCloseTo(106);
  });

  test("overtake speculative ones that were not handed over", () => {
    memory.load(expert(0), "prefetch");
    memory.pump(2 * MIB);
    expect(memory.inFlightBytes).toBe(2 * MIB);
    expect(memory.backlogBytes).toBe(4 * MIB);
    memory.load(expert(1), "demand");
    memory.pump(0);
    memory.wait(expert(1), 2);
    expect(passed()).toBeCloseTo(8);
    expect(complete).toEqual([1]);
  });
});

describe("speculative reads", () => {
  test("go on when they are demanded after all", () => {
    memory.load(expert(0), "prefetch");
    memory.pump(3 * MIB);
    clock.ms += 2.5;
    memory.promote(expert(0));
    expect(memory.backlogBytes).toBe(0);
    memory.pump(0);
    memory.wait(expert(0), 0);
    expect(passed()).toBeCloseTo(2.5);
    memory.wait(expert(0), 2);
    expect(passed()).toBeCloseTo(6);
    expect(memory.counters.bytesRead).toBe(6 * MIB);
  });

  test("that nobody promoted are read when they are waited for", () => {
    memory.load(expert(0), "prefetch");
    memory.wait(expert(0), 2);
    expect(passed()).toBeCloseTo(6);
    expect(complete).toEqual([0]);
  });

  test("are done with at once when nothing of them was handed over", () => {
    memory.load(expert(0), "prefetch");
    expect(memory.cancel(expert(0))).toBe("done");
    expect(memory.backlogBytes).toBe(0);
    memory.pump(100 * MIB);
    expect(memory.counters.bytesRead).toBe(0);
  });

  test("that are half on their way are done with when that half has landed", () => {
    memory.load(expert(0), "prefetch");
    memory.pump(2 * MIB);
    expect(memory.cancel(expert(0))).toBe("pending");
    clock.ms += 1;
    memory.poll();
    expect(memory.cancel(expert(0))).toBe("pending");
    memory.waitForAny();
    expect(memory.cancel(expert(0))).toBe("done");
    expect(complete).toEqual([]);
  });

  test("that are wholly on their way arrive", () => {
    memory.load(expert(0), "prefetch");
    memory.pump(100 * MIB);
    expect(memory.cancel(expert(0))).toBe("refused");
    clock.ms += 6;
    memory.poll();
    expect(complete).toEqual([0]);
  });

  test("that were called off and are demanded after all are read anew", () => {
    memory.load(expert(0), "prefetch");
    memory.pump(2 * MIB);
    memory.cancel(expert(0));
    memory.promote(expert(0));
    // What was on its way has landed, and is not used.
    expect(passed()).toBeCloseTo(2);
    memory.pump(0);
    memory.wait(expert(0), 2);
    expect(passed()).toBeCloseTo(8);
    expect(complete).toEqual([0]);
  });
});

describe("a drive that tells of its work in portions", () => {
  const open = (reportsEvery: number) =>
    new SimulatedMemory({
      ...{ shape, stages: 3, clock, msPerHandover: 0, msPerRequest: 0 },
      disk: { ...plainDisk({ bytesPerSecond: 1000 * MIB, latencyMs: 0 }), reportsEvery },
      onComplete: (key) => void complete.push(key),
    });

  test("keeps the first product's weights back until all are read", () => {
    const held = open(64);
    held.load(expert(0), "demand");
    held.pump(0);
    clock.ms += 3;
    held.poll();
    expect(held.ready(expert(0), 0)).toBe(false);
    held.wait(expert(0), 0);
    expect(passed()).toBeCloseTo(6);
    expect(complete).toEqual([0]);
  });

  test("tells when a portion is full, or when its line is empty", () => {
    const held = open(5);
    held.load(expert(0), "demand");
    held.load(expert(1), "demand");
    held.pump(0);
    held.wait(expert(0), 0);
    expect(passed()).toBeCloseTo(5);
    expect(held.ready(expert(1), 0)).toBe(true);
    clock.ms += 5;
    held.poll();
    expect(held.ready(expert(1), 1)).toBe(true);
    expect(held.ready(expert(0), 2)).toBe(true);
    held.wait(expert(1), 2);
    expect(passed()).toBeCloseTo(12);
    clock.ms += 10;
    held.load(expert(2), "demand");
    held.pump(0);
    clock.ms += 6;
    held.poll();
    expect(held.ready(expert(2), 2)).toBe(true);
  });
});

test("handing over takes the model's thread, while the drive works", () => {
  const slow = new SimulatedMemory({
    ...{ shape, stages: 3, clock, msPerHandover: 1, msPerRequest: 0.5 },
    disk: plainDisk({ bytesPerSecond: 1000 * MIB, latencyMs: 0 }),
    onComplete: () => {},
  });
  slow.load(expert(0), "demand");
  slow.pump(0);
  // Once 1 ms, before the drive has anything to do, and six requests.
  expect(passed()).toBeCloseTo(4);
  expect(slow.submittingMs).toBeCloseTo(4);
  slow.wait(expert(0), 2);
  expect(passed()).toBeCloseTo(7);
  expect(slow.waitedMs).toBeCloseTo(3);
});

test("thousands of reads in flight are kept apart", () => {
  const many: ModelShape = { layers: 1, experts: 500, expertsUsed: 1, expertBytes: [6 * MIB] };
  const order: number[] = [];
  const large = new SimulatedMemory({
    ...{ shape: many, stages: 3, clock, msPerHandover: 0, msPerRequest: 0 },
    disk: plainDisk({ bytesPerSecond: 1000 * MIB, latencyMs: 0 }),
    onComplete: (key) => void order.push(key),
  });
  for (let key = 0; key < 500; key++) {
    large.load(expert(key), "prefetch");
    large.pump(1e12);
    if (key % 7 === 0) clock.ms += 1;
    if (key % 50 === 0) large.poll();
  }
  large.wait(expert(499), 2);
  expect(order).toEqual(Array.from({ length: 500 }, (_, key) => key));
  expect(passed()).toBeCloseTo(3000);
});
