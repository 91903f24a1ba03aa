/**
 * Architectures that are grouped-query attention plus a router with its experts, in every layer, and nothing else.
 * They differ in norms, biases, the router's function and whether the chosen weights are normalised.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { layerNodes } from "../expected-nodes.js";
import { feedForward, routedExperts } from "../feed-forward.js";
import { f32, u32, u32s } from "../metadata.js";
import { mixedTypes, shape, types } from "../shape.js";
import { attention, bias, embeddings, norm, vector } from "../tensors.js";
import { VOCABULARY_SIZE } from "../vocabulary.js";

const mixtral = {
  name: "mixtral",
  architecture: "llama",
  covers: "Q4_K with Q6_K down matrices in some layers; gate and up slices are whole pages",
  shape: shape({
    layers: 3,
    hidden: 256,
    headSize: 32,
    experts: 8,
    expertsUsed: 2,
    expertWidth: 256,
    expertTypes: mixedTypes(GgmlType.Q4_K, GgmlType.Q6_K, GgmlType.Q4_K),
  }),
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const qwen3moe = {
  name: "qwen3moe",
  architecture: "qwen3moe",
  covers: "many experts of which a slice (3 KiB of F16) is smaller than a page; norms on queries and keys",
  shape: shape({
    layers: 4,
    hidden: 64,
    experts: 32,
    expertsUsed: 8,
    expertWidth: 24,
    expertTypes: types(GgmlType.F16),
  }),
  block: (layer, s) => [...attention(layer, s, { queryKeyNorms: "per head" }), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const qwen3moeScaled = {
  ...qwen3moe,
  name: "qwen3moe-scaled",
  covers: "a factor per expert on each matrix, which takes the usual node names off the expert products",
  shape: shape({
    layers: 3,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    expertTypes: types(GgmlType.NVFP4),
  }),
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    ...feedForward(layer, s, { scales: ["gate", "up", "down"] }),
  ],
  expectedNodes: () => layerNodes({ normalised: true }, { scales: ["gate", "up", "down"] }),
};
const qwen3vlmoe = {
  ...qwen3moe,
  name: "qwen3vlmoe",
  architecture: "qwen3vlmoe",
  covers: "the text part of a vision model: rotary positions in sections",
  metadata: { "rope.dimension_sections": u32s([4, 2, 2, 0]) },
};
const phimoe = {
  name: "phimoe",
  architecture: "phimoe",
  covers: "Q4_0; biases on norms and output; rotary factors for short and long contexts",
  shape: shape({
    layers: 3,
    hidden: 128,
    experts: 16,
    expertsUsed: 2,
    expertWidth: 96,
    expertTypes: types(GgmlType.Q4_0),
  }),
  metadata: { "rope.scaling.original_context_length": u32(256), "rope.scaling.attn_factor": f32(1.1) },
  outside: (s) => [
    ...embeddings(s),
    bias("output_norm", s.hidden),
    bias("output", VOCABULARY_SIZE),
    vector("rope_factors_long.weight", [s.headSize / 2], 2, 0.5),
    vector("rope_factors_short.weight", [s.headSize / 2], 1, 0.1),
  ],
  block: (layer, s) => [
    ...attention(layer, s, { biases: true, outputBias: true }),
    bias(`blk.${layer}.attn_norm`, s.hidden),
    bias(`blk.${layer}.ffn_norm`, s.hidden),
    ...feedForward(layer, s),
  ],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const olmoe = {
  name: "olmoe",
  architecture: "olmoe",
  covers: "BF16; weights are not normalised; norms across all heads",
  shape: shape({
    layers: 4,
    hidden: 64,
    kvHeads: 4,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 40,
    expertTypes: types(GgmlType.BF16),
  }),
  block: (layer, s) => [...attention(layer, s, { queryKeyNorms: "all heads" }), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes(),
};
const dbrx = {
  name: "dbrx",
  architecture: "dbrx",
  covers: "fused query, key and value; layer norms; Q5_K",
  shape: shape({
    layers: 2,
    hidden: 256,
    experts: 4,
    expertsUsed: 2,
    expertWidth: 256,
    expertTypes: types(GgmlType.Q5_K),
  }),
  metadata: { "attention.layer_norm_epsilon": f32(1e-5), "attention.clamp_kqv": f32(8) },
  block: (layer, s) => [
    ...attention(layer, s, { fused: true }),
    norm(`blk.${layer}.attn_output_norm`, s.hidden),
    ...routedExperts(layer, s),
  ],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const grok = {
  name: "grok",
  architecture: "grok",
  covers: "GELU experts; norms behind attention and experts; soft-capped logits",
  shape: shape({
    layers: 3,
    hidden: 64,
    experts: 8,
    expertsUsed: 2,
    expertWidth: 160,
    expertTypes: types(GgmlType.Q4_1),
  }),
  // Its defaults are Grok-1's, whose embeddings times 78 would drown everything that tiny layers add.
  metadata: { embedding_scale: f32(1), logit_scale: f32(1), "attention.output_scale": f32(0.25) },
  block: (layer, s) => [
    ...attention(layer, s),
    norm(`blk.${layer}.attn_output_norm`, s.hidden),
    ...feedForward(layer, s),
    norm(`blk.${layer}.post_ffw_norm`, s.hidden),
  ],
  expectedNodes: () => layerNodes({ normalised: true }, { activation: ["ffn_moe_geglu"] }),
};
const minimaxM2 = {
  name: "minimax-m2",
  architecture: "minimax-m2",
  covers: "sigmoid router with a choice bias; norms across all heads",
  shape: shape({
    layers: 3,
    hidden: 96,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: { expert_gating_func: u32(2) },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "all heads" }),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true }),
};
const mistral3 = {
  name: "mistral3",
  architecture: "mistral3",
  covers: "IQ4_XS; attention scaled by position",
  shape: shape({
    layers: 2,
    hidden: 256,
    headSize: 32,
    experts: 8,
    expertsUsed: 2,
    expertWidth: 64,
    expertTypes: types(GgmlType.IQ4_XS, GgmlType.Q8_0),
  }),
  metadata: { "attention.temperature_scale": f32(0.1), "rope.scaling.original_context_length": u32(16) },
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
export const PLAIN_MODELS = [
  mixtral,
  qwen3moe,
  qwen3moeScaled,
  qwen3vlmoe,
  phimoe,
  olmoe,
  dbrx,
  grok,
  minimaxM2,
  mistral3,
];
