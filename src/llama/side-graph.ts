/**
 * A ggml CPU back end of our own, on one thread, for small work beside llama.cpp's graph: the next layer's router on
 * this layer's input, the softmax of logits. Tensors are views of memory that somebody else owns; nothing is copied. It
 * exists because in JavaScript both take ten times what ggml's kernels need.
 */
import koffi from "koffi";
import type { Libraries } from "./libraries.ts";
import { NativeWords } from "./native-words.ts";
import { GgmlType, type NativePointer, TENSOR_OFFSET } from "./structs.ts";

interface SideFunctions {
  ggml_mul_mat(context: NativePointer, a: NativePointer, b: NativePointer): NativePointer;
  ggml_mul(context: NativePointer, a: NativePointer, b: NativePointer): NativePointer;
  ggml_soft_max(context: NativePointer, a: NativePointer): NativePointer;
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
  ggml_soft_max: "void *ggml_soft_max(void *ctx, void *a)",
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

/** A graph with one input, ready to run once that has an address. */
export interface SideProgram {
  /** Computes on the floats at `inputAddress`. False when ggml failed. */
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
   * The product `weights^T . (input * ratio)`; its input is `[hidden, tokens]`.
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
  }): SideProgram {
    const f = this.#functions;
    const context = this.#context();
    const input = this.#leaf(context, options.hidden, options.tokens, 0);
    const weights = this.#leaf(context, options.hidden, options.experts, options.weights);
    let scaled = input;
    if (options.ratio !== 0) {
      scaled = f.ggml_mul(context, input, this.#leaf(context, options.hidden, 1, options.ratio));
      this.#place(scaled, options.scratch);
    }
    const scores = f.ggml_mul_mat(context, weights, scaled);
    return this.#program(context, input, scores, options.output);
  }

  /** The softmax of each row; input and output, at the address `output`, are `[columns, rows]`. */
  rowSoftmax(options: { readonly columns: number; readonly rows: number; readonly output: number }): SideProgram {
    const context = this.#context();
    const input = this.#leaf(context, options.columns, options.rows, 0);
    return this.#program(context, input, this.#functions.ggml_soft_max(context, input), options.output);
  }

  dispose(): void {
    this.#functions.ggml_backend_free(this.#backend);
  }

  #context(): NativePointer {
    const { ggmlBase } = this.#libraries;
    const memory =
      ggmlBase.ggml_tensor_overhead() * GRAPH_TENSORS +
      this.#functions.ggml_graph_overhead_custom(GRAPH_NODES, false) +
      1024;
    return ggmlBase.ggml_init({ mem_size: memory, mem_buffer: null, no_alloc: true }) as NativePointer;
  }

  #leaf(context: NativePointer, ne0: number, ne1: number, address: number): NativePointer {
    const tensor = this.#libraries.ggmlBase.ggml_new_tensor_4d(context, GgmlType.F32, ne0, ne1, 1, 1);
    this.#place(tensor, address);
    return tensor;
  }

  #program(context: NativePointer, input: NativePointer, result: NativePointer, output: number): SideProgram {
    this.#place(result, output);
    const graph = this.#functions.ggml_new_graph_custom(context, GRAPH_NODES, false);
    this.#functions.ggml_build_forward_expand(graph, result);
    const inputData = Number(input) + TENSOR_OFFSET.data;
    return {
      run: (inputAddress) => {
        this.#words.setU64(inputData, inputAddress);
        return this.#functions.ggml_backend_graph_compute(this.#backend, graph) === 0;
      },
      free: () => this.#libraries.ggmlBase.ggml_free(context),
    };
  }

  #place(tensor: NativePointer, address: number): void {
    this.#words.setU64(Number(tensor) + TENSOR_OFFSET.data, address);
  }
}

const SET_THREADS = koffi.proto("void WarmsetSetThreads(void *backend, int n_threads)");
