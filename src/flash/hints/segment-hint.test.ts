import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type HintBits, SegmentCodec } from "./segment-hint.ts";

const shape = { layers: 3, experts: 7 };
const uses = fc.uint8Array({ minLength: 21, maxLength: 21, max: 8 });
const codecs = fc.constantFrom<HintBits>(1, 2, 4).map((bits) => new SegmentCodec(shape, bits));

function decoded(codec: SegmentCodec, hint: Uint8Array): number[] {
  const into = new Uint8Array(21);
  expect(codec.decode(hint, into)).toBe(true);
  return [...into];
}

describe("a hint", () => {
  test("keeps what is used and what is not, and with four bits how often", () => {
    fc.assert(
      fc.property(codecs, uses, (codec, given) => {
        const found = decoded(codec, codec.encode(given));
        expect(found.map((count) => count > 0)).toEqual([...given].map((count) => count > 0));
        if (codec.bits === 4) expect(found).toEqual([...given]);
      }),
    );
  });

  test("has the size that is told", () => {
    expect([1, 2, 4].map((bits) => new SegmentCodec({ layers: 8, experts: 32 }, bits as HintBits).bytes)).toEqual([
      34, 66, 130,
    ]);
    const codec = new SegmentCodec(shape, 2);
    expect(codec.encode(new Uint8Array(21))).toHaveLength(codec.bytes);
  });

  test("of another shape, of other bits or of noise is none", () => {
    const codec = new SegmentCodec(shape, 4);
    const into = new Uint8Array(21).fill(9);
    const others = [new SegmentCodec({ layers: 3, experts: 9 }, 4), new SegmentCodec(shape, 2)];
    for (const hint of [...others.map((other) => other.encode(new Uint8Array(27))), new Uint8Array(codec.bytes)])
      expect(codec.decode(hint, into)).toBe(false);
    expect(into).toEqual(new Uint8Array(21).fill(9));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (noise) => void codec.decode(noise, into)));
  });
});

describe("merging", () => {
  const codec = new SegmentCodec(shape, 4);
  const all = (count: number) => codec.encode(new Uint8Array(21).fill(count));

  test("takes the first observation as it is, and nothing that says nothing new", () => {
    expect(codec.merge(undefined, all(3))).toEqual(all(3));
    expect(codec.merge(all(3), all(3))).toBeUndefined();
    expect(codec.merge(new Uint8Array(4), all(3))).toEqual(all(3));
  });

  test("is a mean that follows a change", () => {
    const once = codec.merge(all(8), all(2)) as Uint8Array;
    expect(new Set(decoded(codec, once))).toEqual(new Set([5]));
    let hint = once;
    for (let i = 0; i < 40; i++) hint = codec.merge(hint, all(0)) ?? hint;
    expect(Math.max(...decoded(codec, hint))).toBeLessThan(5);
    const newest = new SegmentCodec(shape, 1);
    const used = newest.encode(new Uint8Array(21).fill(1));
    expect(newest.merge(used, newest.encode(new Uint8Array(21)))).toEqual(
      expect.objectContaining({ length: newest.bytes }),
    );
  });
});
