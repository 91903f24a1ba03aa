/**
 * Refuses a library whose structs are not laid out like ours, before any of them is passed to it: the defaults that
 * it returns must be v0.5.0's in every field, and a tensor that it makes must show the values we gave at our offsets.
 * A function signature cannot be checked this way; the pinned version and `test/llama-header` cover those.
 */
import koffi from "koffi";
import { type FieldDifference, StructLayoutError } from "./errors.ts";
import type { GgmlBaseFunctions, LlamaFunctions } from "./functions.ts";
import {
  CONTEXT_DEFAULTS,
  GgmlType,
  MODEL_DEFAULTS,
  type NativePointer,
  SAMPLER_CHAIN_DEFAULTS,
  type StructValue,
  TENSOR_BYTES,
  TENSOR_OFFSET,
} from "./structs.ts";

/** Throws StructLayoutError naming every field of `returned` that is not what `expected` says. */
export function checkDefaults(struct: string, returned: StructValue, expected: Readonly<StructValue>): void {
  const differences: FieldDifference[] = [];
  for (const [field, value] of Object.entries(expected)) {
    if (!Object.is(returned[field], value)) differences.push({ field, expected: value, found: returned[field] });
  }
  if (differences.length > 0) throw new StructLayoutError(struct, differences);
}

/** Checks all parameter structs against the loaded library. */
export function checkParameterStructs(llama: LlamaFunctions): void {
  checkDefaults("llama_model_params", llama.llama_model_default_params(), MODEL_DEFAULTS);
  checkDefaults("llama_context_params", llama.llama_context_default_params(), CONTEXT_DEFAULTS);
  checkDefaults("llama_sampler_chain_params", llama.llama_sampler_chain_default_params(), SAMPLER_CHAIN_DEFAULTS);
}

const OBJECT_BYTES = 32; // sizeof(struct ggml_object), what ggml_tensor_overhead() adds to a tensor

/** Checks `TENSOR_OFFSET` on tensors that the library itself makes. */
export function checkTensorLayout(ggml: GgmlBaseFunctions): void {
  const context = ggml.ggml_init({ mem_size: 65536, mem_buffer: null, no_alloc: false });
  if (context === null) throw new Error("ggml_init failed");
  try {
    const source = ggml.ggml_new_tensor_4d(context, GgmlType.F16, 3, 5, 7, 2);
    ggml.ggml_set_name(source, "layout");
    const view = ggml.ggml_view_tensor(context, source);
    const result = ggml.ggml_neg(context, source);
    const found: StructValue = {
      bytes: ggml.ggml_tensor_overhead() - OBJECT_BYTES,
      type: int32At(source, TENSOR_OFFSET.type),
      ne0: int64At(source, TENSOR_OFFSET.ne),
      ne3: int64At(source, TENSOR_OFFSET.ne + 24),
      nb0: int64At(source, TENSOR_OFFSET.nb),
      nb3: int64At(source, TENSOR_OFFSET.nb + 24),
      op: int32At(source, TENSOR_OFFSET.op),
      data: int64At(source, TENSOR_OFFSET.data),
      nameFirst: int32At(source, TENSOR_OFFSET.name),
      opOfResult: ggml.ggml_op_name(int32At(result, TENSOR_OFFSET.op)) === "UNARY",
      srcOfResult: int64At(result, TENSOR_OFFSET.src),
      viewSrcOfView: int64At(view, TENSOR_OFFSET.viewSrc),
    };
    checkDefaults("ggml_tensor", found, {
      bytes: TENSOR_BYTES,
      type: GgmlType.F16,
      ne0: 3,
      ne3: 2,
      nb0: 2,
      nb3: 210,
      op: 0,
      data: Number(ggml.ggml_get_data(source)),
      nameFirst: Buffer.from("layo").readInt32LE(),
      opOfResult: true,
      srcOfResult: Number(source),
      viewSrcOfView: Number(source),
    });
  } finally {
    ggml.ggml_free(context);
  }
}

function int32At(address: NativePointer, offset: number): number {
  return koffi.decode.int32(address + BigInt(offset));
}

function int64At(address: NativePointer, offset: number): number {
  return Number(koffi.decode.int64(address + BigInt(offset)));
}
