/**
 * Every C function that is called, once as a C prototype for koffi and once as a TypeScript signature. Names are the
 * header's, so that upstream documentation applies as it stands; pointers are `void *` here and bigint in TypeScript,
 * enums are `int`. Nothing outside `src/llama` should need this table: the classes next to it own lifetimes and checks.
 */
import type { LibraryHandle } from "koffi";
import type { NativePointer, StructValue } from "./structs.ts";

export interface LlamaFunctions {
  llama_version(): string;
  llama_backend_init(): void;
  llama_log_set(callback: NativePointer | null, user: null): void;

  llama_model_default_params(): StructValue;
  llama_context_default_params(): StructValue;
  llama_sampler_chain_default_params(): StructValue;

  llama_model_load_from_file(path: string, params: StructValue): NativePointer | null;
  llama_model_load_from_splits(paths: string[], count: number, params: StructValue): NativePointer | null;
  llama_model_free(model: NativePointer): void;
  llama_model_get_vocab(model: NativePointer): NativePointer;
  llama_model_n_ctx_train(model: NativePointer): number;
  llama_model_n_embd(model: NativePointer): number;
  llama_model_n_layer(model: NativePointer): number;
  llama_model_n_swa(model: NativePointer): number;
  llama_model_meta_val_str(model: NativePointer, key: string, buffer: Buffer | null, size: number): number;
  llama_model_desc(model: NativePointer, buffer: Buffer, size: number): number;
  llama_model_size(model: NativePointer): number;
  llama_model_n_params(model: NativePointer): number;
  llama_model_chat_template(model: NativePointer, name: string | null): string | null;
  llama_model_is_recurrent(model: NativePointer): boolean;
  llama_model_is_hybrid(model: NativePointer): boolean;

  llama_adapter_lora_init(model: NativePointer, path: string): NativePointer | null;
  llama_adapter_lora_free(adapter: NativePointer): void;
  llama_set_adapters_lora(
    context: NativePointer,
    adapters: NativePointer[] | null,
    count: number,
    scales: Float32Array | null,
  ): number;

  llama_init_from_model(model: NativePointer, params: StructValue): NativePointer | null;
  llama_free(context: NativePointer): void;
  llama_n_ctx(context: NativePointer): number;
  llama_n_ctx_seq(context: NativePointer): number;
  llama_n_batch(context: NativePointer): number;
  llama_n_ubatch(context: NativePointer): number;
  llama_get_memory(context: NativePointer): NativePointer | null;
  llama_decode(context: NativePointer, batch: StructValue): number;
  llama_get_logits(context: NativePointer): number;
  llama_get_logits_ith(context: NativePointer, index: number): number;
  llama_get_embeddings_ith(context: NativePointer, index: number): number;
  llama_set_n_threads(context: NativePointer, threads: number, batchThreads: number): void;
  llama_perf_context(context: NativePointer): StructValue;
  llama_perf_context_reset(context: NativePointer): void;

  llama_memory_clear(memory: NativePointer, data: boolean): void;
  llama_memory_seq_rm(memory: NativePointer, sequence: number, from: number, to: number): boolean;
  llama_memory_seq_cp(memory: NativePointer, source: number, target: number, from: number, to: number): void;
  llama_memory_seq_pos_min(memory: NativePointer, sequence: number): number;
  llama_memory_seq_pos_max(memory: NativePointer, sequence: number): number;

  llama_vocab_n_tokens(vocab: NativePointer): number;
  llama_vocab_is_eog(vocab: NativePointer, token: number): boolean;
  llama_vocab_is_control(vocab: NativePointer, token: number): boolean;
  llama_vocab_bos(vocab: NativePointer): number;
  llama_vocab_eos(vocab: NativePointer): number;
  llama_vocab_eot(vocab: NativePointer): number;
  llama_vocab_get_add_bos(vocab: NativePointer): boolean;
  llama_vocab_get_add_eos(vocab: NativePointer): boolean;
  llama_vocab_get_text(vocab: NativePointer, token: number): string;
  llama_vocab_get_suppress_tokens(vocab: NativePointer, count: Int32Array): NativePointer | null;
  llama_tokenize(
    vocab: NativePointer,
    text: Buffer,
    textBytes: number,
    tokens: Int32Array,
    capacity: number,
    addSpecial: boolean,
    parseSpecial: boolean,
  ): number;
  llama_token_to_piece(
    vocab: NativePointer,
    token: number,
    buffer: Buffer,
    length: number,
    stripSpaces: number,
    special: boolean,
  ): number;

  llama_sampler_chain_init(params: StructValue): NativePointer;
  llama_sampler_chain_add(chain: NativePointer, sampler: NativePointer): void;
  llama_sampler_init_greedy(): NativePointer;
  llama_sampler_init_dist(seed: number): NativePointer;
  llama_sampler_init_top_k(k: number): NativePointer;
  llama_sampler_init_top_p(p: number, minKeep: number): NativePointer;
  llama_sampler_init_min_p(p: number, minKeep: number): NativePointer;
  llama_sampler_init_typical(p: number, minKeep: number): NativePointer;
  llama_sampler_init_temp(temperature: number): NativePointer;
  llama_sampler_init_penalties(
    vocabularySize: number,
    lastN: number,
    repeat: number,
    frequency: number,
    presence: number,
  ): NativePointer;
  llama_sampler_init_dry(
    vocab: NativePointer,
    multiplier: number,
    base: number,
    allowedLength: number,
    penaltyLastN: number,
    breakers: string[],
    breakerCount: number,
  ): NativePointer;
  llama_sampler_init_logit_bias(vocabularySize: number, count: number, biases: StructValue[]): NativePointer;
  llama_sampler_init_grammar(vocab: NativePointer, grammar: string, root: string): NativePointer | null;
  llama_sampler_get_seed(sampler: NativePointer): number;
  llama_sampler_sample(sampler: NativePointer, context: NativePointer, index: number): number;
  llama_sampler_apply(sampler: NativePointer, candidates: NativePointer): void;
  llama_sampler_accept(sampler: NativePointer, token: number): void;
  llama_sampler_reset(sampler: NativePointer): void;
  llama_sampler_clone(sampler: NativePointer): NativePointer;
  llama_sampler_free(sampler: NativePointer): void;
}

export interface GgmlBaseFunctions {
  ggml_init(params: StructValue): NativePointer | null;
  ggml_free(context: NativePointer): void;
  ggml_new_tensor_4d(
    context: NativePointer,
    type: number,
    ne0: number,
    ne1: number,
    ne2: number,
    ne3: number,
  ): NativePointer;
  ggml_view_tensor(context: NativePointer, source: NativePointer): NativePointer;
  ggml_neg(context: NativePointer, source: NativePointer): NativePointer;
  ggml_set_name(tensor: NativePointer, name: string): NativePointer;
  ggml_get_data(tensor: NativePointer): NativePointer | null;
  ggml_op_name(op: number): string;
  ggml_tensor_overhead(): number;
  ggml_get_type_traits(type: number): NativePointer;
  ggml_row_size(type: number, elements: number): number;
  ggml_quantize_requires_imatrix(type: number): boolean;
  ggml_quantize_chunk(
    type: number,
    source: Float32Array,
    target: Uint8Array,
    start: number,
    rows: number,
    rowElements: number,
    importance: null,
  ): number;
}

export interface GgmlFunctions {
  ggml_backend_load_all_from_path(directory: string): void;
}

/** The prototypes, exported for the test that compares them with the shipped headers. */
export const LLAMA_PROTOTYPES: Record<keyof LlamaFunctions, string> = {
  llama_version: "const char *llama_version(void)",
  llama_backend_init: "void llama_backend_init(void)",
  llama_log_set: "void llama_log_set(void *log_callback, void *user_data)",

  llama_model_default_params: "llama_model_params llama_model_default_params(void)",
  llama_context_default_params: "llama_context_params llama_context_default_params(void)",
  llama_sampler_chain_default_params: "llama_sampler_chain_params llama_sampler_chain_default_params(void)",

  llama_model_load_from_file: "void *llama_model_load_from_file(const char *path_model, llama_model_params params)",
  llama_model_load_from_splits:
    "void *llama_model_load_from_splits(const char **paths, size_t n_paths, llama_model_params params)",
  llama_model_free: "void llama_model_free(void *model)",
  llama_model_get_vocab: "void *llama_model_get_vocab(void *model)",
  llama_model_n_ctx_train: "int32_t llama_model_n_ctx_train(void *model)",
  llama_model_n_embd: "int32_t llama_model_n_embd(void *model)",
  llama_model_n_layer: "int32_t llama_model_n_layer(void *model)",
  llama_model_n_swa: "int32_t llama_model_n_swa(void *model)",
  llama_model_meta_val_str:
    "int32_t llama_model_meta_val_str(void *model, const char *key, void *buf, size_t buf_size)",
  llama_model_desc: "int32_t llama_model_desc(void *model, void *buf, size_t buf_size)",
  llama_model_size: "uint64_t llama_model_size(void *model)",
  llama_model_n_params: "uint64_t llama_model_n_params(void *model)",
  llama_model_chat_template: "const char *llama_model_chat_template(void *model, const char *name)",
  llama_model_is_recurrent: "bool llama_model_is_recurrent(void *model)",
  llama_model_is_hybrid: "bool llama_model_is_hybrid(void *model)",

  llama_adapter_lora_init: "void *llama_adapter_lora_init(void *model, const char *path_lora)",
  llama_adapter_lora_free: "void llama_adapter_lora_free(void *adapter)",
  llama_set_adapters_lora:
    "int32_t llama_set_adapters_lora(void *ctx, void **adapters, size_t n_adapters, float *scales)",

  llama_init_from_model: "void *llama_init_from_model(void *model, llama_context_params params)",
  llama_free: "void llama_free(void *ctx)",
  llama_n_ctx: "uint32_t llama_n_ctx(void *ctx)",
  llama_n_ctx_seq: "uint32_t llama_n_ctx_seq(void *ctx)",
  llama_n_batch: "uint32_t llama_n_batch(void *ctx)",
  llama_n_ubatch: "uint32_t llama_n_ubatch(void *ctx)",
  llama_get_memory: "void *llama_get_memory(void *ctx)",
  llama_decode: "int32_t llama_decode(void *ctx, llama_batch batch)",
  // Result pointers that become keys and addresses in JavaScript: a number costs nothing, a bigint is an allocation.
  llama_get_logits: "uintptr_t llama_get_logits(void *ctx)",
  llama_get_logits_ith: "uintptr_t llama_get_logits_ith(void *ctx, int32_t i)",
  llama_get_embeddings_ith: "uintptr_t llama_get_embeddings_ith(void *ctx, int32_t i)",
  llama_set_n_threads: "void llama_set_n_threads(void *ctx, int32_t n_threads, int32_t n_threads_batch)",
  llama_perf_context: "llama_perf_context_data llama_perf_context(void *ctx)",
  llama_perf_context_reset: "void llama_perf_context_reset(void *ctx)",

  llama_memory_clear: "void llama_memory_clear(void *mem, bool data)",
  llama_memory_seq_rm: "bool llama_memory_seq_rm(void *mem, int32_t seq_id, int32_t p0, int32_t p1)",
  llama_memory_seq_cp:
    "void llama_memory_seq_cp(void *mem, int32_t seq_id_src, int32_t seq_id_dst, int32_t p0, int32_t p1)",
  llama_memory_seq_pos_min: "int32_t llama_memory_seq_pos_min(void *mem, int32_t seq_id)",
  llama_memory_seq_pos_max: "int32_t llama_memory_seq_pos_max(void *mem, int32_t seq_id)",

  llama_vocab_n_tokens: "int32_t llama_vocab_n_tokens(void *vocab)",
  llama_vocab_is_eog: "bool llama_vocab_is_eog(void *vocab, int32_t token)",
  llama_vocab_is_control: "bool llama_vocab_is_control(void *vocab, int32_t token)",
  llama_vocab_bos: "int32_t llama_vocab_bos(void *vocab)",
  llama_vocab_eos: "int32_t llama_vocab_eos(void *vocab)",
  llama_vocab_eot: "int32_t llama_vocab_eot(void *vocab)",
  llama_vocab_get_add_bos: "bool llama_vocab_get_add_bos(void *vocab)",
  llama_vocab_get_add_eos: "bool llama_vocab_get_add_eos(void *vocab)",
  llama_vocab_get_text: "const char *llama_vocab_get_text(void *vocab, int32_t token)",
  llama_vocab_get_suppress_tokens: "void *llama_vocab_get_suppress_tokens(void *vocab, void *n_suppress_tokens)",
  llama_tokenize:
    "int32_t llama_tokenize(void *vocab, void *text, int32_t text_len, void *tokens, int32_t n_tokens_max, bool add_special, bool parse_special)",
  llama_token_to_piece:
    "int32_t llama_token_to_piece(void *vocab, int32_t token, void *buf, int32_t length, int32_t lstrip, bool special)",

  llama_sampler_chain_init: "void *llama_sampler_chain_init(llama_sampler_chain_params params)",
  llama_sampler_chain_add: "void llama_sampler_chain_add(void *chain, void *smpl)",
  llama_sampler_init_greedy: "void *llama_sampler_init_greedy(void)",
  llama_sampler_init_dist: "void *llama_sampler_init_dist(uint32_t seed)",
  llama_sampler_init_top_k: "void *llama_sampler_init_top_k(int32_t k)",
  llama_sampler_init_top_p: "void *llama_sampler_init_top_p(float p, size_t min_keep)",
  llama_sampler_init_min_p: "void *llama_sampler_init_min_p(float p, size_t min_keep)",
  llama_sampler_init_typical: "void *llama_sampler_init_typical(float p, size_t min_keep)",
  llama_sampler_init_temp: "void *llama_sampler_init_temp(float t)",
  llama_sampler_init_penalties:
    "void *llama_sampler_init_penalties(int32_t n_vocab, int32_t penalty_last_n, float penalty_repeat, float penalty_freq, float penalty_present)",
  llama_sampler_init_dry:
    "void *llama_sampler_init_dry(void *vocab, float dry_multiplier, float dry_base, int32_t dry_allowed_length, int32_t dry_penalty_last_n, const char **seq_breakers, size_t num_breakers)",
  llama_sampler_init_logit_bias:
    "void *llama_sampler_init_logit_bias(int32_t n_vocab, int32_t n_logit_bias, llama_logit_bias *logit_bias)",
  llama_sampler_init_grammar:
    "void *llama_sampler_init_grammar(void *vocab, const char *grammar_str, const char *grammar_root)",
  llama_sampler_get_seed: "uint32_t llama_sampler_get_seed(void *smpl)",
  llama_sampler_sample: "int32_t llama_sampler_sample(void *smpl, void *ctx, int32_t idx)",
  llama_sampler_apply: "void llama_sampler_apply(void *smpl, void *cur_p)",
  llama_sampler_accept: "void llama_sampler_accept(void *smpl, int32_t token)",
  llama_sampler_reset: "void llama_sampler_reset(void *smpl)",
  llama_sampler_clone: "void *llama_sampler_clone(void *smpl)",
  llama_sampler_free: "void llama_sampler_free(void *smpl)",
};

export const GGML_BASE_PROTOTYPES: Record<keyof GgmlBaseFunctions, string> = {
  ggml_init: "void *ggml_init(ggml_init_params params)",
  ggml_free: "void ggml_free(void *ctx)",
  ggml_new_tensor_4d:
    "void *ggml_new_tensor_4d(void *ctx, int type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3)",
  ggml_view_tensor: "void *ggml_view_tensor(void *ctx, void *src)",
  ggml_neg: "void *ggml_neg(void *ctx, void *a)",
  ggml_set_name: "void *ggml_set_name(void *tensor, const char *name)",
  ggml_get_data: "void *ggml_get_data(void *tensor)",
  ggml_op_name: "const char *ggml_op_name(int op)",
  ggml_tensor_overhead: "size_t ggml_tensor_overhead(void)",
  ggml_get_type_traits: "void *ggml_get_type_traits(int type)",
  ggml_row_size: "size_t ggml_row_size(int type, int64_t ne)",
  ggml_quantize_requires_imatrix: "bool ggml_quantize_requires_imatrix(int type)",
  ggml_quantize_chunk:
    "size_t ggml_quantize_chunk(int type, void *src, void *dst, int64_t start, int64_t nrows, int64_t n_per_row, void *imatrix)",
};

export const GGML_PROTOTYPES: Record<keyof GgmlFunctions, string> = {
  ggml_backend_load_all_from_path: "void ggml_backend_load_all_from_path(const char *dir_path)",
};

/** Looks every prototype of `prototypes` up in `library`; throws koffi's error for a symbol that is not there. */
export function bind<T>(library: LibraryHandle, prototypes: Record<keyof T & string, string>): T {
  const bound: Record<string, unknown> = {};
  for (const [name, prototype] of Object.entries<string>(prototypes)) bound[name] = library.func(prototype);
  return bound as T;
}
