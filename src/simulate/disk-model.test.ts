import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bestBytesPerSecond, type DiskModel, DrainCurve, plainDisk } from "./disk-model.ts";

const MIB = 2 ** 20;

test("a plain drive reaches its speed when enough requests hide its latency", () => {
  // 1 MiB takes 0.5 ms at this speed, so a lone request takes 2 ms and four of them overlap fully.
  const disk = plainDisk({ bytesPerSecond: 2000 * MIB, latencyMs: 1.5 });
  expect(disk.speeds.map(({ bytesPerSecond }) => bytesPerSecond / MIB)).toEqual([500, 1000, 1500, 2000]);
  expect(bestBytesPerSecond(disk)).toBe(2000 * MIB);
  const curve = new DrainCurve(disk);
  // All transfers one after the other, and one latency.
  expect(curve.ms(4)).toBeCloseTo(2 + 1 + 2 / 3 + 0.5);
  expect(curve.ms(10) - curve.ms(9)).toBeCloseTo(0.5);
});

test("a queue that holds fewer requests keeps the drive below its speed", () => {
  const disk = plainDisk({ bytesPerSecond: 2000 * MIB, latencyMs: 1.5, requestsInFlight: 2 });
  expect(bestBytesPerSecond(disk)).toBe(1000 * MIB);
  const curve = new DrainCurve(disk);
  expect(curve.ms(20) - curve.ms(19)).toBeCloseTo(1);
});

test("speeds between two measured depths are interpolated, and stay beyond the last", () => {
  const disk: DiskModel = {
    speeds: [
      { requests: 1, bytesPerSecond: 1000 * MIB },
      { requests: 3, bytesPerSecond: 2000 * MIB },
    ],
    requestBytes: MIB,
    latencyMs: 0,
    requestsInFlight: 256,
  };
  const curve = new DrainCurve(disk);
  expect(curve.ms(1)).toBeCloseTo(1);
  expect(curve.ms(2) - curve.ms(1)).toBeCloseTo(1 / 1.5);
  expect(curve.ms(100) - curve.ms(99)).toBeCloseTo(0.5);
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
});

test("level is the inverse of ms, and both grow", () => {
  const disks = fc.record({
    bytesPerSecond: fc.double({ min: 1e6, max: 1e11, noNaN: true }),
    latencyMs: fc.double({ min: 0, max: 20, noNaN: true }),
    requestsInFlight: fc.integer({ min: 1, max: 300 }),
  });
  fc.assert(
    fc.property(disks, fc.double({ min: 0, max: 1000, noNaN: true }), (disk, level) => {
      const curve = new DrainCurve(plainDisk(disk));
      expect(curve.level(curve.ms(level))).toBeCloseTo(level, 6);
      expect(curve.ms(level + 0.1)).toBeGreaterThan(curve.ms(level));
    }),
  );
});
