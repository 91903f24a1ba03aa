/**
 * Small ggml graphs that are built, computed and thrown away: the products of router training, forward and backward.
 * Inputs and results lie at addresses that the caller owns; what is in between, ggml's graph allocator places and
 * reuses. Only operations whose CPU kernels take float32 are here, none that would end the process on a type.
 */
import type { Libraries } from "./libraries.ts";
import type { NativeWords } from "./native-words.ts";
import { GgmlType, type NativePointer, TENSOR_OFFSET } from "./structs.ts";

/** A node of a graph that is being built; dead once `TensorMath.compute` has returned. */
export type Tensor = NativePointer;

/** How queries and keys are turned by their position; the fields are ggml_rope_ext's. */
export interface Rope {
  readonly dimensions: number;
  /** 0: neighbouring values are pairs (llama); 2: the first half with the second (neox). */
  readonly mode: 0 | 2;
  readonly base: number;
  /** 1 / the metadata's linear scaling factor. */
  readonly scale: number;
}

export interface GraphFunctions {
  ggml_mul_mat(context: Tensor, a: Tensor, b: Tensor): Tensor;
  ggml_out_prod(context: Tensor, a: Tensor, b: Tensor): Tensor;
  ggml_add(context: Tensor, a: Tensor, b: Tensor): Tensor;
  ggml_sub(context: Tensor, a: Tensor, b: Tensor): Tensor;
  ggml_mul(context: Tensor, a: Tensor, b: Tensor): Tensor;
  ggml_scale(context: Tensor, a: Tensor, factor: number): Tensor;
  ggml_sum_rows(context: Tensor, a: Tensor): Tensor;
  ggml_swiglu_split(context: Tensor, gate: Tensor, up: Tensor): Tensor;
  ggml_silu(context: Tensor, a: Tensor): Tensor;
  ggml_silu_back(context: Tensor, gradient: Tensor, a: Tensor): Tensor;
  ggml_rms_norm(context: Tensor, a: Tensor, epsilon: number): Tensor;
  ggml_rms_norm_back(context: Tensor, gradient: Tensor, a: Tensor, epsilon: number): Tensor;
  ggml_soft_max_ext(context: Tensor, a: Tensor, mask: Tensor | null, scale: number, maxBias: number): Tensor;
  ggml_soft_max_ext_back(context: Tensor, gradient: Tensor, y: Tensor, scale: number, maxBias: number): Tensor;
  ggml_rope_ext(context: Tensor, a: Tensor, positions: Tensor, factors: Tensor | null, ...rope: RopeArguments): Tensor;
  ggml_rope_ext_back(
    context: Tensor,
    gradient: Tensor,
    positions: Tensor,
    factors: Tensor | null,
    ...rope: RopeArguments
  ): Tensor;
  ggml_get_rows(context: Tensor, a: Tensor, rows: Tensor): Tensor;
  ggml_cast(context: Tensor, a: Tensor, type: number): Tensor;
  ggml_cont(context: Tensor, a: Tensor): Tensor;
  ggml_transpose(context: Tensor, a: Tensor): Tensor;
  ggml_permute(context: Tensor, a: Tensor, to0: number, to1: number, to2: number, to3: number): Tensor;
  ggml_reshape_4d(context: Tensor, a: Tensor, ne0: number, ne1: number, ne2: number, ne3: number): Tensor;
  ggml_new_graph_custom(context: Tensor, size: number, gradients: boolean): NativePointer;
  ggml_graph_overhead_custom(size: number, gradients: boolean): number;
  ggml_build_forward_expand(graph: NativePointer, tensor: Tensor): void;
  ggml_backend_graph_compute(backend: NativePointer, graph: NativePointer): number;
  ggml_backend_free(backend: NativePointer): void;
  ggml_backend_cpu_buffer_type(): NativePointer;
  ggml_backend_dev_backend_reg(device: NativePointer): NativePointer;
  ggml_backend_reg_get_proc_address(registry: NativePointer, name: string): NativePointer;
  ggml_gallocr_new(bufferType: NativePointer): NativePointer;
  ggml_gallocr_alloc_graph(allocator: NativePointer, graph: NativePointer): boolean;
  ggml_gallocr_get_buffer_size(allocator: NativePointer, buffer: number): number;
  ggml_gallocr_free(allocator: NativePointer): void;
}

type RopeArguments = [
  dimensions: number,
  mode: number,
  originalContext: number,
  base: number,
  scale: number,
  extrapolation: number,
  attention: number,
  betaFast: number,
  betaSlow: number,
];

const ROPE =
  "void *ctx, void *a, void *b, void *c, int n_dims, int mode, int n_ctx_orig, float freq_base, float freq_scale, " +
  "float ext_factor, float attn_factor, float beta_fast, float beta_slow";

/** Exported for the test that compares them with the shipped header. */
export const GRAPH_PROTOTYPES: Record<keyof GraphFunctions, string> = {
  ggml_mul_mat: "void *ggml_mul_mat(void *ctx, void *a, void *b)",
  ggml_out_prod: "void *ggml_out_prod(void *ctx, void *a, void *b)",
  ggml_add: "void *ggml_add(void *ctx, void *a, void *b)",
  ggml_sub: "void *ggml_sub(void *ctx, void *a, void *b)",
  ggml_mul: "void *ggml_mul(void *ctx, void *a, void *b)",
  ggml_scale: "void *ggml_scale(void *ctx, void *a, float s)",
  ggml_sum_rows: "void *ggml_sum_rows(void *ctx, void *a)",
  ggml_swiglu_split: "void *ggml_swiglu_split(void *ctx, void *a, void *b)",
  ggml_silu: "void *ggml_silu(void *ctx, void *a)",
  ggml_silu_back: "void *ggml_silu_back(void *ctx, void *a, void *b)",
  ggml_rms_norm: "void *ggml_rms_norm(void *ctx, void *a, float eps)",
  ggml_rms_norm_back: "void *ggml_rms_norm_back(void *ctx, void *a, void *b, float eps)",
  ggml_soft_max_ext: "void *ggml_soft_max_ext(void *ctx, void *a, void *mask, float scale, float max_bias)",
  ggml_soft_max_ext_back: "void *ggml_soft_max_ext_back(void *ctx, void *a, void *b, float scale, float max_bias)",
  ggml_rope_ext: `void *ggml_rope_ext(${ROPE})`,
  ggml_rope_ext_back: `void *ggml_rope_ext_back(${ROPE})`,
  ggml_get_rows: "void *ggml_get_rows(void *ctx, void *a, void *b)",
  ggml_cast: "void *ggml_cast(void *ctx, void *a, int type)",
  ggml_cont: "void *ggml_cont(void *ctx, void *a)",
  ggml_transpose: "void *ggml_transpose(void *ctx, void *a)",
  ggml_permute: "void *ggml_permute(void *ctx, void *a, int axis0, int axis1, int axis2, int axis3)",
  ggml_reshape_4d: "void *ggml_reshape_4d(void *ctx, void *a, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3)",
  ggml_new_graph_custom: "void *ggml_new_graph_custom(void *ctx, size_t size, bool grads)",
  ggml_graph_overhead_custom: "size_t ggml_graph_overhead_custom(size_t size, bool grads)",
  ggml_build_forward_expand: "void ggml_build_forward_expand(void *cgraph, void *tensor)",
  ggml_backend_graph_compute: "int ggml_backend_graph_compute(void *backend, void *cgraph)",
  ggml_backend_free: "void ggml_backend_free(void *backend)",
  ggml_backend_cpu_buffer_type: "void *ggml_backend_cpu_buffer_type(void)",
  ggml_backend_dev_backend_reg: "void *ggml_backend_dev_backend_reg(void *device)",
  ggml_backend_reg_get_proc_address: "void *ggml_backend_reg_get_proc_address(void *reg, const char *name)",
  ggml_gallocr_new: "void *ggml_gallocr_new(void *buft)",
  ggml_gallocr_alloc_graph: "bool ggml_gallocr_alloc_graph(void *galloc, void *graph)",
  ggml_gallocr_get_buffer_size: "size_t ggml_gallocr_get_buffer_size(void *galloc, int buffer_id)",
  ggml_gallocr_free: "void ggml_gallocr_free(void *galloc)",
};

/** Adds nodes to one graph. Shapes are ggml's: the length of a row first. */
export class TensorGraph {
  readonly #f: GraphFunctions;
  readonly #libraries: Libraries;
  readonly #context: NativePointer;
  readonly #graph: NativePointer;
  readonly #words: NativeWords;

  /** Use `TensorMath.compute`. */
  constructor(
    functions: GraphFunctions,
    libraries: Libraries,
    context: NativePointer,
    graph: NativePointer,
    words: NativeWords,
  ) {
    this.#f = functions;
    this.#libraries = libraries;
    this.#context = context;
    this.#graph = graph;
    this.#words = words;
  }

  /** Values at `address`, which must stay there until the graph is computed. @default type F32 */
  input(address: number, shape: readonly number[], type: GgmlType = GgmlType.F32): Tensor {
    const [ne0, ne1 = 1, ne2 = 1, ne3 = 1] = shape;
    const tensor = this.#libraries.ggmlBase.ggml_new_tensor_4d(this.#context, type, ne0, ne1, ne2, ne3);
    this.#place(tensor, address);
    return tensor;
  }

  /** 32-bit integers at `address`: positions, or indices of rows. */
  integers(address: number, count: number): Tensor {
    return this.input(address, [count], GgmlType.I32);
  }

  /** Asks for a node's values at `address`. Call it before the node is used by another; not for views. */
  into(address: number, tensor: Tensor): Tensor {
    this.#place(tensor, address);
    this.#f.ggml_build_forward_expand(this.#graph, tensor);
    return tensor;
  }

  /** `[inner, m] x [inner, n] -> [m, n]`; the last two dimensions of `a` are repeated where `b` has more. */
  product(a: Tensor, b: Tensor): Tensor {
    return this.#f.ggml_mul_mat(this.#context, a, b);
  }

  /** `[m, inner] x [n, inner] -> [m, n]`. */
  outerProduct(a: Tensor, b: Tensor): Tensor {
    return this.#f.ggml_out_prod(this.#context, a, b);
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.#f.ggml_add(this.#context, a, b);
  }

  subtract(a: Tensor, b: Tensor): Tensor {
    return this.#f.ggml_sub(this.#context, a, b);
  }

  scaled(a: Tensor, factor: number): Tensor {
    return this.#f.ggml_scale(this.#context, a, factor);
  }

  /** Element by element; `b` is repeated where it is smaller. */
  multiply(a: Tensor, b: Tensor): Tensor {
    return this.#f.ggml_mul(this.#context, a, b);
  }

  /** `[n, m] -> [1, m]` */
  sumRows(a: Tensor): Tensor {
    return this.#f.ggml_sum_rows(this.#context, a);
  }

  silu(a: Tensor): Tensor {
    return this.#f.ggml_silu(this.#context, a);
  }

  /** silu(gate) * up */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    return this.#f.ggml_swiglu_split(this.#context, gate, up);
  }

  siluGradient(gradient: Tensor, input: Tensor): Tensor {
    return this.#f.ggml_silu_back(this.#context, gradient, input);
  }

  rmsNorm(a: Tensor, epsilon: number): Tensor {
    return this.#f.ggml_rms_norm(this.#context, a, epsilon);
  }

  rmsNormGradient(gradient: Tensor, input: Tensor, epsilon: number): Tensor {
    return this.#f.ggml_rms_norm_back(this.#context, gradient, input, epsilon);
  }

  /** softmax(a * scale + mask) along rows; `mask` is shared by the last two dimensions. */
  softmax(a: Tensor, options: { readonly scale?: number; readonly mask?: Tensor } = {}): Tensor {
    return this.#f.ggml_soft_max_ext(this.#context, a, options.mask ?? null, options.scale ?? 1, 0);
  }

  /** @param output the softmax's result */
  softmaxGradient(gradient: Tensor, output: Tensor, scale = 1): Tensor {
    return this.#f.ggml_soft_max_ext_back(this.#context, gradient, output, scale, 0);
  }

  /** Turns `[headSize, heads, tokens]`. */
  rope(a: Tensor, positions: Tensor, factors: Tensor | undefined, rope: Rope): Tensor {
    return this.#f.ggml_rope_ext(this.#context, a, positions, factors ?? null, ...ropeArguments(rope));
  }

  ropeGradient(gradient: Tensor, positions: Tensor, factors: Tensor | undefined, rope: Rope): Tensor {
    return this.#f.ggml_rope_ext_back(this.#context, gradient, positions, factors ?? null, ...ropeArguments(rope));
  }

  /** Rows of a float32 matrix by index. */
  rows(a: Tensor, indices: Tensor): Tensor {
    return this.#f.ggml_get_rows(this.#context, a, indices);
  }

  toFloat32(a: Tensor): Tensor {
    return this.#f.ggml_cast(this.#context, a, GgmlType.F32);
  }

  /** A copy with rows and columns exchanged, without gaps. */
  transposed(a: Tensor): Tensor {
    return this.#f.ggml_cont(this.#context, this.#f.ggml_transpose(this.#context, a));
  }

  /** A copy without gaps whose dimension `i` is dimension `order.indexOf(i)` of `a`, as in ggml_permute. */
  permuted(a: Tensor, order: readonly [number, number, number, number]): Tensor {
    return this.#f.ggml_cont(this.#context, this.#f.ggml_permute(this.#context, a, ...order));
  }

  reshaped(a: Tensor, shape: readonly number[]): Tensor {
    const [ne0, ne1 = 1, ne2 = 1, ne3 = 1] = shape;
    return this.#f.ggml_reshape_4d(this.#context, a, ne0, ne1, ne2, ne3);
  }

  #place(tensor: Tensor, address: number): void {
    this.#words.setU64(Number(tensor) + TENSOR_OFFSET.data, address);
  }
}

function ropeArguments({ dimensions, mode, base, scale }: Rope): RopeArguments {
  // No YaRN (extrapolation 0), so the original context and both betas have no effect (ggml-cpu/ops.cpp, rope_yarn).
  return [dimensions, mode, 0, base, scale, 0, 1, 32, 1];
}
