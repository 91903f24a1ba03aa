/**
 * A ggml thread pool that lives as long as the context. Without one ggml starts and joins its threads for every group
 * of nodes it computes: once a token in stock llama.cpp, but at every stop of the eval callback here, where a newborn
 * thread may also share a core with the one that waits for it at the next barrier.
 */
import koffi from "koffi";
import type { Context } from "./context.ts";
import type { Libraries } from "./libraries.ts";
import type { NativePointer } from "./structs.ts";

export interface ThreadPoolOptions {
  readonly threads: number;
  /**
   * How long a thread without work spins before it sleeps, 0 to 100 (131,072 pauses each). Spinning while experts are
   * read takes the core from the kernel's own work; sleeping costs a wake-up per group.
   */
  readonly poll: number;
}

const MAX_THREADS = 512; // GGML_MAX_N_THREADS

koffi.struct("ggml_threadpool_params", {
  cpumask: koffi.array("bool", MAX_THREADS),
  n_threads: "int",
  prio: "int",
  poll: "uint32_t",
  strict_cpu: "bool",
  paused: "bool",
});
const NewPool = koffi.proto("void *WarmsetThreadPoolNew(ggml_threadpool_params *params)");
const FreePool = koffi.proto("void WarmsetThreadPoolFree(void *pool)");

/** enum ggml_backend_dev_type */
const DEVICE_CPU = 0;

/** Gives `context` a pool of its own; returns what detaches and frees it, to be called before the context's end. */
export function attachThreadPool(libraries: Libraries, context: Context, options: ThreadPoolOptions): () => void {
  const base = koffi.load(libraries.paths.ggmlBase);
  const ggml = koffi.load(libraries.paths.ggml);
  const llama = koffi.load(libraries.paths.llama);
  const deviceByType = ggml.func("void *ggml_backend_dev_by_type(int type)");
  const registryOf = base.func("void *ggml_backend_dev_backend_reg(void *device)");
  const address = base.func("void *ggml_backend_reg_get_proc_address(void *reg, const char *name)");
  const defaults = base.func("ggml_threadpool_params ggml_threadpool_params_default(int n_threads)");
  const attach = llama.func("void llama_attach_threadpool(void *ctx, void *threadpool, void *threadpool_batch)");
  const detach = llama.func("void llama_detach_threadpool(void *ctx)");
  const registry = registryOf(deviceByType(DEVICE_CPU));
  const newPool = address(registry, "ggml_threadpool_new");
  const freePool = address(registry, "ggml_threadpool_free");
  const params = { ...defaults(options.threads), poll: options.poll };
  const pool: NativePointer = koffi.call(newPool, NewPool, params);
  attach(context.handle.address, pool, null);
  return () => {
    detach(context.handle.address);
    koffi.call(freePool, FreePool, pool);
  };
}
