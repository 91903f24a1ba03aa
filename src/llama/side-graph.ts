/**
 * A ggml CPU back end of our own, on one thread, for small products beside llama.cpp's graph (the next layer's router
 * on this layer's input). Tensors are views of memory that somebody else owns; nothing is copied. It exists because a
 * router product in JavaScript costs 0.1 to 0.3 ms, ten times what ggml's kernels need.
 */
import koffi from "koffi";
import type { Libraries } from "./libraries.ts";
import { NativeWords } from "./native-words.ts";
import { GgmlType, type NativePointer, TENSOR_OFFSET } from "./structs.ts";

interface SideFunctions {
  ggml_mul_mat(context: NativePointer, a: NativePointer, b: NativePointer): NativePointer;
  ggml_mul(context: NativePointer, a: NativePointer, b: NativePointer): NativePointer;
  ggml_new_graph_custom(context: NativePointer, size: number, grads: boolean): NativePointer;
  ggml_graph_overhead_custom(size: number, grads: boolean): number;
  ggml_build_forward_expand(graph: NativePointer, tensor: NativePointer): void;
  ggml_backend_graph_compute(backend: NativePointer, graph: NativePointer): number;
  ggml_backend_free(backend: NativePointer): void;
  ggml_backend_dev_backend_reg(device: NativePointer): NativePointer;
  ggml_backend_reg_get_proc_address(registry: NativePointer, name: string): NativePointer | null;
}

const PROTOTYPES: Record<keyof SideFunctions, string> = {
  ggml_mul_mat: "void *ggml_mul_mat(void *ctx, void *a, void *b)",
  ggml_mul: "void *ggml_mul(void *ctx, void *a, void *b)",
  ggml_new_graph_custom: "void *ggml_new_graph_custom(void *ctx, size_t size, bool grads)",
  ggml_graph_overhead_custom: "size_t ggml_graph_overhead_custom(size_t size, bool grads)",
  ggml_build_forward_expand: "void ggml_build_forward_expand(void *cgraph, void *tensor)",
  ggml_backend_graph_compute: "int ggml_backend_graph_compute(void *backend, void *cgraph)",
  ggml_backend_free: "void ggml_backend_free(void *backend)",
  ggml_backend_dev_backend_reg: "void *ggml_backend_dev_backend_reg(void *device)",
  ggml_backend_reg_get_proc_address: "void *ggml_backend_reg_get_proc_address(void *reg, const char *name)",
};

/** enum ggml_backend_dev_type */
const DEVICE_CPU = 0;
const GRAPH_NODES = 8;
const GRAPH_TENSORS = 8;

/** The graph `weights^T . (input * ratio)`, ready to run once its input address is set. */
export interface RouterProduct {
  /** Computes; `inputAddress` is `[hidden, tokens]` floats. False when ggml failed. */
  run(inputAddress: number): boolean;
  free(): void;
}

export class SideGraph {
  readonly #functions: SideFunctions;
  readonly #libraries: Libraries;
  readonly #backend: NativePointer;
  readonly #words = new NativeWords();

  constructor(libraries: Libraries) {
    this.#libraries = libraries;
    const base = koffi.load(libraries.paths.ggmlBase);
    const ggml = koffi.load(libraries.paths.ggml);
    const bound: Record<string, unknown> = {};
    for (const [name, prototype] of Object.entries(PROTOTYPES)) bound[name] = base.func(prototype);
    this.#functions = bound as unknown as SideFunctions;
    const deviceByType = ggml.func("void *ggml_backend_dev_by_type(int type)");
    const initByType = ggml.func("void *ggml_backend_init_by_type(int type, const char *params)");
    const device = deviceByType(DEVICE_CPU) as NativePointer;
    this.#backend = initByType(DEVICE_CPU, null) as NativePointer;
    // One thread: a product of a few hundred kB is done before a second thread has woken up.
    const registry = this.#functions.ggml_backend_dev_backend_reg(device);
    const setThreads = this.#functions.ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads");
    if (setThreads !== null) koffi.call(setThreads, SET_THREADS, this.#backend, 1);
  }

  /**
   * @param weights address of F32 router weights, `[hidden, experts]`
   * @param ratio address of F32 `[hidden]` to multiply the input with, 0 for none
   * @param output address of F32 `[experts, tokens]`
   */
  routerProduct(options: {
    readonly hidden: number;
    readonly experts: number;
    readonly tokens: number;
    readonly weights: number;
    readonly ratio: number;
    readonly output: number;
    readonly scratch: number;
  }): RouterProduct {
    const { ggmlBase } = this.#libraries;
    const f = this.#functions;
    const memory =
      ggmlBase.ggml_tensor_overhead() * GRAPH_TENSORS + f.ggml_graph_overhead_custom(GRAPH_NODES, false) + 1024;
    const context = ggmlBase.ggml_init({ mem_size: memory, mem_buffer: null, no_alloc: true }) as NativePointer;
    const leaf = (ne0: number, ne1: number, address: number): NativePointer => {
      const tensor = ggmlBase.ggml_new_tensor_4d(context, GgmlType.F32, ne0, ne1, 1, 1);
      this.#place(tensor, address);
      return tensor;
    };
    const input = leaf(options.hidden, options.tokens, 0);
    const weights = leaf(options.hidden, options.experts, options.weights);
    let scaled = input;
    if (options.ratio !== 0) {
      scaled = f.ggml_mul(context, input, leaf(options.hidden, 1, options.ratio));
      this.#place(scaled, options.scratch);
    }
    const scores = f.ggml_mul_mat(context, weights, scaled);
    this.#place(scores, options.output);
    const graph = f.ggml_new_graph_custom(context, GRAPH_NODES, false);
    f.ggml_build_forward_expand(graph, scores);
    const inputData = Number(input) + TENSOR_OFFSET.data;
    return {
      run: (inputAddress) => {
        this.#words.setU64(inputData, inputAddress);
        return f.ggml_backend_graph_compute(this.#backend, graph) === 0;
      },
      free: () => ggmlBase.ggml_free(context),
    };
  }

  dispose(): void {
    this.#functions.ggml_backend_free(this.#backend);
  }

  #place(tensor: NativePointer, address: number): void {
    this.#words.setU64(Number(tensor) + TENSOR_OFFSET.data, address);
  }
}

const SET_THREADS = koffi.proto("void WarmsetSetThreads(void *backend, int n_threads)");
