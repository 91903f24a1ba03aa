import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bestBytesPerSecond, type DiskModel, DrainCurve, plainDisk } from "./disk-model.ts";

const MIB = 2 ** 20;

test("a plain drive takes one latency, and then its speed", () => {
  const disk = plainDisk({ bytesPerSecond: 2000 * MIB, latencyMs: 1.5 });
  expect(bestBytesPerSecond(disk)).toBeCloseTo(2000 * MIB);
  const curve = new DrainCurve(disk);
  expect(curve.ms(1)).toBeCloseTo(2);
  expect(curve.ms(5)).toBeCloseTo(4);
});

test("a queue that holds few requests keeps a drive with a long latency below its speed", () => {
  // A lone request takes 2 ms; two in flight make 1 MiB a millisecond.
  const disk = plainDisk({ bytesPerSecond: 2000 * MIB, latencyMs: 1.5, requestsInFlight: 2 });
  expect(bestBytesPerSecond(disk)).toBeCloseTo(1000 * MIB);
  expect(new DrainCurve(disk).ms(21)).toBeCloseTo(22);
});

const measured: DiskModel = {
  bursts: [
    { requests: 1, ms: 1 },
    { requests: 3, ms: 2 },
    { requests: 11, ms: 6 },
  ],
  requestBytes: MIB,
  latencyMs: 0,
  reportsEvery: 1,
};

test("between two measured bursts time is interpolated, and beyond the last it goes on", () => {
  const curve = new DrainCurve(measured);
  expect([1, 2, 3, 7, 11, 13].map((level) => curve.ms(level))).toEqual([1, 1.5, 2, 4, 6, 7]);
  expect(curve.ms(0.5)).toBe(0.5);
});

test("a small request costs its latency and its bytes", () => {
  const curve = new DrainCurve(plainDisk({ bytesPerSecond: 1000 * MIB, latencyMs: 1 }));
  expect(curve.levelOf(2 * MIB)).toBe(2);
  expect(curve.levelOf(2.5 * MIB)).toBe(2.75);
  expect(curve.ms(curve.levelOf(MIB / 2))).toBeCloseTo(1.5);
});

test("a drive without limits takes no time", () => {
  const curve = new DrainCurve(plainDisk({ bytesPerSecond: Number.POSITIVE_INFINITY, latencyMs: 0 }));
  expect(curve.ms(1000)).toBe(0);
  expect(curve.level(-1)).toBe(0);
});

describe("what a drive cannot be", () => {
  test.each([0, -1, Number.NaN])("%s bytes per second", (bytesPerSecond) => {
    expect(() => plainDisk({ bytesPerSecond })).toThrow(/reads nothing/);
  });
  test("negative latency", () => expect(() => plainDisk({ bytesPerSecond: 1, latencyMs: -1 })).toThrow(RangeError));
  test("without requests", () =>
    expect(() => plainDisk({ bytesPerSecond: 1, requestsInFlight: 0 })).toThrow(RangeError));
  test("faster with more requests", () => {
    const bursts = [...measured.bursts, { requests: 12, ms: 5 }];
    expect(() => new DrainCurve({ ...measured, bursts })).toThrow(/ascend/);
  });
  test("unknown for one request", () => {
    expect(() => new DrainCurve({ ...measured, bursts: measured.bursts.slice(1) })).toThrow(/one request/);
  });
});

test("level is the inverse of ms, and both grow", () => {
  const disks = fc.record({
    bytesPerSecond: fc.double({ min: 1e6, max: 1e11, noNaN: true }),
    latencyMs: fc.double({ min: 0, max: 20, noNaN: true }),
    requestsInFlight: fc.integer({ min: 1, max: 300 }),
  });
  const curves = fc.oneof(disks.map(plainDisk), fc.constant(measured)).map((disk) => new DrainCurve(disk));
  fc.assert(
    fc.property(curves, fc.double({ min: 0, max: 1000, noNaN: true }), (curve, level) => {
      expect(curve.level(curve.ms(level))).toBeCloseTo(level, 6);
      expect(curve.ms(level + 0.1)).toBeGreaterThan(curve.ms(level));
    }),
  );
});
