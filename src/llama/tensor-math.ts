/**
 * A ggml CPU back end that computes graphs of `tensor-graph.ts` on threads of its own, with one memory for all their
 * intermediate results. It keeps no tensors and knows nothing of what the graphs mean.
 */
import koffi from "koffi";
import type { Libraries } from "./libraries.ts";
import { NativeWords } from "./native-words.ts";
import type { NativePointer } from "./structs.ts";
import { GRAPH_PROTOTYPES, type GraphFunctions, TensorGraph } from "./tensor-graph.ts";

/** enum ggml_backend_dev_type */
const DEVICE_CPU = 0;
/** A graph is expected to stay below this; each node costs some 400 bytes while the graph lives. */
const GRAPH_NODES = 2048;

/** ggml could not compute a graph, or had no memory for it. */
export class TensorGraphError extends Error {
  override readonly name = "TensorGraphError";

  constructor(what: string) {
    super(`${what}. Try again with fewer tokens per step.`);
  }
}

/** A CPU back end with threads of its own. */
export class TensorMath implements Disposable {
  readonly #functions: GraphFunctions;
  readonly #libraries: Libraries;
  readonly #backend: NativePointer;
  readonly #allocator: NativePointer;
  readonly #words = new NativeWords();

  constructor(libraries: Libraries, options: { readonly threads: number }) {
    this.#libraries = libraries;
    const base = koffi.load(libraries.paths.ggmlBase);
    const ggml = koffi.load(libraries.paths.ggml);
    const bound: Record<string, unknown> = {};
    for (const [name, prototype] of Object.entries(GRAPH_PROTOTYPES)) bound[name] = base.func(prototype);
    this.#functions = bound as unknown as GraphFunctions;
    const f = this.#functions;
    const device: NativePointer = ggml.func("void *ggml_backend_dev_by_type(int type)")(DEVICE_CPU);
    this.#backend = ggml.func("void *ggml_backend_init_by_type(int type, const char *params)")(DEVICE_CPU, null);
    const registry = f.ggml_backend_dev_backend_reg(device);
    const setThreads = f.ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads");
    koffi.call(setThreads, SET_THREADS, this.#backend, options.threads);
    this.#allocator = f.ggml_gallocr_new(f.ggml_backend_cpu_buffer_type());
  }

  /** Most bytes that results between nodes have needed so far. */
  get scratchBytes(): number {
    return Number(this.#functions.ggml_gallocr_get_buffer_size(this.#allocator, 0));
  }

  /**
   * Computes the nodes that `build` asks for with `into`.
   * @throws TensorGraphError
   */
  compute(build: (graph: TensorGraph) => void): void {
    const f = this.#functions;
    const { ggmlBase } = this.#libraries;
    const context = ggmlBase.ggml_init({
      mem_size:
        ggmlBase.ggml_tensor_overhead() * GRAPH_NODES + Number(f.ggml_graph_overhead_custom(GRAPH_NODES, false)) + 1024,
      mem_buffer: null,
      no_alloc: true,
    });
    if (context === null) throw new TensorGraphError("ggml has no memory for a graph");
    try {
      const native = f.ggml_new_graph_custom(context, GRAPH_NODES, false);
      build(new TensorGraph(f, this.#libraries, context, native, this.#words));
      if (!f.ggml_gallocr_alloc_graph(this.#allocator, native)) {
        throw new TensorGraphError("ggml has no memory for a graph's intermediate results");
      }
      if (f.ggml_backend_graph_compute(this.#backend, native) !== 0) {
        throw new TensorGraphError("ggml could not compute a graph");
      }
    } finally {
      ggmlBase.ggml_free(context);
    }
  }

  dispose(): void {
    this.#functions.ggml_gallocr_free(this.#allocator);
    this.#functions.ggml_backend_free(this.#backend);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

const SET_THREADS = koffi.proto("void WarmsetTensorThreads(void *backend, int n_threads)");
