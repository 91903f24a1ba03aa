/**
 * Stock llama.cpp and nothing else: the libraries of the npm package `@node-llama-cpp/<platform>` through koffi, with llama.cpp's
 * own defaults. It loads a model, perhaps an adapter, computes texts, and writes down which experts the graph chose and the
 * logits of every token. Plain JavaScript that imports no file of this repository: that is the point of it.
 *
 * A message on stdin: {model, adapter, scale, texts, logitsFile}, adapter null for none. On stdout {experts}: by text and block
 * the chosen ids, [token][rank]; in the file the logits, float32 [tokens of all texts][vocabulary].
 */
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi from "koffi";

const platform = `${process.platform}-${process.arch}`;
const entry = createRequire(import.meta.url).resolve(`@node-llama-cpp/${platform}`);
const folder = join(dirname(entry), "..", "bins", platform);
const library = (stem) => {
  const file = readdirSync(folder).find((name) => name === `${stem}.so` || name.startsWith(`${stem}.v`));
  return koffi.load(join(folder, file), { global: true });
};
const ggmlBase = library("libggml-base");
const ggml = library("libggml");
const llama = library("libllama");

// include/llama.h and ggml/include/ggml.h of v0.5.0.
koffi.proto("bool eval_callback(void *tensor, bool ask, void *data)");
koffi.proto("void log_callback(int level, const char *text, void *data)");
koffi.struct("model_params", {
  ...{ devices: "void *", overrides: "void *", n_gpu_layers: "int", split_mode: "int", load_mode: "int" },
  ...{ lazy_mode: "int", main_gpu: "int", tensor_split: "void *", progress: "void *", progress_data: "void *" },
  ...{ kv_overrides: "void *", flags: koffi.array("bool", 6) },
});
koffi.struct("context_params", {
  ...{ n_ctx: "uint32_t", n_batch: "uint32_t", n_ubatch: "uint32_t", counts: koffi.array("uint32_t", 4) },
  ...{ n_threads: "int32_t", n_threads_batch: "int32_t", kinds: koffi.array("int", 5), ropes: koffi.array("float", 6) },
  ...{ yarn_orig_ctx: "uint32_t", defrag_thold: "float", cb_eval: "eval_callback *", cb_eval_user_data: "void *" },
  ...{ type_k: "int", type_v: "int", abort: "void *", abort_data: "void *", flags: koffi.array("bool", 6) },
  ...{ samplers: "void *", n_samplers: "size_t", ctx_other: "void *" },
});
koffi.struct("batch", {
  ...{ n_tokens: "int32_t", token: "int32_t *", embd: "void *", pos: "void *", n_seq_id: "void *", seq_id: "void *" },
  logits: "int8_t *",
});
/** The beginning of ggml_tensor: element counts and strides in bytes. */
koffi.struct("tensor_start", {
  ...{ type: "int", buffer: "void *", ne: koffi.array("int64_t", 4), nb: koffi.array("size_t", 4) },
});

const tensorName = ggmlBase.func("const char *ggml_get_name(void *tensor)");
const tensorBytes = ggmlBase.func("size_t ggml_nbytes(void *tensor)");
const readTensor = ggmlBase.func(
  "void ggml_backend_tensor_get(void *tensor, _Out_ uint8_t *data, size_t offset, size_t size)",
);
const GGML_LOG_LEVEL_ERROR = 4;
const log = koffi.register(
  (level, text) => level === GGML_LOG_LEVEL_ERROR && process.stderr.write(text),
  "log_callback *",
);
llama.func("void llama_log_set(log_callback *log, void *data)")(log, null);
ggml.func("void ggml_backend_load_all_from_path(const char *folder)")(folder);
llama.func("void llama_backend_init(void)")();

const { model: modelPath, adapter: adapterPath, scale, texts, logitsFile } = JSON.parse(readFileSync(0, "utf8"));
const must = (value, what) => {
  if (value === null) throw new Error(`llama.cpp: no ${what}`);
  return value;
};
const model = must(
  llama.func("void *llama_model_load_from_file(const char *path, model_params params)")(
    modelPath,
    llama.func("model_params llama_model_default_params(void)")(),
  ),
  "model",
);
const adapter =
  adapterPath === null
    ? null
    : must(llama.func("void *llama_adapter_lora_init(void *model, const char *path)")(model, adapterPath), "adapter");

let chosen;
const seen = (tensor, ask) => {
  const [, block] = /^ffn_moe_topk-(\d+)$/.exec(tensorName(tensor)) ?? [];
  if (ask || block === undefined) return block !== undefined;
  const { ne, nb } = koffi.decode(tensor, "tensor_start");
  const bytes = new Uint8Array(Number(tensorBytes(tensor)));
  readTensor(tensor, bytes, 0, bytes.length);
  const view = new DataView(bytes.buffer);
  const ranks = Array.from({ length: Number(ne[0]) }, (_, rank) => 4 * rank);
  chosen[block] = Array.from({ length: Number(ne[1]) }, (_, token) =>
    ranks.map((at) => view.getInt32(token * Number(nb[1]) + at, true)),
  );
  return true;
};
const longest = Math.max(...texts.map(({ length }) => length));
const context = must(
  llama.func("void *llama_init_from_model(void *model, context_params params)")(model, {
    ...llama.func("context_params llama_context_default_params(void)")(),
    ...{ n_ctx: longest, n_batch: longest, n_ubatch: longest, n_threads: 1, n_threads_batch: 1 },
    cb_eval: koffi.register(seen, "eval_callback *"),
  }),
  "context",
);
if (adapter !== null)
  llama.func("int llama_set_adapters_lora(void *context, void **adapters, size_t count, float *scales)")(
    ...[context, [adapter], 1, Float32Array.of(scale)],
  );

const memory = llama.func("void *llama_get_memory(void *context)")(context);
const clear = llama.func("void llama_memory_clear(void *memory, bool data)");
const decode = llama.func("int llama_decode(void *context, batch batch)");
const logitsOf = llama.func("void *llama_get_logits(void *context)");
const vocabulary = llama.func("int llama_vocab_n_tokens(void *vocabulary)")(
  llama.func("void *llama_model_get_vocab(void *model)")(model),
);
const file = openSync(logitsFile, "w");
const experts = texts.map((tokens) => {
  clear(memory, true);
  chosen = {};
  const none = { embd: null, pos: null, n_seq_id: null, seq_id: null };
  const batch = { n_tokens: tokens.length, token: Int32Array.from(tokens), ...none };
  const status = decode(context, { ...batch, logits: new Int8Array(tokens.length).fill(1) });
  if (status !== 0) throw new Error(`llama_decode: ${status}`);
  writeSync(file, koffi.decode(logitsOf(context), koffi.array("float", tokens.length * vocabulary)));
  return chosen;
});
closeSync(file);
process.stdout.write(JSON.stringify({ experts }), () => process.exit(0));
