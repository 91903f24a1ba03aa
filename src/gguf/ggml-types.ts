/**
 * The tensor types of ggml as llama.cpp v0.5.0 has them: number, name, elements per block and bytes per block. Facts
 * only; nothing here dequantises. A test holds the whole table against the shipped libggml-base.
 */

/** Numbers are ggml.h's `enum ggml_type`. Gaps are types that were removed; files with them are refused. */
export const GgmlType = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q8_1: 9,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  Q8_K: 15,
  IQ2_XXS: 16,
  IQ2_XS: 17,
  IQ3_XXS: 18,
  IQ1_S: 19,
  IQ4_NL: 20,
  IQ3_S: 21,
  IQ2_S: 22,
  IQ4_XS: 23,
  I8: 24,
  I16: 25,
  I32: 26,
  I64: 27,
  F64: 28,
  IQ1_M: 29,
  BF16: 30,
  TQ1_0: 34,
  TQ2_0: 35,
  MXFP4: 39,
  NVFP4: 40,
  Q1_0: 41,
  Q2_0: 42,
} as const;

export type GgmlType = (typeof GgmlType)[keyof typeof GgmlType];

export interface GgmlTypeTraits {
  /** ggml's own name, such as `q8_0` or `q4_K`. */
  readonly name: string;
  /** Elements of one block; a row is a whole number of blocks. */
  readonly blockElements: number;
  readonly blockBytes: number;
}

const TRAITS: Readonly<Record<GgmlType, readonly [name: string, blockElements: number, blockBytes: number]>> = {
  [GgmlType.F32]: ["f32", 1, 4],
  [GgmlType.F16]: ["f16", 1, 2],
  [GgmlType.Q4_0]: ["q4_0", 32, 18],
  [GgmlType.Q4_1]: ["q4_1", 32, 20],
  [GgmlType.Q5_0]: ["q5_0", 32, 22],
  [GgmlType.Q5_1]: ["q5_1", 32, 24],
  [GgmlType.Q8_0]: ["q8_0", 32, 34],
  [GgmlType.Q8_1]: ["q8_1", 32, 36],
  [GgmlType.Q2_K]: ["q2_K", 256, 84],
  [GgmlType.Q3_K]: ["q3_K", 256, 110],
  [GgmlType.Q4_K]: ["q4_K", 256, 144],
  [GgmlType.Q5_K]: ["q5_K", 256, 176],
  [GgmlType.Q6_K]: ["q6_K", 256, 210],
  [GgmlType.Q8_K]: ["q8_K", 256, 292],
  [GgmlType.IQ2_XXS]: ["iq2_xxs", 256, 66],
  [GgmlType.IQ2_XS]: ["iq2_xs", 256, 74],
  [GgmlType.IQ3_XXS]: ["iq3_xxs", 256, 98],
  [GgmlType.IQ1_S]: ["iq1_s", 256, 50],
  [GgmlType.IQ4_NL]: ["iq4_nl", 32, 18],
  [GgmlType.IQ3_S]: ["iq3_s", 256, 110],
  [GgmlType.IQ2_S]: ["iq2_s", 256, 82],
  [GgmlType.IQ4_XS]: ["iq4_xs", 256, 136],
  [GgmlType.I8]: ["i8", 1, 1],
  [GgmlType.I16]: ["i16", 1, 2],
  [GgmlType.I32]: ["i32", 1, 4],
  [GgmlType.I64]: ["i64", 1, 8],
  [GgmlType.F64]: ["f64", 1, 8],
  [GgmlType.IQ1_M]: ["iq1_m", 256, 56],
  [GgmlType.BF16]: ["bf16", 1, 2],
  [GgmlType.TQ1_0]: ["tq1_0", 256, 54],
  [GgmlType.TQ2_0]: ["tq2_0", 256, 66],
  [GgmlType.MXFP4]: ["mxfp4", 32, 17],
  [GgmlType.NVFP4]: ["nvfp4", 64, 36],
  [GgmlType.Q1_0]: ["q1_0", 128, 18],
  [GgmlType.Q2_0]: ["q2_0", 64, 18],
};

export function isGgmlType(type: number): type is GgmlType {
  return Object.hasOwn(TRAITS, type);
}

export function ggmlTypeTraits(type: GgmlType): GgmlTypeTraits {
  const [name, blockElements, blockBytes] = TRAITS[type];
  return { name, blockElements, blockBytes };
}

export type TensorSize =
  | { readonly bytes: number }
  | { readonly reason: "bad-shape" | "too-large"; readonly problem: string };

/**
 * The size in bytes of a tensor of this shape (ne order, ne0 first), or why there cannot be such a tensor. Sizes
 * beyond 2^53 are refused: no file has them, and every offset in this project is a JavaScript number.
 */
export function tensorSize(type: GgmlType, shape: readonly number[]): TensorSize {
  const { name, blockElements, blockBytes } = ggmlTypeTraits(type);
  const row = shape[0] ?? 1;
  if (row % blockElements !== 0) {
    const problem = `its rows have ${row} elements, not a multiple of ${name}'s block of ${blockElements}`;
    return { reason: "bad-shape", problem };
  }
  if (shape.includes(0)) return { bytes: 0 };
  // Each factor is at most 2^53, so a product that leaves the exact range is seen as such before it is used again.
  let bytes = (row / blockElements) * blockBytes;
  for (const length of shape.slice(1)) {
    if (bytes > Number.MAX_SAFE_INTEGER) break;
    bytes *= length;
  }
  if (bytes > Number.MAX_SAFE_INTEGER)
    return { reason: "too-large", problem: `its shape [${shape.join(", ")}] needs more than 2^53 bytes` };
  return { bytes };
}
