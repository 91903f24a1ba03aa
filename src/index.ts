/** The public API of warmset: open a model under a memory budget and generate. Everything else is a subpath export. */
export { ByteSizeError, type MemoryOption, parseByteSize } from "./engine/byte-size.ts";
export type { StopReason } from "./engine/generation.ts";
export { ModelClosedError, ModelProcessError } from "./engine/model-process.ts";
export {
  type GenerateOptions,
  type Generation,
  type GenerationResult,
  MoeModel,
  type OpenModelOptions,
  openModel,
} from "./engine/open-model.ts";
export { ModelError, type ModelInfo } from "./engine/protocol.ts";
export type { SessionStatistics } from "./engine/session.ts";
export type { ExpertCounts } from "./engine/statistics.ts";
export type { ChatMessage } from "./llama/index.ts";
export { type CacheBias, parseCacheBias, type SelectionRule } from "./routing/cache-bias.ts";
export type { CacheBiasStatistics } from "./routing/cache-prior-router.ts";
