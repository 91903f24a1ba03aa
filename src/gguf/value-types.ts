/**
 * The value types of GGUF metadata: their numbers in the file, names and sizes. Names are those that llama.cpp prints,
 * with `[]` behind an array's element type.
 */

/** Number of the value type in the file is the index here (gguf.h, `enum gguf_type`). */
export const VALUE_TYPES = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;

export type ScalarType = Exclude<(typeof VALUE_TYPES)[number], "array">;

/** What a metadata entry holds: a scalar type, or an array of one. The format nests no deeper. */
export type MetadataType = ScalarType | `${ScalarType}[]`;

export const ARRAY_TYPE_NUMBER = 9;

/** Bytes of one value; strings have a length before them and no fixed size. */
export const SCALAR_BYTES: Readonly<Record<Exclude<ScalarType, "string">, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
};

export function valueTypeNumber(type: ScalarType): number {
  return VALUE_TYPES.indexOf(type);
}

export type ScalarValue = number | bigint | boolean | string;

/** Decodes one fixed-size scalar at `at`. 64-bit integers come as bigint. */
export function decodeScalar(
  type: Exclude<ScalarType, "string">,
  bytes: DataView,
  at: number,
): number | bigint | boolean {
  switch (type) {
    case "u8":
      return bytes.getUint8(at);
    case "i8":
      return bytes.getInt8(at);
    case "u16":
      return bytes.getUint16(at, true);
    case "i16":
      return bytes.getInt16(at, true);
    case "u32":
      return bytes.getUint32(at, true);
    case "i32":
      return bytes.getInt32(at, true);
    case "f32":
      return bytes.getFloat32(at, true);
    // Any non-zero byte is true, as in gguf.cpp's reader.
    case "bool":
      return bytes.getUint8(at) !== 0;
    case "u64":
      return bytes.getBigUint64(at, true);
    case "i64":
      return bytes.getBigInt64(at, true);
    case "f64":
      return bytes.getFloat64(at, true);
    default:
      return type satisfies never;
  }
}
