/**
 * DeepSeek-V4: its first blocks look experts up by token instead of asking a router, the residual stream has four
 * lanes, and attention compresses what is behind its window.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { layerNodes } from "../expected-nodes.js";
import { feedForward } from "../feed-forward.js";
import { bool, f32, u32, u32s } from "../metadata.js";
import { shape, types } from "../shape.js";
import { embeddings, matrix, norm, vector } from "../tensors.js";
import { VOCABULARY_SIZE } from "../vocabulary.js";

/** Blocks at the start whose experts depend on the token alone. */
const TABLE_BLOCKS = 2;
/** Lanes of the residual stream; llama.cpp knows 4 only. */
const LANES = 4;
/** Coefficients that mix the lanes before and behind a part of a block. */
const MIX = (2 + LANES) * LANES;
/** How many tokens become one in each block's compressed cache; 0 is the window alone. Without a 128 llama.cpp crashes. */
const COMPRESSION = [0, 4, 128, 4];
const LATENT = { query: 32, output: 16, groups: 2 };
const INDEXER = { heads: 2, size: 64, topK: 8 };
/** Each token's experts: `expertsUsed` different ones, spread over all. */
function expertTable(layer, s) {
  const values = Int32Array.from(
    { length: VOCABULARY_SIZE * s.expertsUsed },
    (_, i) => (Math.floor(i / s.expertsUsed) * 7 + (i % s.expertsUsed) * 5 + layer) % s.experts,
  );
  return {
    name: `blk.${layer}.ffn_gate_tid2eid.weight`,
    shape: [s.expertsUsed, VOCABULARY_SIZE],
    type: GgmlType.I32,
    values,
  };
}
/** What mixes the lanes into one input and its output back into the lanes, for attention or the feed-forward part. */
const laneMixer = (at, s) => [
  matrix(`${at}_fn`, LANES * s.hidden, MIX, { type: GgmlType.F32 }),
  vector(`${at}_base.weight`, [MIX], 0, 0.5),
  vector(`${at}_scale.weight`, [3], 0.5, 0.1),
];
/** Makes one key out of `ratio` tokens. At ratio 4 neighbours overlap, so there are two of everything. */
function compressor(at, s, width, ratio) {
  const outputs = ratio === 4 ? 2 * width : width;
  return [
    matrix(`${at}_kv`, s.hidden, outputs),
    matrix(`${at}_gate`, s.hidden, outputs),
    vector(`${at}_ape.weight`, [outputs, ratio], 0, 0.1),
    norm(`${at}_norm`, width),
  ];
}
function attention(layer, s) {
  const at = `blk.${layer}`;
  const queries = s.heads * s.headSize;
  const tensors = [
    ...laneMixer(`${at}.hc_attn`, s),
    norm(`${at}.attn_norm`, s.hidden),
    vector(`${at}.attn_sinks.weight`, [s.heads], 0, 1),
    matrix(`${at}.attn_q_a`, s.hidden, LATENT.query),
    norm(`${at}.attn_q_a_norm`, LATENT.query),
    matrix(`${at}.attn_q_b`, LATENT.query, queries),
    matrix(`${at}.attn_kv`, s.hidden, s.headSize),
    norm(`${at}.attn_kv_a_norm`, s.headSize),
    matrix(`${at}.attn_output_a`, queries / LATENT.groups, LATENT.output * LATENT.groups),
    matrix(`${at}.attn_output_b`, LATENT.output * LATENT.groups, s.hidden),
  ];
  const ratio = COMPRESSION[layer];
  if (ratio > 0) tensors.push(...compressor(`${at}.attn_compressor`, s, s.headSize, ratio));
  if (ratio === 4) {
    tensors.push(
      ...compressor(`${at}.indexer_compressor`, s, INDEXER.size, ratio),
      matrix(`${at}.indexer.proj`, s.hidden, INDEXER.heads),
      matrix(`${at}.indexer.attn_q_b`, LATENT.query, INDEXER.heads * INDEXER.size),
    );
  }
  return tensors;
}
const deepseek4 = {
  name: "deepseek4",
  architecture: "deepseek4",
  covers: "experts looked up by token in the first blocks; four residual lanes; limited activations",
  shape: shape({
    layers: COMPRESSION.length,
    hidden: 64,
    kvHeads: 1,
    headSize: 64,
    experts: 16,
    expertsUsed: 3,
    expertWidth: 64,
    sharedWidth: 64,
    expertTypes: types(GgmlType.MXFP4),
  }),
  metadata: {
    "attention.q_lora_rank": u32(LATENT.query),
    "attention.output_lora_rank": u32(LATENT.output),
    "attention.output_group_count": u32(LATENT.groups),
    "attention.sliding_window": u32(8),
    "attention.compress_ratios": u32s(COMPRESSION),
    "attention.compress_rope_freq_base": f32(10_000),
    "attention.indexer.head_count": u32(INDEXER.heads),
    "attention.indexer.key_length": u32(INDEXER.size),
    "attention.indexer.top_k": u32(INDEXER.topK),
    "rope.dimension_count": u32(32),
    "hyper_connection.count": u32(LANES),
    "hyper_connection.sinkhorn_iterations": u32(4),
    "hyper_connection.epsilon": f32(1e-6),
    hash_layer_count: u32(TABLE_BLOCKS),
    expert_gating_func: u32(4),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(1.5),
    swiglu_clamp_exp: f32(2),
  },
  outside: (s) => [
    ...embeddings(s),
    matrix("output_hc_fn", LANES * s.hidden, LANES, { type: GgmlType.F32 }),
    vector("output_hc_base.weight", [LANES], 0, 0.5),
    vector("output_hc_scale.weight", [1], 0.5, 0.1),
  ],
  block: (layer, s) => [
    ...attention(layer, s),
    ...laneMixer(`blk.${layer}.hc_ffn`, s),
    ...feedForward(layer, s, { choiceBias: layer >= TABLE_BLOCKS }),
    ...(layer < TABLE_BLOCKS ? [expertTable(layer, s)] : []),
  ],
  expectedNodes: (block) =>
    layerNodes(
      block < TABLE_BLOCKS
        ? { choiceFromTable: true, normalised: true, scaled: true }
        : { choiceBias: true, normalised: true, scaled: true },
      { activation: ["ffn_moe_swiglu_limited"] },
    ),
  lastBlockComputesAll: true,
};
export const DEEPSEEK4_MODELS = [deepseek4];
