import fc from "fast-check";
import { expect, test } from "vitest";
import { GgmlType } from "../gguf/index.ts";
import { NoiseBlocks, rowBytes, writePaddedMatrix } from "./padded-matrix.ts";

test("old weights keep their place, new rows are zero in the old columns, and noise is only in the new ones", () => {
  const size = fc.record({ columns: fc.integer({ min: 1, max: 4 }), rows: fc.integer({ min: 1, max: 5 }) });
  fc.assert(
    fc.property(size, size, fc.constantFrom(GgmlType.F16, GgmlType.Q8_0), fc.boolean(), (small, more, type, noisy) => {
      const from = { columns: small.columns * 32, rows: small.rows };
      const to = { columns: from.columns + (more.columns - 1) * 32, rows: from.rows + more.rows - 1 };
      const oldBytes = rowBytes(type, from.columns);
      const newBytes = rowBytes(type, to.columns);
      const source = new Uint8Array(oldBytes * from.rows).map((_, i) => 1 + (i % 250));
      const target = new Uint8Array(newBytes * to.rows).fill(255);
      const noise = noisy ? new NoiseBlocks(type, 7) : undefined;
      writePaddedMatrix(source, target, { type, from, to, noise });
      for (let row = 0; row < to.rows; row++) {
        const old = target.subarray(row * newBytes, row * newBytes + oldBytes);
        const added = target.subarray(row * newBytes + oldBytes, (row + 1) * newBytes);
        if (row < from.rows) expect(old).toEqual(source.subarray(row * oldBytes, (row + 1) * oldBytes));
        else expect(old.every((byte) => byte === 0)).toBe(true);
        expect(added.every((byte) => byte === 0)).toBe(!noisy || added.length === 0);
      }
    }),
    { numRuns: 40 },
  );
});

test("scaling halves the numbers exactly, or refuses", () => {
  const floats = new Uint8Array(Float32Array.of(1, -3.5, 0, 1e-20).buffer);
  const matrix = { columns: 4, rows: 1 };
  const target = new Uint8Array(16);
  writePaddedMatrix(floats, target, { type: GgmlType.F32, from: matrix, to: matrix, scale: 0.25 });
  expect([...new Float32Array(target.buffer)]).toEqual([0.25, -0.875, 0, Math.fround(1e-20) / 4]);

  // Halves: 1.0 is 0x3c00, the smallest normal one is 0x0400.
  const half = (bits: number, scale: number) => {
    const result = new Uint8Array(2);
    const one = { columns: 1, rows: 1 };
    const source = new Uint8Array(Uint16Array.of(bits).buffer);
    writePaddedMatrix(source, result, { type: GgmlType.F16, from: one, to: one, scale });
    return new Uint16Array(result.buffer)[0];
  };
  expect(half(0x3c00, 0.25)).toBe(0x3400);
  expect(half(0xbc01, 0.5)).toBe(0xb801);
  expect(half(0, 0.25)).toBe(0);
  expect(() => half(0x0400, 0.5)).toThrow(/rounded/);
  expect(() => half(0x3c00, 0.3)).toThrow(/rounded/);
  const q4 = { columns: 32, rows: 1 };
  expect(() =>
    writePaddedMatrix(new Uint8Array(18), new Uint8Array(18), { type: GgmlType.Q4_0, from: q4, to: q4, scale: 0.5 }),
  ).toThrow(/q4_0/);
});

test("noise is repeatable, finite, and differs from seed to seed", () => {
  const noise = (seed: number, type: GgmlType = GgmlType.F16) => {
    const bytes = new Uint8Array(34 * 4096);
    new NoiseBlocks(type, seed).fill(bytes);
    return bytes;
  };
  expect(noise(1)).toEqual(noise(1));
  expect(noise(1)).not.toEqual(noise(2));
  const halves = new Uint16Array(noise(3).buffer);
  expect(halves.every((half) => ((half >>> 10) & 31) === 11)).toBe(true);
  expect(new Set(halves).size).toBeGreaterThan(2000);
  const blocks = noise(3, GgmlType.Q8_0);
  for (let at = 0; at < blocks.length; at += 34) expect([blocks[at], blocks[at + 1]]).toEqual([0, 0x14]);
  expect(() => new NoiseBlocks(GgmlType.Q4_K, 1)).toThrow(RangeError);
});
