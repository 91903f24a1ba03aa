import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";
import { NativeWords } from "./native-words.ts";

const BYTES = 3 * 2 ** 20;

describe("native words", () => {
  test("are what a DataView of the same memory shows, on either side of every window's border", () => {
    const address = reserveMemory(BYTES);
    const view = new DataView(viewMemory(address, BYTES));
    const words = new NativeWords();
    // 64-bit words are aligned in structs, but a window may end between their halves if it does not begin on 8.
    const at = fc.oneof(
      fc.integer({ min: 0, max: BYTES / 4 - 2 }),
      fc.constantFrom(0, 1, 2).map((i) => i * 2 ** 18 + 2 ** 18 - ((address / 4) % 2 ** 18) - 1),
    );
    fc.assert(
      fc.property(at, fc.integer(), fc.float({ noNaN: true }), fc.maxSafeNat(), (index, int, float, long) => {
        const offset = Math.max(0, index) * 4;
        words.setI32(address + offset, int);
        expect(view.getInt32(offset, true)).toBe(int);
        expect(words.i32(address + offset)).toBe(int);
        expect(words.u32(address + offset)).toBe(int >>> 0);
        view.setFloat32(offset, float, true);
        expect(words.f32(address + offset)).toBe(float);
        words.setU64(address + offset, long);
        expect(Number(view.getBigUint64(offset, true))).toBe(long);
        expect(words.u64(address + offset)).toBe(long);
      }),
    );
    releaseMemory(address, BYTES);
  });

  test("are copied across windows", () => {
    const address = reserveMemory(BYTES);
    const floats = new Float32Array(viewMemory(address, BYTES));
    for (let i = 0; i < floats.length; i++) floats[i] = i;
    const words = new NativeWords();
    const windowFloats = 2 ** 18;
    const range = fc.record({
      from: fc.oneof(
        fc.integer({ min: 0, max: floats.length - 1 }),
        fc.constantFrom(windowFloats - 1, windowFloats, windowFloats + 1),
      ),
      count: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constant(2 * windowFloats + 3)),
      at: fc.integer({ min: 0, max: 5 }),
    });
    fc.assert(
      fc.property(range, ({ from, count, at }) => {
        const copied = Math.min(count, floats.length - from);
        const into = new Float32Array(at + copied + 1).fill(-1);
        words.copyFloats(address + from * 4, copied, into, at);
        expect(into.subarray(0, at).every((value) => value === -1)).toBe(true);
        expect(into.subarray(at, at + copied)).toEqual(floats.subarray(from, from + copied));
        expect(into[at + copied]).toBe(-1);
      }),
      { numRuns: 60 },
    );
    releaseMemory(address, BYTES);
  });
});
