/**
 * LoRA adapters as stock llama.cpp applies them: loaded beside a model, and added to the products of a context at a scale. Only
 * products that llama.cpp makes with `build_lora_mm` see them; whether a router's is one of them is for `router-logits.ts`.
 */
import type { Context } from "./context.ts";
import { AdapterLoadError } from "./errors.ts";
import { NativeHandle } from "./handle.ts";
import type { Model } from "./model.ts";

export interface LoraAdapter extends Disposable {
  readonly path: string;
  readonly handle: NativeHandle;
}

export interface ScaledAdapter {
  readonly adapter: LoraAdapter;
  /** Times alpha / rank of the adapter; 0 is the same as leaving it out. */
  readonly scale: number;
}

/**
 * To be called before contexts are made: their graphs have room only for the adapters that the model had by then
 * (llama-context.cpp:2392). Freed with the model.
 * @throws AdapterLoadError with llama.cpp's own reason
 */
export function loadLoraAdapter(model: Model, path: string): LoraAdapter {
  const { llama, log } = model.libraries;
  log.clear();
  const address = llama.llama_adapter_lora_init(model.handle.address, path);
  if (address === null) throw new AdapterLoadError(path, log.problems());
  const handle = new NativeHandle("adapter", address, llama.llama_adapter_lora_free, model.handle);
  return { path, handle, [Symbol.dispose]: () => handle.dispose() };
}

/** From the next decode on the context computes with these adapters and no others. */
export function setLoraAdapters(context: Context, adapters: readonly ScaledAdapter[]): void {
  const { llama } = context.model.libraries;
  const count = adapters.length;
  llama.llama_set_adapters_lora(
    context.handle.address,
    count === 0 ? null : adapters.map(({ adapter }) => adapter.handle.address),
    count,
    count === 0 ? null : Float32Array.from(adapters, ({ scale }) => scale),
  );
}
