/** Levels and indexes come back as they were, from our encoder and from hyparquet-writer's, and hyparquet reads ours. */
import fc from "fast-check";
import { readRleBitPackedHybrid } from "hyparquet/src/encoding.js";
import { ByteWriter } from "hyparquet-writer";
import { writeRleBitPackedHybrid } from "hyparquet-writer/src/encoding.js";
import { expect, test } from "vitest";
import { decodeHybrid } from "./hybrid-decode.ts";
import { appendBits, appendPackedHeader, appendRuns, bitWidthOf, repetitionBits } from "./hybrid-encode.ts";

function decode(bytes: Uint8Array, bitWidth: number, count: number): number[] {
  const out = new Uint32Array(count + 2).fill(99);
  decodeHybrid(bytes, bitWidth, out, 1, count);
  expect([out[0], out[count + 1]]).toEqual([99, 99]);
  return [...out.subarray(1, count + 1)];
}

function hyparquets(bytes: Uint8Array, bitWidth: number, count: number): number[] {
  const out = new Array<number>(count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  readRleBitPackedHybrid({ view, offset: 0 }, bitWidth, out, bytes.length);
  return out;
}

const values = fc.integer({ min: 1, max: 24 }).chain((width) =>
  fc.tuple(
    fc.constant(width),
    fc
      .array(fc.tuple(fc.nat({ max: 2 ** width - 1 }), fc.integer({ min: 1, max: 20 })), {
        minLength: 1,
        maxLength: 60,
      })
      .map((runs) => runs.flatMap(([value, length]) => new Array<number>(length).fill(value))),
  ),
);

test("what hyparquet-writer encodes", () => {
  fc.assert(
    fc.property(values, ([width, numbers]) => {
      const out = new ByteWriter();
      writeRleBitPackedHybrid(out, numbers, width);
      expect(decode(out.getBytes(), width, numbers.length)).toEqual(numbers);
    }),
  );
});

test("what we encode as runs, each value for several rows", () => {
  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 5 }), ([width, numbers], repeat) => {
      const out = new ByteWriter();
      appendRuns(out, numbers, repeat, width);
      const expected = numbers.flatMap((value) => new Array<number>(repeat).fill(value));
      expect(decode(out.getBytes(), width, expected.length)).toEqual(expected);
      expect(hyparquets(out.getBytes(), width, expected.length)).toEqual(expected);
    }),
  );
});

test("numbers of up to 32 bits", () => {
  fc.assert(
    fc.property(
      fc
        .integer({ min: 1, max: 32 })
        .chain((width) =>
          fc.tuple(fc.constant(width), fc.array(fc.nat({ max: 2 ** width - 1 }), { minLength: 1, maxLength: 40 })),
        ),
      ([width, numbers]) => {
        const groups = Math.ceil(numbers.length / 8);
        const bytes = new Uint8Array(1 + groups * width);
        bytes[0] = groups * 2 + 1;
        for (const [i, value] of numbers.entries())
          for (let bit = 0; bit < width; bit++)
            if (Math.floor(value / 2 ** bit) % 2 === 1)
              bytes[1 + ((i * width + bit) >> 3)] |= 1 << ((i * width + bit) & 7);
        expect(decode(bytes, width, numbers.length)).toEqual(numbers);
      },
    ),
  );
});

test("repetition levels of equal lists, and of any", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 70 }), (rows, length) => {
      const expected = Array.from({ length: rows * length }, (_, i) => (i % length === 0 ? 0 : 1));
      const out = new ByteWriter();
      appendPackedHeader(out, expected.length);
      out.appendBytes(repetitionBits(rows, length));
      expect(decode(out.getBytes(), 1, expected.length)).toEqual(expected);
      const bits = new ByteWriter();
      appendBits(bits, Uint8Array.from(expected));
      expect(bits.getBytes()).toEqual(out.getBytes());
    }),
  );
});

test("anything else is refused, and nothing beyond is written", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 30 }),
      fc.integer({ min: 0, max: 40 }),
      fc.nat({ max: 200 }),
      (bytes, width, count) => {
        try {
          expect(decode(bytes, width, count).every((value) => value < 2 ** width)).toBe(true);
        } catch (error) {
          expect((error as Error).message).toMatch(/within a run|too long|bits per number|in \d+ bits/);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("bits that a number needs", () => {
  expect([0, 1, 2, 3, 255, 256, 65_535].map(bitWidthOf)).toEqual([1, 1, 2, 2, 8, 9, 16]);
});
