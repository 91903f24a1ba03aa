/**
 * The native edge: llama.cpp v0.5.0 through koffi. Everything above imports from here; nothing above sees koffi types
 * other than addresses (bigint) and the library handle of libc.
 */
export { Batch, type BatchOptions } from "./batch.ts";
export { type NativeCallback, registerAbortCallback, registerEvalCallback } from "./callbacks.ts";
export { type ChatMessage, ChatTemplate, chatTemplate, type RenderOptions } from "./chat-template.ts";
export { Context, type ContextOptions, type ContextTimings, createContext, type DecodeResult } from "./context.ts";
export * from "./errors.ts";
export {
  findLibraries,
  type Libraries,
  type LibraryPaths,
  LLAMA_VERSION,
  type LoadLibrariesOptions,
  loadLibraries,
  PACKAGE_VERSION,
  platformPackage,
} from "./libraries.ts";
export { type LoadModelOptions, loadModel, Model } from "./model.ts";
export { dequantize, quantize, type TypeTraits, typeTraits } from "./quantize.ts";
export { createSampler, type DryOptions, Sampler, type SamplerOptions } from "./sampler.ts";
export { GgmlType, type NativePointer, TENSOR_BYTES, TENSOR_DIMS, TENSOR_OFFSET, TENSOR_SOURCES } from "./structs.ts";
export { type DetokenizeOptions, TokenDecoder, type TokenizeOptions, Vocabulary } from "./vocabulary.ts";
