/**
 * The C structs of llama.cpp v0.5.0 that cross the boundary, as koffi types with the header's own names, and the
 * defaults that this version returns for them. Layouts only; `layout-check.ts` compares them with the loaded library
 * and `test/llama-header` with the header itself.
 */
import koffi from "koffi";

/** A native address. Never zero: C's NULL is `null`. */
export type NativePointer = bigint;

/** Native tensor types that this project names; the numbers are those of `enum ggml_type` and of GGUF files. */
export const GgmlType = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  IQ4_NL: 20,
  IQ4_XS: 23,
  I32: 26,
  BF16: 30,
  MXFP4: 39,
} as const;
export type GgmlType = (typeof GgmlType)[keyof typeof GgmlType];

/** Types are numbered below this; asking ggml about one beyond would end the process. */
export const GGML_TYPE_COUNT = 43;

export const LoadMode = { AUTO: -1, NONE: 0, MMAP: 1, MLOCK: 2, MMAP_MLOCK: 3, DIRECT_IO: 4 } as const;
export const LazyMode = { OFF: 0, AUTO: 1, ON: 2 } as const;
export const FlashAttention = { AUTO: -1, DISABLED: 0, ENABLED: 1 } as const;

/** Callback types under the header's names. `uintptr_t` is a pointer wanted as a number, which costs no allocation. */
export const CALLBACK_PROTOTYPES = [
  "bool ggml_backend_sched_eval_callback(uintptr_t tensor, bool ask, void *user_data)",
  "bool ggml_abort_callback(void *data)",
  "void ggml_log_callback(int level, const char *text, void *user_data)",
  "bool llama_progress_callback(float progress, void *user_data)",
  "void ggml_to_float_t(void *x, void *y, int64_t k)",
];
for (const prototype of CALLBACK_PROTOTYPES) koffi.proto(prototype);

export const ModelParamsStruct = koffi.struct("llama_model_params", {
  devices: "void *",
  tensor_buft_overrides: "void *",
  n_gpu_layers: "int32_t",
  split_mode: "int",
  load_mode: "int",
  lazy_mode: "int",
  main_gpu: "int32_t",
  tensor_split: "void *",
  progress_callback: "void *",
  progress_callback_user_data: "void *",
  kv_overrides: "void *",
  vocab_only: "bool",
  check_tensors: "bool",
  use_extra_bufts: "bool",
  no_host: "bool",
  no_alloc: "bool",
  load_mtp: "bool",
});

export const ContextParamsStruct = koffi.struct("llama_context_params", {
  n_ctx: "uint32_t",
  n_batch: "uint32_t",
  n_ubatch: "uint32_t",
  n_seq_max: "uint32_t",
  n_rs_seq: "uint32_t",
  n_outputs_max: "uint32_t",
  n_outputs_max_per_seq: "uint32_t",
  n_threads: "int32_t",
  n_threads_batch: "int32_t",
  ctx_type: "int",
  rope_scaling_type: "int",
  pooling_type: "int",
  attention_type: "int",
  flash_attn_type: "int",
  rope_freq_base: "float",
  rope_freq_scale: "float",
  yarn_ext_factor: "float",
  yarn_attn_factor: "float",
  yarn_beta_fast: "float",
  yarn_beta_slow: "float",
  yarn_orig_ctx: "uint32_t",
  defrag_thold: "float",
  cb_eval: "void *",
  cb_eval_user_data: "void *",
  type_k: "int",
  type_v: "int",
  abort_callback: "void *",
  abort_callback_data: "void *",
  embeddings: "bool",
  offload_kqv: "bool",
  no_perf: "bool",
  op_offload: "bool",
  swa_full: "bool",
  kv_unified: "bool",
  samplers: "void *",
  n_samplers: "size_t",
  ctx_other: "void *",
});

export const BatchStruct = koffi.struct("llama_batch", {
  n_tokens: "int32_t",
  token: "void *",
  embd: "void *",
  pos: "void *",
  n_seq_id: "void *",
  seq_id: "void *",
  logits: "void *",
});

export const SamplerChainParamsStruct = koffi.struct("llama_sampler_chain_params", { no_perf: "bool" });

export const TokenDataStruct = koffi.struct("llama_token_data", { id: "int32_t", logit: "float", p: "float" });

export const TokenDataArrayStruct = koffi.struct("llama_token_data_array", {
  data: "void *",
  size: "size_t",
  selected: "int64_t",
  sorted: "bool",
});

export const LogitBiasStruct = koffi.struct("llama_logit_bias", { token: "int32_t", bias: "float" });

export const ContextTimingsStruct = koffi.struct("llama_perf_context_data", {
  t_start_ms: "double",
  t_load_ms: "double",
  t_p_eval_ms: "double",
  t_eval_ms: "double",
  n_p_eval: "int32_t",
  n_eval: "int32_t",
  n_reused: "int32_t",
});

export const GgmlInitParamsStruct = koffi.struct("ggml_init_params", {
  mem_size: "size_t",
  mem_buffer: "void *",
  no_alloc: "bool",
});

export const TypeTraitsStruct = koffi.struct("ggml_type_traits", {
  type_name: "const char *",
  blck_size: "int64_t",
  blck_size_interleave: "int64_t",
  type_size: "size_t",
  is_quantized: "bool",
  to_float: "void *",
  from_float_ref: "void *",
});

/** Dimensions, sources and name length of a tensor: GGML_MAX_DIMS, GGML_MAX_SRC, GGML_MAX_NAME. */
export const TENSOR_DIMS = 4;
export const TENSOR_SOURCES = 10;
export const TENSOR_NAME_BYTES = 64;

export const TensorStruct = koffi.struct("ggml_tensor", {
  type: "int",
  buffer: "void *",
  ne: koffi.array("int64_t", TENSOR_DIMS),
  nb: koffi.array("size_t", TENSOR_DIMS),
  op: "int",
  op_params: koffi.array("int32_t", 16),
  flags: "int32_t",
  src: koffi.array("void *", TENSOR_SOURCES),
  view_src: "void *",
  view_offs: "size_t",
  data: "void *",
  name: koffi.array("char", TENSOR_NAME_BYTES),
  extra: "void *",
  padding: koffi.array("char", 8),
});

/**
 * Byte offsets of the `ggml_tensor` fields that an eval callback reads straight from memory: `ne` is 4 int64 element
 * counts, `nb` 4 size_t strides in bytes, `src` 10 pointers, `name` at most 64 bytes with a terminating zero.
 */
export const TENSOR_OFFSET = {
  type: koffi.offsetof(TensorStruct, "type"),
  ne: koffi.offsetof(TensorStruct, "ne"),
  nb: koffi.offsetof(TensorStruct, "nb"),
  op: koffi.offsetof(TensorStruct, "op"),
  src: koffi.offsetof(TensorStruct, "src"),
  viewSrc: koffi.offsetof(TensorStruct, "view_src"),
  data: koffi.offsetof(TensorStruct, "data"),
  name: koffi.offsetof(TensorStruct, "name"),
} as const;

/** Size of one `ggml_tensor` in bytes. */
export const TENSOR_BYTES = koffi.sizeof(TensorStruct);

/** A struct value as koffi returns it and accepts it: the header's field names, pointers as bigint or null. */
export type StructValue = Record<string, number | boolean | NativePointer | null>;

/** What `llama_model_default_params()` of v0.5.0 returns (src/llama-model.cpp:2787). */
export const MODEL_DEFAULTS: Readonly<StructValue> = {
  devices: null,
  tensor_buft_overrides: null,
  n_gpu_layers: -1,
  split_mode: 1,
  load_mode: LoadMode.AUTO,
  lazy_mode: LazyMode.AUTO,
  main_gpu: 0,
  tensor_split: null,
  progress_callback: null,
  progress_callback_user_data: null,
  kv_overrides: null,
  vocab_only: false,
  check_tensors: false,
  use_extra_bufts: true,
  no_host: false,
  no_alloc: false,
  load_mtp: false,
};

/** What `llama_context_default_params()` of v0.5.0 returns (src/llama-context.cpp:3695). */
export const CONTEXT_DEFAULTS: Readonly<StructValue> = {
  n_ctx: 512,
  n_batch: 2048,
  n_ubatch: 512,
  n_seq_max: 1,
  n_rs_seq: 0,
  n_outputs_max: 0,
  n_outputs_max_per_seq: 1,
  n_threads: 4,
  n_threads_batch: 4,
  ctx_type: 0,
  rope_scaling_type: -1,
  pooling_type: -1,
  attention_type: -1,
  flash_attn_type: FlashAttention.AUTO,
  rope_freq_base: 0,
  rope_freq_scale: 0,
  yarn_ext_factor: -1,
  yarn_attn_factor: -1,
  yarn_beta_fast: -1,
  yarn_beta_slow: -1,
  yarn_orig_ctx: 0,
  defrag_thold: -1,
  cb_eval: null,
  cb_eval_user_data: null,
  type_k: GgmlType.F16,
  type_v: GgmlType.F16,
  abort_callback: null,
  abort_callback_data: null,
  embeddings: false,
  offload_kqv: true,
  no_perf: true,
  op_offload: true,
  swa_full: true,
  kv_unified: false,
  samplers: null,
  n_samplers: 0,
  ctx_other: null,
};

/** What `llama_sampler_chain_default_params()` of v0.5.0 returns (src/llama.cpp:78). */
export const SAMPLER_CHAIN_DEFAULTS: Readonly<StructValue> = { no_perf: true };
