/**
 * Architectures whose layers alternate between a short window and full attention, and so keep two caches. The windows
 * are 8 tokens here, short enough for a test's batch to leave them.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { expertNodes, layerNodes, routerNodes } from "../expected-nodes.js";
import { denseFfn, feedForward, routedExperts } from "../feed-forward.js";
import { bool, bools, f32, f32s, u32, u32s } from "../metadata.js";
import { shape, types } from "../shape.js";
import { attention, embeddings, matrix, norm, vector } from "../tensors.js";

const WINDOW = u32(8);
const gptOss = {
  name: "gpt-oss",
  architecture: "gpt-oss",
  covers: "MXFP4; biases on router and experts; attention sinks; softmax over the chosen experts only",
  shape: shape({
    layers: 4,
    hidden: 128,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 96,
    expertTypes: types(GgmlType.MXFP4),
  }),
  metadata: { "attention.sliding_window": WINDOW },
  block: (layer, s) => [
    ...attention(layer, s, { biases: true, outputBias: true }),
    vector(`blk.${layer}.attn_sinks.weight`, [s.heads], 0, 1),
    ...feedForward(layer, s, { biases: true, norm: "post_attention_norm" }),
  ],
  expectedNodes: () => layerNodes({ softmaxOfChosen: true }, { biases: true, activation: ["ffn_moe_swiglu_oai"] }),
  lastBlockComputesAll: true,
};
const gemma4 = {
  name: "gemma4",
  architecture: "gemma4",
  covers: "fused gate and up with GELU; a dense network beside the experts; a factor per expert on the down matrix",
  shape: shape({
    layers: 4,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 96,
    expertTypes: types(GgmlType.Q4_0, GgmlType.Q8_0),
  }),
  metadata: {
    embedding_length_per_layer_input: u32(0),
    "attention.sliding_window": WINDOW,
    "attention.sliding_window_pattern": bools([true, true, true, false]),
    "attention.key_length_swa": u32(16),
    "attention.value_length_swa": u32(16),
    "rope.dimension_count_swa": u32(16),
    "rope.freq_base_swa": f32(10_000),
    final_logit_softcapping: f32(30),
  },
  outside: (s) => [
    ...embeddings(s, { tiedDeviation: 0.05 }), // the graph multiplies them with sqrt(hidden)
    vector("rope_freqs.weight", [s.headSize / 2], 1, 0.1),
  ],
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    norm(`blk.${layer}.post_attention_norm`, s.hidden),
    norm(`blk.${layer}.ffn_norm`, s.hidden),
    ...denseFfn(layer, s.hidden, s.denseWidth),
    norm(`blk.${layer}.post_ffw_norm`, s.hidden),
    ...routedExperts(layer, s, { fusedGateUp: true, scales: ["down"] }),
    // The router sees its input divided by sqrt(hidden), which this scale takes back.
    vector(`blk.${layer}.ffn_gate_inp.scale`, [s.hidden], Math.sqrt(s.hidden), 0.1),
    norm(`blk.${layer}.pre_ffw_norm_2`, s.hidden),
    norm(`blk.${layer}.post_ffw_norm_1`, s.hidden),
    norm(`blk.${layer}.post_ffw_norm_2`, s.hidden),
    vector(`blk.${layer}.layer_output_scale.weight`, [1], 1, 0.1),
  ],
  expectedNodes: () => [
    ...routerNodes({ normalised: true }),
    ...expertNodes({ fusedGateUp: true, activation: ["ffn_moe_geglu"], scales: ["down"] }),
    "ffn_moe_out",
    "ffn_moe",
    "ffn_moe_combined",
  ],
  lastBlockComputesAll: true,
};
const mimo2 = {
  name: "mimo2",
  architecture: "mimo2",
  covers: "dense and mixture layers told apart by their tensors alone; another head size for values",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: {
    "attention.sliding_window": WINDOW,
    "attention.sliding_window_pattern": bools([false, true, true, false]),
    "attention.value_scale": f32(0.7),
    "rope.freq_base_swa": f32(10_000),
  },
  block: (layer, s) => [
    ...attention(layer, s),
    vector(`blk.${layer}.attn_sinks.weight`, [s.heads], 0, 1),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true }),
};
const step35 = {
  name: "step35",
  architecture: "step35",
  covers: "experts' activations clamped in some layers, which changes the nodes between up and down; gated heads",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q5_0),
  }),
  metadata: {
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(3),
    "attention.sliding_window": WINDOW,
    "attention.sliding_window_pattern": bools([false, true, true, false]),
    "rope.freq_base_swa": f32(10_000),
    swiglu_clamp_exp: f32s([0, 0, 0.5, 0.5]),
    swiglu_clamp_shexp: f32s([0, 0, 0, 0.5]),
  },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    matrix(`blk.${layer}.attn_gate`, s.hidden, s.heads),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  // Only the blocks with a limit have the clamps.
  expectedNodes: (block) =>
    layerNodes({ choiceBias: true, normalised: true, scaled: true }, block < 2 ? {} : { clamped: true }),
  lastBlockComputesAll: true,
};
const cohere2moe = {
  name: "cohere2moe",
  architecture: "cohere2moe",
  covers: "experts beside attention instead of behind it; fused gate and up; tied embeddings",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.F16),
  }),
  metadata: {
    "attention.sliding_window": WINDOW,
    logit_scale: f32(0.5),
    expert_weights_norm: bool(true),
  },
  outside: (s) => embeddings(s, { tiedDeviation: 0.25 }),
  block: (layer, s) => [
    ...attention(layer, s),
    // Experts take the attention norm's output too.
    ...feedForward(layer, s, { fusedGateUp: true }).filter((tensor) => !tensor.name.includes("ffn_norm")),
  ],
  expectedNodes: () => layerNodes({ normalised: true }, { fusedGateUp: true }),
  lastBlockComputesAll: true,
};
const afmoe = {
  name: "afmoe",
  architecture: "afmoe",
  covers: "gated attention; norms before and behind both parts of a block",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 32,
    denseWidth: 128,
    sharedWidth: 32,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: {
    "attention.sliding_window": WINDOW,
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(2.8),
  },
  block: (layer, s) => [
    ...attention(layer, s, { queryKeyNorms: "per head" }),
    norm(`blk.${layer}.post_attention_norm`, s.hidden),
    matrix(`blk.${layer}.attn_gate`, s.hidden, s.heads * s.headSize),
    norm(`blk.${layer}.post_ffw_norm`, s.hidden),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
const laguna = {
  name: "laguna",
  architecture: "laguna",
  covers: "another number of query heads in layers with a window",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q5_1, GgmlType.Q8_0),
  }),
  metadata: {
    "attention.sliding_window": WINDOW,
    "attention.head_count": u32s([4, 6, 6, 6]),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(2.5),
  },
  block: (layer, s) => {
    const heads = layer % 4 === 0 ? 4 : 6;
    return [
      ...attention(layer, { ...s, heads }, { queryKeyNorms: "per head" }),
      matrix(`blk.${layer}.attn_gate`, s.hidden, heads),
      ...feedForward(layer, s, { choiceBias: true }),
    ];
  },
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
export const SLIDING_WINDOW_MODELS = [gptOss, gemma4, mimo2, step35, cohere2moe, afmoe, laguna];
