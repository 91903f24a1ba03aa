/**
 * The shipped libggml-base as a second opinion in tests: what llama.cpp itself makes of a GGUF file, and its table of
 * tensor types. Only for tests; the product's own bindings are in `llama/`.
 */
import { fileURLToPath } from "node:url";
import koffi from "koffi";

const PACKAGE = "@node-llama-cpp/linux-x64";

/** undefined where the library's package is not installed (other platforms). */
export const libggml = process.platform === "linux" && process.arch === "x64" ? loadLibrary() : undefined;

export interface NativeTensor {
  readonly name: string;
  readonly type: number;
  /** Absolute offset in the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface NativeGguf {
  readonly dataOffset: number;
  readonly alignment: number;
  readonly version: number;
  readonly keys: readonly string[];
  readonly tensors: readonly NativeTensor[];
}

function loadLibrary() {
  const bins = fileURLToPath(new URL("../bins/linux-x64/", import.meta.resolve(PACKAGE)));
  const lib = koffi.load(`${bins}libggml-base.so`);
  const params = koffi.struct({ no_alloc: "bool", ctx: "void*" });
  const fn = {
    typeName: lib.func("const char* ggml_type_name(int type)"),
    typeSize: lib.func("size_t ggml_type_size(int type)"),
    blockSize: lib.func("int64_t ggml_blck_size(int type)"),
    open: lib.func("gguf_init_from_file", "void*", ["str", params]),
    free: lib.func("void gguf_free(void* gguf)"),
    version: lib.func("uint32_t gguf_get_version(void* gguf)"),
    alignment: lib.func("size_t gguf_get_alignment(void* gguf)"),
    dataOffset: lib.func("size_t gguf_get_data_offset(void* gguf)"),
    keyCount: lib.func("int64_t gguf_get_n_kv(void* gguf)"),
    key: lib.func("const char* gguf_get_key(void* gguf, int64_t id)"),
    tensorCount: lib.func("int64_t gguf_get_n_tensors(void* gguf)"),
    tensorName: lib.func("const char* gguf_get_tensor_name(void* gguf, int64_t id)"),
    tensorType: lib.func("int gguf_get_tensor_type(void* gguf, int64_t id)"),
    tensorOffset: lib.func("size_t gguf_get_tensor_offset(void* gguf, int64_t id)"),
    tensorSize: lib.func("size_t gguf_get_tensor_size(void* gguf, int64_t id)"),
    setLog: lib.func("void ggml_log_set(void* callback, void* user)"),
  };
  const silent = koffi.register(() => {}, koffi.pointer(koffi.proto("void (int level, const char* text, void* user)")));
  fn.setLog(silent, null);
  const range = (n: number | bigint) => Array.from({ length: Number(n) }, (_, i) => i);

  return {
    type: (type: number) => ({
      name: fn.typeName(type) as string,
      blockBytes: Number(fn.typeSize(type)),
      blockElements: Number(fn.blockSize(type)),
    }),
    /** undefined if the library refuses the file. */
    read(path: string): NativeGguf | undefined {
      const gguf = fn.open(path, { no_alloc: true, ctx: null });
      if (gguf === null) return undefined;
      const dataOffset = Number(fn.dataOffset(gguf));
      const answer: NativeGguf = {
        dataOffset,
        alignment: Number(fn.alignment(gguf)),
        version: fn.version(gguf),
        keys: range(fn.keyCount(gguf)).map((id) => fn.key(gguf, id) as string),
        tensors: range(fn.tensorCount(gguf)).map((id) => ({
          name: fn.tensorName(gguf, id) as string,
          type: fn.tensorType(gguf, id),
          offset: dataOffset + Number(fn.tensorOffset(gguf, id)),
          bytes: Number(fn.tensorSize(gguf, id)),
        })),
      };
      fn.free(gguf);
      return answer;
    },
  };
}
