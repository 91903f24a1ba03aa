/**
 * Architectures that mix attention with layers that keep a running state instead of a cache: gated delta nets and short
 * convolutions. Their graphs have far more nodes between two routers. Mamba's relatives are in `mamba.ts`.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { layerNodes } from "../expected-nodes.js";
import { feedForward } from "../feed-forward.js";
import { bool, f32, u32, u32s } from "../metadata.js";
import { shape, types } from "../shape.js";
import { attention, bias, embeddings, matrix, norm, vector } from "../tensors.js";
import { LATENT_METADATA, latentAttention } from "./latent-attention.js";

/** Heads of the delta net: 2 for keys, 4 for values, all of 16 elements; convolution over 4 tokens. */
const DELTA = { keyHeads: 2, valueHeads: 4, headSize: 16, kernel: 4 };
const DELTA_METADATA = {
  "ssm.conv_kernel": u32(DELTA.kernel),
  "ssm.inner_size": u32(DELTA.valueHeads * DELTA.headSize),
  "ssm.state_size": u32(DELTA.headSize),
  "ssm.time_step_rank": u32(DELTA.valueHeads),
  "ssm.group_count": u32(DELTA.keyHeads),
  full_attention_interval: u32(4),
};
/** A gated delta net in place of attention; `split` has one matrix each for what Qwen3-Next keeps in one. */
function deltaNet(layer, s, split) {
  const at = `blk.${layer}`;
  const keys = DELTA.keyHeads * DELTA.headSize;
  const values = DELTA.valueHeads * DELTA.headSize;
  return [
    norm(`${at}.attn_norm`, s.hidden),
    matrix(`${at}.attn_qkv`, s.hidden, 2 * keys + values),
    matrix(`${at}.attn_gate`, s.hidden, values),
    vector(`${at}.ssm_conv1d.weight`, [DELTA.kernel, 2 * keys + values], 0, 0.5),
    vector(`${at}.ssm_dt.bias`, [DELTA.valueHeads], 0, 0.5),
    // Negative, since the state decays by its exponential.
    vector(`${at}.ssm_a`, [DELTA.valueHeads], -1, 0.2),
    ...(split
      ? [matrix(`${at}.ssm_beta`, s.hidden, DELTA.valueHeads), matrix(`${at}.ssm_alpha`, s.hidden, DELTA.valueHeads)]
      : [matrix(`${at}.ssm_ba`, s.hidden, 2 * DELTA.valueHeads)]),
    norm(`${at}.ssm_norm`, DELTA.headSize),
    matrix(`${at}.ssm_out`, values, s.hidden),
  ];
}
function qwenBlock(layer, s, split, experts) {
  return [
    ...((layer + 1) % 4 === 0
      ? attention(layer, s, { queryKeyNorms: "per head", gatedQuery: true })
      : deltaNet(layer, s, split)),
    ...feedForward(layer, s, { norm: "post_attention_norm", gatedShared: true, ...experts }),
  ];
}
const qwen3next = {
  name: "qwen3next",
  architecture: "qwen3next",
  covers: "gated delta net in three of four layers; a shared expert behind a gate",
  shape: shape({
    layers: 4,
    hidden: 64,
    experts: 32,
    expertsUsed: 6,
    expertWidth: 32,
    sharedWidth: 32,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: DELTA_METADATA,
  block: (layer, s) => qwenBlock(layer, s, false, {}),
  expectedNodes: () => layerNodes({ normalised: true }),
  lastBlockComputesAll: true,
};
const qwen35moe = {
  ...qwen3next,
  name: "qwen35moe",
  architecture: "qwen35moe",
  covers: "Qwen3.5: fused gate and up; rotary positions in sections",
  shape: { ...qwen3next.shape, expertTypes: types(GgmlType.Q4_1, GgmlType.Q5_1) },
  metadata: { ...DELTA_METADATA, "rope.dimension_sections": u32s([4, 2, 2, 0]) },
  block: (layer, s) => qwenBlock(layer, s, true, { fusedGateUp: true }),
  expectedNodes: () => layerNodes({ normalised: true }, { fusedGateUp: true }),
};
/** Kimi's delta net: as many heads as attention has, of 16 elements; convolutions over 4 tokens. */
const KIMI = { headSize: 16, kernel: 4, expertInputs: 32 };
const KIMI_METADATA = {
  ...LATENT_METADATA,
  "attention.head_count_kv": u32s([0, 0, 0, 1]),
  "ssm.conv_kernel": u32(KIMI.kernel),
  "kda.head_dim": u32(KIMI.headSize),
  expert_gating_func: u32(2),
  expert_weights_scale: f32(2.4),
};
/** `wideGate` has one matrix for what Kimi-Linear makes in two steps. */
function kimiDeltaNet(layer, s, wideGate = false) {
  const at = `blk.${layer}`;
  const inner = s.heads * KIMI.headSize;
  const convolution = (name) => vector(`${at}.ssm_conv1d_${name}.weight`, [KIMI.kernel, 1, inner], 0, 0.5);
  return [
    norm(`${at}.attn_norm`, s.hidden),
    ...["q", "k", "v"].flatMap((name) => [convolution(name), matrix(`${at}.attn_${name}`, s.hidden, inner)]),
    matrix(`${at}.ssm_f_a`, s.hidden, KIMI.headSize),
    matrix(`${at}.ssm_f_b`, KIMI.headSize, inner),
    matrix(`${at}.ssm_beta`, s.hidden, s.heads),
    vector(`${at}.ssm_a`, wideGate ? [s.heads] : [1, s.heads], -1, 0.2),
    bias(`${at}.ssm_dt`, inner),
    ...(wideGate
      ? [matrix(`${at}.ssm_g`, s.hidden, inner)]
      : [matrix(`${at}.ssm_g_a`, s.hidden, KIMI.headSize), matrix(`${at}.ssm_g_b`, KIMI.headSize, inner)]),
    norm(`${at}.ssm_norm`, KIMI.headSize),
    matrix(`${at}.attn_output`, inner, s.hidden),
  ];
}
const kimiLinear = {
  name: "kimi-linear",
  architecture: "kimi-linear",
  covers: "delta net in three of four layers, latent attention without positions in the fourth",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    sharedWidth: 64,
    expertTypes: types(GgmlType.Q4_0, GgmlType.Q8_0),
  }),
  metadata: KIMI_METADATA,
  block: (layer, s) => [
    ...(layer === 3 ? latentAttention(layer, s, false) : kimiDeltaNet(layer, s)),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true, scaled: true }),
};
/** Scores earlier outputs; small, so that the layers' latest work is not passed over. */
const resScore = (name, s) => vector(`${name}.weight`, [s.hidden], 0, 0.05);
const kimiK3 = {
  ...kimiLinear,
  name: "kimi-k3",
  architecture: "kimi-k3",
  covers: "experts in a narrower space; another activation; attention over the outputs of earlier blocks",
  metadata: {
    ...KIMI_METADATA,
    expert_weights_norm: bool(true),
    expert_latent_length: u32(KIMI.expertInputs),
    "attn_res.block_size": u32(2),
    "activation.situ_beta": f32(1),
    "activation.situ_linear_beta": f32(4),
  },
  outside: (s) => [...embeddings(s), resScore("output_res_score", s)],
  block: (layer, s) => [
    ...(layer === 3 ? latentAttention(layer, s) : kimiDeltaNet(layer, s, true)),
    resScore(`blk.${layer}.attn_res_score`, s),
    resScore(`blk.${layer}.ffn_res_score`, s),
    ...feedForward(layer, s, { choiceBias: true, inputs: KIMI.expertInputs }),
    ...(layer < s.denseLayers
      ? []
      : [
          matrix(`blk.${layer}.ffn_routed_down`, s.hidden, KIMI.expertInputs),
          matrix(`blk.${layer}.ffn_routed_up`, KIMI.expertInputs, s.hidden),
          norm(`blk.${layer}.ffn_routed_norm`, KIMI.expertInputs),
        ]),
  ],
  expectedNodes: () =>
    layerNodes({ choiceBias: true, normalised: true, scaled: true }, { activation: ["ffn_moe_situ"] }),
  lastBlockComputesAll: true,
};
const lfm2moe = {
  name: "lfm2moe",
  architecture: "lfm2moe",
  covers: "short convolutions between attention layers; tied embeddings; sigmoid router with a choice bias",
  shape: shape({
    layers: 4,
    denseLayers: 1,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    denseWidth: 128,
    expertTypes: types(GgmlType.Q4_0, GgmlType.Q5_0),
  }),
  metadata: {
    "shortconv.l_cache": u32(3),
    "attention.head_count_kv": u32s([0, 2, 0, 2]),
    expert_gating_func: u32(2),
  },
  outside: (s) => embeddings(s, { finalNorm: "token_embd_norm", tiedDeviation: 0.25 }),
  block: (layer, s) => [
    ...(layer % 2 === 1
      ? attention(layer, s, { queryKeyNorms: "per head" })
      : [
          norm(`blk.${layer}.attn_norm`, s.hidden),
          vector(`blk.${layer}.shortconv.conv.weight`, [3, s.hidden], 0, 0.5),
          matrix(`blk.${layer}.shortconv.in_proj`, s.hidden, 3 * s.hidden),
          matrix(`blk.${layer}.shortconv.out_proj`, s.hidden, s.hidden),
        ]),
    ...feedForward(layer, s, { choiceBias: true }),
  ],
  expectedNodes: () => layerNodes({ choiceBias: true, normalised: true }),
};
export const LINEAR_ATTENTION_MODELS = [qwen3next, qwen35moe, kimiLinear, kimiK3, lfm2moe];
