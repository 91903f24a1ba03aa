/**
 * JavaScript functions as native callbacks, for the engine's eval hook and for aborting. A registered callback takes one
 * of koffi's 8192 slots until it is released, and may only be called from the thread that runs JavaScript.
 */
import koffi from "koffi";
import type { NativePointer } from "./structs.ts";

/** A native function pointer that calls JavaScript. Release it after everything that may call it is disposed. */
export interface NativeCallback {
  readonly pointer: NativePointer;
  release(): void;
}

/**
 * For `ContextOptions.evalCallback`. Called with `ask` true for every graph node, to ask whether the node's result is
 * wanted, and with `ask` false once that result is computed; returning false then abandons the rest of the graph split.
 * `tensor` is the address of a `ggml_tensor`, to be read at `TENSOR_OFFSET`. An exception counts as false and is thrown
 * again by the native call that is running. At about 1000 calls a token, allocate nothing in it.
 */
export function registerEvalCallback(callback: (tensor: number, ask: boolean) => boolean): NativeCallback {
  return register(callback, "ggml_backend_sched_eval_callback *");
}

/** For `ContextOptions.abortCallback`: asked after each graph node; true makes `decode` return `aborted`. */
export function registerAbortCallback(callback: () => boolean): NativeCallback {
  return register(callback, "ggml_abort_callback *");
}

/** For `llama_model_params.progress_callback`: the fraction loaded; false stops the load. */
export function registerProgressCallback(callback: (fraction: number) => boolean): NativeCallback {
  return register(callback, "llama_progress_callback *");
}

function register(callback: (...parameters: never[]) => boolean, type: string): NativeCallback {
  const pointer = koffi.register(callback, type);
  return { pointer, release: () => koffi.unregister(pointer) };
}
