import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadLibraries } from "./libraries.ts";
import { dequantize, quantize, typeTraits } from "./quantize.ts";
import { GGML_TYPE_COUNT, GgmlType } from "./structs.ts";

const libraries = loadLibraries();

/** Largest error over a block's largest value that each type may make. */
const TOLERANCE: Readonly<Record<string, number>> = {
  F32: 0,
  F16: 0.0005,
  BF16: 0.004,
  Q8_0: 0.006,
  Q6_K: 0.04,
  Q5_0: 0.07,
  Q5_1: 0.07,
  Q5_K: 0.08,
  Q4_0: 0.13,
  Q4_1: 0.13,
  Q4_K: 0.15,
  IQ4_NL: 0.15,
  IQ4_XS: 0.15,
  MXFP4: 0.26,
  Q3_K: 0.3,
  Q2_K: 0.6,
};

describe("quantize and dequantize", () => {
  it.each(Object.entries(TOLERANCE))("%s keeps values within its precision", (name, tolerance) => {
    const type = GgmlType[name as keyof typeof GgmlType];
    const { blockElements, blockBytes } = typeTraits(libraries, type);
    const rowElements = 256;
    const matrix = fc.record({
      seed: fc.nat(1000),
      rows: fc.integer({ min: 1, max: 3 }),
      scale: fc.constantFrom(0.1, 1, 100),
    });
    fc.assert(
      fc.property(matrix, ({ seed, rows, scale }) => {
        const values = Float32Array.from({ length: rows * rowElements }, (_, i) => scale * Math.sin(i * i + seed));
        const bytes = quantize(libraries, type, values, rowElements);
        expect(bytes).toHaveLength((values.length / blockElements) * blockBytes);
        const back = dequantize(libraries, type, bytes, values.length);
        const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const error = values.reduce((most, x, i) => Math.max(most, Math.abs(x - back[i])), 0);
        expect(error).toBeLessThanOrEqual(tolerance * largest + 1e-7);
      }),
      { numRuns: 20 },
    );
  });

  it("writes the bytes that the formats prescribe", () => {
    const bytes = (type: number, values: number[]) => [...quantize(libraries, type, Float32Array.from(values))];
    expect(bytes(GgmlType.F16, [1, -2, 65504])).toEqual([0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b]);
    expect(bytes(GgmlType.BF16, [1, -2])).toEqual([0x80, 0x3f, 0x00, 0xc0]);
    expect(bytes(GgmlType.F32, [1])).toEqual([0, 0, 0x80, 0x3f]);
    // Q8_0: one f16 scale (127 / 127 = 1), then 32 signed bytes.
    const ramp = Array.from({ length: 32 }, (_, i) => (i === 0 ? 127 : -i));
    expect(bytes(GgmlType.Q8_0, ramp)).toEqual([0x00, 0x3c, 127, ...ramp.slice(1).map((x) => x & 0xff)]);
  });

  it("quantises each row by itself", () => {
    const rows = [1, 2].map((seed) => Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * seed)));
    const together = quantize(libraries, GgmlType.Q4_0, Float32Array.from([...rows[0], ...rows[1]]), 64);
    expect([...together]).toEqual(rows.flatMap((row) => [...quantize(libraries, GgmlType.Q4_0, row)]));
  });

  it("reads from the middle of a larger buffer", () => {
    const bytes = quantize(libraries, GgmlType.Q8_0, new Float32Array(64).fill(0.5));
    const padded = new Uint8Array(100);
    padded.set(bytes, 16);
    expect(dequantize(libraries, GgmlType.Q8_0, padded.subarray(16), 64)[63]).toBeCloseTo(0.5, 3);
  });

  it("refuses what would end the process", () => {
    const ones = new Float32Array(64).fill(1);
    expect(() => quantize(libraries, GgmlType.Q4_K, ones)).toThrow(/whole blocks of 256/);
    expect(() => quantize(libraries, GgmlType.Q8_0, ones, 48)).toThrow(RangeError);
    expect(() => quantize(libraries, GgmlType.Q8_0, new Float32Array(0))).toThrow(RangeError);
    expect(() => quantize(libraries, GgmlType.I32, ones)).toThrow(/i32/);
    expect(() => quantize(libraries, 16, new Float32Array(256))).toThrow(/iq2_xxs/);
    expect(() => dequantize(libraries, GgmlType.Q8_0, new Uint8Array(33), 32)).toThrow(RangeError);
    expect(() => dequantize(libraries, GgmlType.Q8_0, new Uint8Array(34), 31)).toThrow(RangeError);
    expect(() => dequantize(libraries, GgmlType.I32, new Uint8Array(64), 16)).toThrow(/i32/);
    for (const type of [-1, 4, 31, 43, 1.5]) expect(() => typeTraits(libraries, type)).toThrow(/no tensor type/);
  });

  it("knows no type that cannot be quantised or refused cleanly", () => {
    const slow = new Set([22, 29]); // iq2_s and iq1_m build tables for 10 s
    for (let type = 0; type < GGML_TYPE_COUNT; type++) {
      if (slow.has(type)) continue;
      let outcome: unknown;
      try {
        outcome = quantize(libraries, type, new Float32Array(512).fill(0.25), 512);
      } catch (error) {
        outcome = error;
      }
      expect(outcome instanceof Uint8Array || outcome instanceof RangeError).toBe(true);
    }
  });
});
