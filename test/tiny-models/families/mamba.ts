/**
 * Architectures with Mamba layers between a few attention layers. Mixture blocks may be blocks of their own, or be in
 * some blocks only.
 */
import { GgmlType } from "../../../src/gguf/index.ts";
import type { TinyModelSpec } from "../definition.ts";
import { layerNodes } from "../expected-nodes.ts";
import { feedForward } from "../feed-forward.ts";
import { bool, f32, type Metadata, u32, u32s } from "../metadata.ts";
import { type Shape, shape, types } from "../shape.ts";
import { attention, bias, matrix, norm, type PlannedTensor, vector } from "../tensors.ts";

/** Sizes of the Mamba layers; their inner size is twice the hidden size. `rank` and no heads or groups is Mamba-1. */
const MAMBA = { heads: 8, groups: 2, state: 16, kernel: 4, rank: 8 } as const;

const mambaMetadata = (s: Shape): Metadata => ({
  "ssm.conv_kernel": u32(MAMBA.kernel),
  "ssm.inner_size": u32(2 * s.hidden),
  "ssm.state_size": u32(MAMBA.state),
  "ssm.time_step_rank": u32(MAMBA.heads),
  "ssm.group_count": u32(MAMBA.groups),
});

function mamba2(layer: number, s: Shape): PlannedTensor[] {
  const at = `blk.${layer}`;
  const inner = 2 * s.hidden;
  const convolved = inner + 2 * MAMBA.groups * MAMBA.state;
  return [
    norm(`${at}.attn_norm`, s.hidden),
    matrix(`${at}.ssm_in`, s.hidden, inner + convolved + MAMBA.heads),
    vector(`${at}.ssm_conv1d.weight`, [MAMBA.kernel, convolved], 0, 0.5),
    bias(`${at}.ssm_conv1d`, convolved),
    bias(`${at}.ssm_dt`, MAMBA.heads),
    // Negative, since the state decays by its exponential.
    vector(`${at}.ssm_a`, [1, MAMBA.heads], -1, 0.2),
    vector(`${at}.ssm_d`, [1, MAMBA.heads], 1, 0.1),
    vector(`${at}.ssm_norm.weight`, [inner / MAMBA.groups, MAMBA.groups], 1, 0.1),
    matrix(`${at}.ssm_out`, inner, s.hidden),
  ];
}

function mamba1(layer: number, s: Shape): PlannedTensor[] {
  const at = `blk.${layer}`;
  const inner = 2 * s.hidden;
  return [
    norm(`${at}.attn_norm`, s.hidden),
    matrix(`${at}.ssm_in`, s.hidden, 2 * inner),
    vector(`${at}.ssm_conv1d.weight`, [MAMBA.kernel, inner], 0, 0.5),
    bias(`${at}.ssm_conv1d`, inner),
    matrix(`${at}.ssm_x`, inner, MAMBA.rank + 2 * MAMBA.state),
    norm(`${at}.ssm_dt_norm`, MAMBA.rank),
    norm(`${at}.ssm_b_norm`, MAMBA.state),
    norm(`${at}.ssm_c_norm`, MAMBA.state),
    matrix(`${at}.ssm_dt`, MAMBA.rank, inner),
    bias(`${at}.ssm_dt`, inner),
    vector(`${at}.ssm_a`, [MAMBA.state, inner], -1, 0.2),
    vector(`${at}.ssm_d`, [inner], 1, 0.1),
    matrix(`${at}.ssm_out`, inner, s.hidden),
  ];
}

const graniteShape = shape({
  layers: 4,
  hidden: 64,
  experts: 16,
  expertsUsed: 4,
  expertWidth: 64,
  sharedWidth: 64,
  expertTypes: types(GgmlType.Q5_0, GgmlType.Q8_0),
});

const granitehybrid: TinyModelSpec = {
  name: "granitehybrid",
  architecture: "granitehybrid",
  covers: "Granite 4: Mamba-2 in three of four layers, each with routed and shared experts",
  shape: graniteShape,
  metadata: {
    ...mambaMetadata(graniteShape),
    "attention.head_count_kv": u32s([0, 0, 0, graniteShape.kvHeads]),
    logit_scale: f32(2),
    residual_scale: f32(0.5),
    embedding_scale: f32(1.5),
    "attention.scale": f32(0.25),
  },
  block: (layer, s) => [...(layer === 3 ? attention(layer, s) : mamba2(layer, s)), ...feedForward(layer, s)],
  expectedNodes: () => layerNodes({ normalised: true }),
};

/** Each Nemotron block is one thing only: `M` a Mamba layer, `A` attention, `E` experts. */
const NEMOTRON_BLOCKS = "MEAEME";

const nemotronShape = shape({
  layers: NEMOTRON_BLOCKS.length,
  hidden: 64,
  experts: 16,
  expertsUsed: 4,
  expertWidth: 128,
  sharedWidth: 64,
  expertTypes: types(GgmlType.Q8_0),
});

/** A number for each block: the given one for blocks of the kind, 0 for others. */
const perBlock = (kind: string, value: (layer: number) => number) =>
  u32s([...NEMOTRON_BLOCKS].map((block, layer) => (block === kind ? value(layer) : 0)));

const nemotron: TinyModelSpec = {
  name: "nemotron-h-moe",
  architecture: "nemotron_h_moe",
  covers: "no gate matrices (squared ReLU); mixture blocks are blocks of their own, the first is block 1",
  shape: nemotronShape,
  metadata: {
    ...mambaMetadata(nemotronShape),
    "attention.layer_norm_epsilon": f32(1e-5),
    "attention.head_count_kv": perBlock("A", () => nemotronShape.kvHeads),
    feed_forward_length: perBlock("E", () => nemotronShape.expertWidth),
    expert_weights_norm: bool(true),
    expert_weights_scale: f32(2.5),
  },
  block: (layer, s) => {
    if (NEMOTRON_BLOCKS[layer] === "A") return attention(layer, s);
    if (NEMOTRON_BLOCKS[layer] === "M") return mamba2(layer, s);
    return feedForward(layer, s, { norm: "attn_norm", ungated: true, choiceBias: true });
  },
  expectedNodes: () =>
    layerNodes(
      { choiceBias: true, normalised: true, scaled: true },
      { ungated: true, activation: ["ffn_moe_relu_sqr"] },
    ),
  lastBlockComputesAll: true,
};

/** Width of the space that the experts of the big Nemotrons work in. */
const NEMOTRON_LATENT = 32;

const nemotronLatent: TinyModelSpec = {
  ...nemotron,
  name: "nemotron-h-moe-latent",
  covers: "experts in a narrower space than the model's; another number of chosen experts in each layer",
  metadata: {
    ...nemotron.metadata,
    moe_latent_size: u32(NEMOTRON_LATENT),
    expert_used_count: perBlock("E", (layer) => (layer === 3 ? 6 : 3)),
    expert_feed_forward_length: perBlock("E", () => nemotronShape.expertWidth),
  },
  block: (layer, s) => {
    if (NEMOTRON_BLOCKS[layer] !== "E") return nemotron.block(layer, s);
    return [
      matrix(`blk.${layer}.ffn_latent_down`, s.hidden, NEMOTRON_LATENT),
      matrix(`blk.${layer}.ffn_latent_up`, NEMOTRON_LATENT, s.hidden),
      ...feedForward(layer, s, { norm: "attn_norm", ungated: true, choiceBias: true, inputs: NEMOTRON_LATENT }),
    ];
  },
  expertsUsed: (block) => (block === 3 ? 6 : 3),
};

const jambaShape = shape({
  layers: 4,
  hidden: 64,
  experts: 8,
  expertsUsed: 2,
  expertWidth: 96,
  expertTypes: types(GgmlType.F16),
});

const jamba: TinyModelSpec = {
  name: "jamba",
  architecture: "jamba",
  covers: "Mamba-1; experts in every second block, told apart by their tensors alone",
  shape: jambaShape,
  metadata: {
    ...mambaMetadata(jambaShape),
    "ssm.time_step_rank": u32(MAMBA.rank),
    "attention.head_count_kv": u32s([0, 0, jambaShape.kvHeads, 0]),
  },
  block: (layer, s) => [
    ...(layer === 2 ? attention(layer, s) : mamba1(layer, s)),
    // A block counts as dense when all blocks up to it do.
    ...feedForward(layer, layer % 2 === 0 ? { ...s, denseLayers: s.layers } : s),
  ],
  expectedNodes: () => layerNodes(),
};

export const MAMBA_MODELS: readonly TinyModelSpec[] = [granitehybrid, nemotron, nemotronLatent, jamba];
