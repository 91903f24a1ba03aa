/**
 * What a tiny model is, as data: which architecture, which sizes, which tensors and metadata, and what llama.cpp's
 * graph is expected to look like. Nothing here touches a file.
 */
import { f32, text, u32 } from "./metadata.js";
import { embeddings } from "./tensors.js";
import { VOCABULARY_METADATA, VOCABULARY_SIZE } from "./vocabulary.js";
/** Blocks with routed experts that a decode computes, in order. */
export function mixtureBlocks(spec) {
  return Array.from({ length: spec.shape.layers }, (_, block) => block).filter((block) =>
    spec.block(block, spec.shape).some((tensor) => tensor.name.endsWith(".ffn_down_exps.weight")),
  );
}
export function plannedTensors(spec) {
  const { shape } = spec;
  const blocks = Array.from({ length: shape.layers + (spec.uncomputedBlocks ?? 0) }, (_, layer) =>
    spec.block(layer, shape),
  );
  return [...(spec.outside?.(shape) ?? embeddings(shape)), ...blocks.flat()];
}
export function plannedMetadata(spec) {
  const { shape, architecture } = spec;
  const relative = {
    vocab_size: u32(VOCABULARY_SIZE),
    block_count: u32(shape.layers + (spec.uncomputedBlocks ?? 0)),
    context_length: u32(512),
    embedding_length: u32(shape.hidden),
    feed_forward_length: u32(shape.denseWidth),
    "attention.head_count": u32(shape.heads),
    "attention.head_count_kv": u32(shape.kvHeads),
    "attention.key_length": u32(shape.headSize),
    "attention.value_length": u32(shape.headSize),
    "attention.layer_norm_rms_epsilon": f32(1e-6),
    "rope.dimension_count": u32(shape.headSize),
    "rope.freq_base": f32(10_000),
    expert_count: u32(shape.experts),
    expert_used_count: u32(shape.expertsUsed),
    expert_feed_forward_length: u32(shape.expertWidth),
    ...(shape.denseLayers > 0 ? { leading_dense_block_count: u32(shape.denseLayers) } : {}),
    ...(shape.sharedWidth > 0
      ? { expert_shared_feed_forward_length: u32(shape.sharedWidth), expert_shared_count: u32(1) }
      : {}),
    ...(spec.uncomputedBlocks ? { nextn_predict_layers: u32(spec.uncomputedBlocks) } : {}),
    ...spec.metadata,
  };
  return {
    "general.architecture": text(architecture),
    "general.name": text(`warmset tiny ${spec.name}`),
    "general.quantization_version": u32(2),
    ...Object.fromEntries(Object.entries(relative).map(([key, value]) => [`${architecture}.${key}`, value])),
    ...VOCABULARY_METADATA,
  };
}
