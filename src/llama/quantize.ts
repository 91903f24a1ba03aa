/**
 * Converts between float32 and the tensor types of GGUF files with ggml's own reference code, so that files written here
 * hold what llama.cpp itself would write. For test models, adapters and reading single rows; not on the decode path.
 */
import koffi from "koffi";
import type { Libraries } from "./libraries.ts";
import { GGML_TYPE_COUNT, GgmlType, type NativePointer, TypeTraitsStruct } from "./structs.ts";

export interface TypeTraits {
  /** ggml's name, such as `q8_0`. */
  readonly name: string;
  /** Elements that are stored together, 1 for plain types. */
  readonly blockElements: number;
  readonly blockBytes: number;
  readonly quantized: boolean;
}

/** @throws RangeError if v0.5.0 has no such type */
export function typeTraits(libraries: Libraries, type: number): TypeTraits {
  const traits = nativeTraits(libraries, type);
  return {
    name: traits.type_name,
    blockElements: Number(traits.blck_size),
    blockBytes: Number(traits.type_size),
    quantized: traits.is_quantized,
  };
}

/**
 * `values` as rows of `type`, in the layout of a tensor in a file. The first use of iq1_m and iq2_s builds tables for
 * about 10 s.
 * @param rowElements length of a row; blocks do not cross rows
 * @throws RangeError if rows are not whole blocks, or the type needs an importance matrix (iq1_s, iq2_xs,
 *   iq2_xxs) or is no float type
 */
export function quantize(
  libraries: Libraries,
  type: number,
  values: Float32Array,
  rowElements: number = values.length,
): Uint8Array {
  const { ggmlBase } = libraries;
  const { name, blockElements } = typeTraits(libraries, type);
  if (!(rowElements > 0) || rowElements % blockElements !== 0 || values.length % rowElements !== 0) {
    throw new RangeError(
      `${values.length} values in rows of ${rowElements} do not make whole blocks of ${blockElements} for ${name}`,
    );
  }
  if (NOT_QUANTIZABLE.has(type) || ggmlBase.ggml_quantize_requires_imatrix(type)) {
    throw new RangeError(`float32 cannot be converted to ${name} without further data`);
  }
  const rows = values.length / rowElements;
  const target = new Uint8Array(rows * ggmlBase.ggml_row_size(type, rowElements));
  const written = ggmlBase.ggml_quantize_chunk(type, values, target, 0, rows, rowElements, null);
  if (written !== target.length) throw new Error(`ggml_quantize_chunk wrote ${written} of ${target.length} bytes`);
  return target;
}

/**
 * The inverse of `quantize`, up to the type's precision.
 * @param elements how many values `bytes` holds
 * @throws RangeError if they are not whole blocks, too few bytes, or the type has no float values
 */
export function dequantize(libraries: Libraries, type: number, bytes: Uint8Array, elements: number): Float32Array {
  const traits = nativeTraits(libraries, type);
  const blocks = elements / Number(traits.blck_size);
  const needed = blocks * Number(traits.type_size);
  if (!Number.isInteger(blocks) || bytes.length < needed) {
    throw new RangeError(`${bytes.length} bytes do not hold ${elements} values of ${traits.type_name}`);
  }
  const values = new Float32Array(elements);
  if (type === GgmlType.F32) {
    new Uint8Array(values.buffer).set(bytes.subarray(0, needed));
  } else {
    if (traits.to_float === null) throw new RangeError(`${traits.type_name} has no conversion to float32`);
    koffi.call(traits.to_float, "ggml_to_float_t", bytes, values, elements);
  }
  return values;
}

interface NativeTraits {
  readonly type_name: string;
  readonly blck_size: number;
  readonly type_size: number;
  readonly is_quantized: boolean;
  readonly to_float: NativePointer | null;
}

/** Types whose case in ggml_quantize_chunk (ggml/src/ggml.c) is an assertion: integers, doubles and q8 intermediates. */
const NOT_QUANTIZABLE: ReadonlySet<number> = new Set([9, 15, 24, 25, 26, 27, 28]);

function nativeTraits(libraries: Libraries, type: number): NativeTraits {
  if (Number.isInteger(type) && type >= 0 && type < GGML_TYPE_COUNT) {
    const traits: NativeTraits = koffi.decode(libraries.ggmlBase.ggml_get_type_traits(type), TypeTraitsStruct);
    if (Number(traits.type_size) > 0) return traits; // numbers of types that were removed have no size
  }
  throw new RangeError(`llama.cpp ${libraries.version} has no tensor type ${type}`);
}
