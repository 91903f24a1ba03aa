import fc from "fast-check";
import koffi from "koffi";
import { describe, expect, it } from "vitest";
import { Batch } from "./batch.ts";
import { DisposedError } from "./errors.ts";
import type { NativePointer } from "./structs.ts";

const entry = fc.record({
  token: fc.nat(100_000),
  position: fc.nat(100_000),
  sequences: fc.oneof(fc.nat(7), fc.uniqueArray(fc.nat(7), { minLength: 1, maxLength: 3 })),
  wantLogits: fc.boolean(),
});

/** Reads the `llama_batch` back as C would. */
function readBack(batch: Batch) {
  const { n_tokens, token, pos, n_seq_id, seq_id, logits } = batch.nativeStruct();
  const int = (pointer: unknown, i: number): number => koffi.decode(pointer, i * 4, "int32_t");
  return Array.from({ length: Number(n_tokens) }, (_, i) => {
    const row: NativePointer = koffi.decode(seq_id, i * 8, "void *");
    return {
      token: int(token, i),
      position: int(pos, i),
      sequences: Array.from({ length: int(n_seq_id, i) }, (_, s) => int(row, s)),
      wantLogits: koffi.decode(logits, i, "int8_t") === 1,
    };
  });
}

describe("Batch", () => {
  it("holds in native memory what was added since clear()", () => {
    using batch = new Batch({ capacity: 20, sequencesPerToken: 3 });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        batch.clear();
        entries.forEach((e, i) => {
          expect(batch.add(e.token, e.position, e.sequences, e.wantLogits)).toBe(i);
        });
        expect(readBack(batch)).toEqual(entries.map((e) => ({ ...e, sequences: [e.sequences].flat() })));
        expect(batch.length).toBe(entries.length);
        expect(batch.outputCount).toBe(entries.filter((e) => e.wantLogits).length);
      }),
    );
  });

  it("refuses more tokens or sequences than it has room for, and stays as it was", () => {
    using batch = new Batch({ capacity: 1 });
    expect(() => batch.add(1, 0, [0, 1], true)).toThrow(RangeError);
    expect(() => batch.add(1, 0, [], true)).toThrow(RangeError);
    expect(batch.length).toBe(0);
    batch.add(1, 0, 0, true);
    expect(() => batch.add(2, 1, 0, true)).toThrow(/full at 1/);
    expect(readBack(batch)).toEqual([{ token: 1, position: 0, sequences: [0], wantLogits: true }]);
    expect(() => new Batch({ capacity: 0 })).toThrow(RangeError);
  });

  it("cannot be used after dispose()", () => {
    const batch = new Batch({ capacity: 4 });
    batch.dispose();
    batch.dispose();
    expect(() => batch.add(1, 0, 0, true)).toThrow(DisposedError);
    expect(() => batch.nativeStruct()).toThrow(DisposedError);
  });
});
