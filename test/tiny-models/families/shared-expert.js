/**
 * Architectures with a shared expert that every token takes, often behind a few dense layers and often with a choice
 * bias on the router. The shared expert's matrices are dense weights and are never streamed.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { layerNodes } from "../expected-nodes.js";
import { feedForward } from "../feed-forward.js";
import { bool, f32, u32 } from "../metadata.js";
import { mixedTypes, shape, types } from "../shape.js";
import { attention, matrix, norm } from "../tensors.js";

const qwen2moe = {
  name: "qwen2moe",
  architecture: "qwen2moe",
  covers: "Q8_0 slices of 1.6 pages; a shared expert behind a gate of its own",
  shape: shape({
    layers: 4,
    hidden: 64,
    experts: 12,
    expertsUsed: 4,
    expertWidth: 96,
    sharedWidth: 128,
    expertTypes: types(GgmlType.Q8_0),
  }),
  block: (layer, s) => [...attention(layer, s, { biases: true }), ...feedForward(layer, s, { gatedShared: true })],
  expectedNodes: () => layerNodes(),
};
const hunyuan = {
  name: "hunyuan-moe",
  architecture: "hunyuan-moe",
  covers: "the shared expert stands before the routed ones in llama.cpp's source",
  shape: shape({
    layers: 3,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    sharedWidth: 96,
    expertTypes: types(GgmlType.Q5_1),
  }),
  block: (layer, s) => [...attention(layer, s, { queryKeyNorms: "per head" }), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const granitemoe = {
  name: "granitemoe",
  architecture: "granitemoe",
  covers: "IQ4_NL; scaled embeddings, residuals and logits",
  shape: shape({
    layers: 3,
    hidden: 96,
    experts: 12,
    expertsUsed: 6,
    expertWidth: 64,
    sharedWidth: 64,
    expertTypes: types(GgmlType.IQ4_NL),
  }),
  metadata: {
    logit_scale: f32(2),
    residual_scale: f32(0.5),
    embedding_scale: f32(1.5),
    "attention.scale": f32(0.15),
  },
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const ernie = {
  name: "ernie4_5-moe",
  architecture: "ernie4_5-moe",
  covers: "15 experts of odd width: slices and tensors that are no multiples of GGUF's alignment; a dense first layer",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 15,
    expertsUsed: 4,
    expertWidth: 45,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q5_0, GgmlType.F16),
  }),
  metadata: { interleave_moe_layer_step: u32(1) },
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s, { choiceBias: true })],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true }),
};
const deepseek = {
  name: "deepseek",
  architecture: "deepseek",
  covers: "the first DeepSeek MoE: softmax weights as they are",
  shape: shape({
    layers: 3,
    denseLayers: 1,
    hidden: 64,
    experts: 24,
    expertsUsed: 6,
    expertWidth: 48,
    denseWidth: 128,
    sharedWidth: 48,
    expertTypes: types(GgmlType.F16),
  }),
  metadata: { expert_weights_scale: f32(1) },
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes(),
};
const dots1 = {
  name: "dots1",
  architecture: "dots1",
  covers: "sigmoid router with choice bias, normalised and scaled weights; as many key heads as query heads",
  shape: shape({
    layers: 3,
    denseLayers: 1,
    hidden: 64,
    kvHeads: 4,
    experts: 16,
    expertsUsed: 6,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q8_0, GgmlType.F16),
  }),
  metadata: { expert_gating_func: u32(2), expert_weights_norm: bool(true), expert_weights_scale: f32(2.5) },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
const bailingmoe = {
  name: "bailingmoe",
  architecture: "bailingmoe",
  covers: "softmax router, optional normalisation by metadata",
  shape: shape({
    layers: 3,
    hidden: 64,
    experts: 16,
    expertsUsed: 6,
    expertWidth: 32,
    sharedWidth: 32,
    expertTypes: types(GgmlType.Q4_0),
  }),
  metadata: { expert_weights_norm: bool(true) },
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
const bailingmoe2 = {
  name: "bailingmoe2",
  architecture: "bailingmoe2",
  covers: "Q6_K; choice limited to the best groups of experts; fused query, key and value",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 256,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 32,
    denseWidth: 128,
    sharedWidth: 32,
    expertTypes: types(GgmlType.Q6_K, GgmlType.Q8_0),
  }),
  metadata: {
    expert_gating_func: u32(2),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(2.5),
    expert_group_count: u32(4),
    expert_group_used_count: u32(2),
  },
  block: (layer, s) => [
    ...attention(layer, s, { fused: true, queryKeyNorms: "per head" }),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, groups: true, normalised: true, scaled: true }),
};
const glm4moe = {
  name: "glm4moe",
  architecture: "glm4moe",
  covers: "a block for multi-token prediction whose experts are in the file, but never computed; Q4_K, Q5_0 and Q8_0",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 256,
    headSize: 32,
    experts: 8,
    expertsUsed: 2,
    expertWidth: 64,
    denseWidth: 256,
    sharedWidth: 64,
    expertTypes: mixedTypes(GgmlType.Q4_K, GgmlType.Q8_0, GgmlType.Q5_0),
  }),
  metadata: {
    expert_gating_func: u32(2),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(1.5),
    "rope.dimension_count": u32(16),
  },
  uncomputedBlocks: 1,
  block: (layer, s) => [
    ...attention(layer, s, { biases: true }),
    ...feedForward(layer, s, { choiceBias: true, norm: "post_attention_norm" }),
    ...(layer < s.layers
      ? []
      : [
          matrix(`blk.${layer}.nextn.eh_proj`, 2 * s.hidden, s.hidden),
          norm(`blk.${layer}.nextn.enorm`, s.hidden),
          norm(`blk.${layer}.nextn.hnorm`, s.hidden),
        ]),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
const exaone = {
  name: "exaone-moe",
  architecture: "exaone-moe",
  covers: "sliding windows in three of four layers, no rotary positions in the fourth",
  shape: shape({
    layers: 5,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 48,
    denseWidth: 128,
    sharedWidth: 48,
    expertTypes: types(GgmlType.BF16),
  }),
  metadata: {
    expert_gating_func: u32(2),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(2.5),
    "attention.sliding_window": u32(8),
  },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
const hyV3 = {
  name: "hy-v3",
  architecture: "hy_v3",
  covers: "fused gate and up; the choice bias's tensor has no suffix",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q4_0, GgmlType.Q4_1),
  }),
  metadata: { expert_weights_norm: bool(true), expert_weights_scale: f32(2.8) },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    ...feedForward(layer, s, { choiceBias: true, fusedGateUp: true }).map((tensor) => ({
      ...tensor,
      name: tensor.name.replace("exp_probs_b.bias", "exp_probs_b"),
    })),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }, { fusedGateUp: true }),
  lastBlockComputesAll: true,
};
const minimaxM3 = {
  name: "minimax-m3",
  architecture: "minimax-m3",
  covers: "attention over chosen blocks of tokens; OpenAI's kind of SwiGLU without biases",
  shape: shape({
    layers: 3,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: {
    expert_gating_func: u32(2),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(2),
    "attention.indexer.head_count": u32(2),
    "attention.indexer.key_length": u32(16),
    "attention.indexer.top_k": u32(2),
    "attention.indexer.block_size": u32(4),
    "attention.indexer.local_blocks": u32(1),
  },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    ...feedForward(layer, s, { choiceBias: true }),
    ...(layer < s.denseLayers
      ? []
      : [
          matrix(`blk.${layer}.indexer.q_proj`, s.hidden, 2 * 16),
          matrix(`blk.${layer}.indexer.k_proj`, s.hidden, 16),
          norm(`blk.${layer}.indexer.q_norm`, 16),
          norm(`blk.${layer}.indexer.k_norm`, 16),
        ]),
  ],
  expectedNodes: () =>
    layerNodes({ choiceBias: true, normalised: true, scaled: true }, { activation: ["ffn_moe_swiglu_oai"] }),
};
export const SHARED_EXPERT_MODELS = [
  qwen2moe,
  hunyuan,
  granitemoe,
  ernie,
  deepseek,
  dots1,
  bailingmoe,
  bailingmoe2,
  glm4moe,
  exaone,
  hyV3,
  minimaxM3,
];
