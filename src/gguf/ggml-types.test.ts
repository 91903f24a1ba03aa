import { describe, expect, test } from "vitest";
import { GgmlType, ggmlTypeTraits, isGgmlType, tensorSize } from "./ggml-types.ts";
import { libggml } from "./libggml.test-data.ts";

/** ggml.h, GGML_TYPE_COUNT of v0.5.0. */
const TYPE_COUNT = 43;

describe("ggml types", () => {
  test.skipIf(libggml === undefined)("name, block and bytes of every type are the shipped library's", () => {
    for (let type = 0; type < TYPE_COUNT; type++) {
      const native = libggml!.type(type);
      if (native.blockElements === 0) expect(isGgmlType(type), `${type} ${native.name}`).toBe(false);
      else {
        expect(isGgmlType(type), `${type} ${native.name}`).toBe(true);
        expect(ggmlTypeTraits(type as GgmlType)).toEqual(native);
      }
    }
    expect(isGgmlType(TYPE_COUNT)).toBe(false);
  });

  test("sizes of tensors, scalars and empty tensors", () => {
    expect(tensorSize(GgmlType.Q8_0, [256, 128, 32])).toEqual({ bytes: (256 / 32) * 34 * 128 * 32 });
    expect(tensorSize(GgmlType.F32, [])).toEqual({ bytes: 4 });
    expect(tensorSize(GgmlType.F32, [5, 0, 2 ** 50])).toEqual({ bytes: 0 });
  });

  test("rows that are not whole blocks and sizes beyond 2^53 are problems", () => {
    expect(tensorSize(GgmlType.Q4_K, [128, 2])).toHaveProperty("problem");
    expect(tensorSize(GgmlType.F32, [2 ** 52, 1])).toHaveProperty("problem");
    expect(tensorSize(GgmlType.I8, [2 ** 30, 2 ** 30, 2 ** 30, 2 ** 30])).toHaveProperty("problem");
    expect(tensorSize(GgmlType.I8, [2 ** 53 - 1])).toEqual({ bytes: 2 ** 53 - 1 });
  });
});
