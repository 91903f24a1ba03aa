/**
 * A loaded model: its weights, its metadata and its vocabulary. Weights are mapped and stay as they are in the file, on
 * the CPU, so that `src/memory` can replace ranges of the mapping; nothing here decodes (see `context.ts`).
 */
import koffi from "koffi";
import { registerProgressCallback } from "./callbacks.ts";
import { ModelLoadError } from "./errors.ts";
import { NativeHandle } from "./handle.ts";
import type { Libraries } from "./libraries.ts";
import { LoadMode, type NativePointer } from "./structs.ts";
import { Vocabulary } from "./vocabulary.ts";

export interface LoadModelOptions {
  /** Map the file instead of reading it into memory. Default true. */
  readonly useMmap?: boolean;
  /**
   * Let llama.cpp rearrange weights for faster kernels. They then no longer lie at their file offsets, so expert memory
   * does not work; only for running stock llama.cpp. Default false.
   */
  readonly repackWeights?: boolean;
  /** Called with the fraction loaded, 0 to 1; return false to give up (ModelLoadError). Default none. */
  readonly onProgress?: (fraction: number) => boolean;
}

/**
 * Loads a GGUF file. Of a split model give the first shard (`name-00001-of-00004.gguf`; the others are found beside it)
 * or all shards in order.
 * @throws ModelLoadError with llama.cpp's own reason
 */
export function loadModel(
  libraries: Libraries,
  path: string | readonly string[],
  options: LoadModelOptions = {},
): Model {
  const { llama, log } = libraries;
  const { useMmap = true, repackWeights = false, onProgress } = options;
  const params = llama.llama_model_default_params();
  params.load_mode = useMmap ? LoadMode.MMAP : LoadMode.NONE;
  params.use_extra_bufts = repackWeights;
  params.n_gpu_layers = 0;
  // An empty device list: with NULL, macOS would also set up Metal, whose buffers the eval hook cannot read.
  const noDevices: NativePointer = koffi.alloc("void *", 1);
  koffi.encode(noDevices, "void *", null);
  params.devices = noDevices;
  const progress = onProgress && registerProgressCallback(onProgress);
  if (progress !== undefined) params.progress_callback = progress.pointer;
  log.clear();
  try {
    const address =
      typeof path === "string"
        ? llama.llama_model_load_from_file(path, params)
        : llama.llama_model_load_from_splits([...path], path.length, params);
    if (address === null) throw new ModelLoadError(typeof path === "string" ? path : (path[0] ?? ""), log.problems());
    return new Model(libraries, address);
  } finally {
    progress?.release();
    koffi.free(noDevices);
  }
}

export class Model implements Disposable {
  readonly libraries: Libraries;
  /** Owned by the model; contexts, samplers and the vocabulary hang on it and are disposed with it. */
  readonly handle: NativeHandle;
  readonly vocabulary: Vocabulary;
  /** llama.cpp's one-line description, such as `qwen3moe 30B.A3B Q4_K - Medium`. */
  readonly description: string;
  /** Transformer blocks, dense ones included. */
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Context length the model was trained with, in tokens. */
  readonly trainedContextSize: number;
  /** Tokens an attention layer with a sliding window sees, 0 without. */
  readonly slidingWindow: number;
  /** All tensors together. */
  readonly weightBytes: number;
  readonly parameterCount: number;
  /** State-space models keep one state per sequence: no position can be removed from the middle or the end. */
  readonly isRecurrent: boolean;
  /** Recurrent and attention layers mixed; as `isRecurrent` for removing positions. */
  readonly isHybrid: boolean;
  /** The GGUF's `tokenizer.chat_template`, if it has one. */
  readonly chatTemplate: string | undefined;

  /** Use `loadModel`. */
  constructor(libraries: Libraries, address: NativePointer) {
    const { llama } = libraries;
    this.libraries = libraries;
    this.handle = new NativeHandle("model", address, llama.llama_model_free);
    this.vocabulary = new Vocabulary(llama, llama.llama_model_get_vocab(address), this.handle);
    const description = Buffer.alloc(256);
    const length = llama.llama_model_desc(address, description, description.length);
    this.description = description.toString("utf8", 0, Math.min(length, description.length - 1));
    this.layers = llama.llama_model_n_layer(address);
    this.hiddenSize = llama.llama_model_n_embd(address);
    this.trainedContextSize = llama.llama_model_n_ctx_train(address);
    this.slidingWindow = llama.llama_model_n_swa(address);
    this.weightBytes = llama.llama_model_size(address);
    this.parameterCount = llama.llama_model_n_params(address);
    this.isRecurrent = llama.llama_model_is_recurrent(address);
    this.isHybrid = llama.llama_model_is_hybrid(address);
    this.chatTemplate = llama.llama_model_chat_template(address, null) ?? undefined;
  }

  /** A scalar metadata value as llama.cpp prints it, or undefined if the file has no such key (or it is an array). */
  metadata(key: string): string | undefined {
    const { llama_model_meta_val_str } = this.libraries.llama;
    const length = llama_model_meta_val_str(this.handle.address, key, null, 0);
    if (length < 0) return undefined;
    const buffer = Buffer.alloc(length + 1);
    llama_model_meta_val_str(this.handle.address, key, buffer, buffer.length);
    return buffer.toString("utf8", 0, length);
  }

  /** Frees the model and everything made from it. */
  dispose(): void {
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
