/**
 * DeepSeek's line: keys and values go through a small latent vector (MLA), most layers have a shared expert. With the
 * kinds of router that came with it: softmax, sigmoid with a choice bias, limited to groups.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { layerNodes } from "../expected-nodes.js";
import { feedForward } from "../feed-forward.js";
import { bool, f32, u32 } from "../metadata.js";
import { shape, types } from "../shape.js";
import { bias, matrix, norm } from "../tensors.js";

/** Sizes of the latent vectors and of a head's two parts, with and without rotary position. */
const LATENT = { query: 48, keyValue: 32, plain: 16, rotary: 16, value: 16 };
const KEY = LATENT.plain + LATENT.rotary;
/** Metadata of MLA as llama.cpp runs it: one key head of latent plus rotary part, `_mla` for the heads' real sizes. */
export const LATENT_METADATA = {
  "attention.head_count_kv": u32(1),
  "attention.q_lora_rank": u32(LATENT.query),
  "attention.kv_lora_rank": u32(LATENT.keyValue),
  "attention.key_length": u32(LATENT.keyValue + LATENT.rotary),
  "attention.value_length": u32(LATENT.keyValue),
  "attention.key_length_mla": u32(KEY),
  "attention.value_length_mla": u32(LATENT.value),
  "rope.dimension_count": u32(LATENT.rotary),
};
const SIGMOID_ROUTER = {
  expert_gating_func: u32(2),
  expert_weights_norm: bool(true),
  expert_weights_scale: f32(2.5),
};
/** Attention whose key and value matrices are split per head, so that the cache holds the latent vector alone. */
export function latentAttention(layer, s, queryIsLatent = true) {
  const at = `blk.${layer}`;
  return [
    norm(`${at}.attn_norm`, s.hidden),
    ...(queryIsLatent
      ? [
          matrix(`${at}.attn_q_a`, s.hidden, LATENT.query),
          norm(`${at}.attn_q_a_norm`, LATENT.query),
          matrix(`${at}.attn_q_b`, LATENT.query, s.heads * KEY),
        ]
      : [matrix(`${at}.attn_q`, s.hidden, s.heads * KEY)]),
    matrix(`${at}.attn_kv_a_mqa`, s.hidden, LATENT.keyValue + LATENT.rotary),
    norm(`${at}.attn_kv_a_norm`, LATENT.keyValue),
    matrix(`${at}.attn_k_b`, LATENT.plain, LATENT.keyValue, { count: s.heads }),
    matrix(`${at}.attn_v_b`, LATENT.keyValue, LATENT.value, { count: s.heads }),
    matrix(`${at}.attn_output`, s.heads * LATENT.value, s.hidden),
  ];
}
/** The small extra attention (DSA) that picks which earlier tokens a layer looks at. */
function indexer(layer, s) {
  const at = `blk.${layer}.indexer`;
  return [
    norm(`${at}.k_norm`, INDEXER.size),
    bias(`${at}.k_norm`, INDEXER.size),
    matrix(`${at}.proj`, s.hidden, INDEXER.heads),
    matrix(`${at}.attn_k`, s.hidden, INDEXER.size),
    matrix(`${at}.attn_q_b`, LATENT.query, INDEXER.heads * INDEXER.size),
  ];
}
// A head's size must be a power of two: llama.cpp rotates keys by a Hadamard matrix of that size.
const INDEXER = { heads: 2, size: 64, topK: 8 };
const INDEXER_METADATA = {
  "attention.indexer.head_count": u32(INDEXER.heads),
  "attention.indexer.key_length": u32(INDEXER.size),
  "attention.indexer.top_k": u32(INDEXER.topK),
};
const deepseek2 = {
  name: "deepseek2",
  architecture: "deepseek2",
  covers: "DeepSeek-V3: sigmoid router with choice bias, limited to the best groups, normalised and scaled",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 96,
    denseWidth: 128,
    sharedWidth: 96,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: { ...LATENT_METADATA, ...SIGMOID_ROUTER, expert_group_count: u32(4), expert_group_used_count: u32(2) },
  block: (layer, s) => [...latentAttention(layer, s), ...feedForward(layer, s, { choiceBias: true })],
  expectedNodes: () => layerNodes({ choiceBias: true, groups: true, normalised: true, scaled: true }),
};
const deepseek2Lite = {
  name: "deepseek2-lite",
  architecture: "deepseek2",
  covers: "27 layers, by which llama.cpp knows V2-Lite; unsplit key and value matrices; slices of a third of a page",
  shape: shape({
    layers: 27,
    denseLayers: 1,
    hidden: 64,
    experts: 8,
    expertsUsed: 3,
    expertWidth: 32,
    denseWidth: 64,
    sharedWidth: 32,
    expertTypes: types(GgmlType.Q4_0),
  }),
  metadata: {
    "attention.head_count_kv": u32(4),
    "attention.kv_lora_rank": u32(LATENT.keyValue),
    "attention.key_length": u32(KEY),
    "attention.value_length": u32(LATENT.value),
    "rope.dimension_count": u32(LATENT.rotary),
    expert_weights_scale: f32(1),
  },
  block: (layer, s) => [
    ...latentAttention(layer, s, false).filter((tensor) => !/attn_[kv]_b/.test(tensor.name)),
    matrix(`blk.${layer}.attn_kv_b`, LATENT.keyValue, s.heads * (LATENT.plain + LATENT.value)),
    ...feedForward(layer, s),
  ],
  expectedNodes: () => layerNodes(),
};
const deepseek2Fused = {
  ...deepseek2,
  name: "deepseek2-fused",
  covers: "gate and up matrices in one tensor",
  shape: { ...deepseek2.shape, expertTypes: types(GgmlType.Q5_0, GgmlType.Q8_0) },
  block: (layer, s) => [
    ...latentAttention(layer, s),
    ...feedForward(layer, s, { choiceBias: true, fusedGateUp: true }),
  ],
  expectedNodes: () =>
    layerNodes({ choiceBias: true, groups: true, normalised: true, scaled: true }, { fusedGateUp: true }),
};
const deepseek32 = {
  ...deepseek2,
  name: "deepseek32",
  architecture: "deepseek32",
  covers: "DeepSeek-V3.2's sparse attention",
  metadata: { ...LATENT_METADATA, ...SIGMOID_ROUTER, ...INDEXER_METADATA },
  block: (layer, s) => [
    ...latentAttention(layer, s),
    ...indexer(layer, s),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
const glmDsa = {
  ...deepseek32,
  name: "glm-dsa",
  architecture: "glm-dsa",
  covers: "GLM-5's sparse attention",
};
const mistral4 = {
  ...deepseek2,
  name: "mistral4",
  architecture: "mistral4",
  covers: "softmax router with normalised weights; attention scaled by position",
  metadata: {
    ...LATENT_METADATA,
    expert_weights_norm: bool(true),
    "attention.temperature_scale": f32(0.1),
    "attention.temperature_length": u32(16),
  },
  block: (layer, s) => [...latentAttention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};
export const LATENT_ATTENTION_MODELS = [deepseek2, deepseek2Lite, deepseek2Fused, deepseek32, glmDsa, mistral4];
