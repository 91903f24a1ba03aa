/**
 * Architectures whose graph does not go router, experts, weights: traps for an engine that believes in node names and
 * their order.
 */
import { GgmlType } from "../../../src/gguf/index.js";
import { expertNodes, layerNodes, routerNodes } from "../expected-nodes.js";
import { denseFfn, feedForward, routedExperts } from "../feed-forward.js";
import { f32, u32 } from "../metadata.js";
import { shape, types } from "../shape.js";
import { attention, matrix, norm } from "../tensors.js";

const llama4 = {
  name: "llama4",
  architecture: "llama4",
  covers: "weights go on the experts' input; one expert a token; mixture in every second layer",
  shape: shape({
    layers: 4,
    hidden: 64,
    experts: 8,
    expertsUsed: 1,
    expertWidth: 96,
    denseWidth: 128,
    sharedWidth: 96,
    expertTypes: types(GgmlType.Q5_0),
  }),
  metadata: { interleave_moe_layer_step: u32(2) },
  block: (layer, s) => [
    ...attention(layer, s),
    ...(layer % 2 === 0
      ? [norm(`blk.${layer}.ffn_norm`, s.hidden), ...denseFfn(layer, s.hidden, s.denseWidth)]
      : feedForward(layer, s)),
  ],
  expectedNodes: () => [
    ...routerNodes(),
    ...expertNodes({ weightsFirst: true }),
    "ffn_moe_out",
    "ffn_moe_shexp",
    "ffn_moe_out_merged",
  ],
};
const smallthinker = {
  name: "smallthinker",
  architecture: "smallthinker",
  covers: "the router looks at the block's input, before attention; ReLU experts",
  shape: shape({
    layers: 4,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    expertTypes: types(GgmlType.Q4_0),
  }),
  metadata: { expert_gating_func: u32(2) },
  block: (layer, s) => [...attention(layer, s), ...feedForward(layer, s)],
  expectedNodes: () => [...routerNodes({ normalised: true }), ...expertNodes({ activation: ["ffn_moe_reglu"] })],
};
/** Grove's adjugate experts, one for each two routed ones. They stay in memory, since a token takes up to half of them. */
const GROVE = { expertsPerGroup: 2, width: 32 };
const grovemoe = {
  name: "grovemoe",
  architecture: "grovemoe",
  covers: "two expert products with a router each in every layer, the second over smaller experts that groups share",
  shape: shape({
    layers: 3,
    hidden: 64,
    experts: 16,
    expertsUsed: 4,
    expertWidth: 64,
    expertTypes: types(GgmlType.Q8_0),
  }),
  metadata: {
    expert_chunk_feed_forward_length: u32(GROVE.width),
    expert_group_scale: f32(0.5),
    experts_per_group: u32(GROVE.expertsPerGroup),
  },
  block: (layer, s) => {
    const groups = { count: s.experts / GROVE.expertsPerGroup };
    return [
      ...attention(layer, s, { queryKeyNorms: "per head" }),
      ...feedForward(layer, s),
      matrix(`blk.${layer}.ffn_gate_chexps`, s.hidden, GROVE.width, groups),
      matrix(`blk.${layer}.ffn_up_chexps`, s.hidden, GROVE.width, groups),
      matrix(`blk.${layer}.ffn_down_chexps`, GROVE.width, s.hidden, groups),
    ];
  },
  expectedNodes: () => [
    ...layerNodes({ choiceBias: true, normalised: true }),
    ...routerNodes({ logitsGiven: true, choiceBias: true, normalised: true }),
    ...expertNodes({ suffix: "chexps" }),
  ],
};
const arctic = {
  name: "arctic",
  architecture: "arctic",
  covers: "experts work on the block's input while a dense network works behind attention",
  shape: shape({
    layers: 3,
    hidden: 64,
    experts: 16,
    expertsUsed: 2,
    expertWidth: 96,
    expertTypes: types(GgmlType.F16),
  }),
  block: (layer, s) => [
    ...attention(layer, s),
    norm(`blk.${layer}.ffn_norm`, s.hidden),
    ...denseFfn(layer, s.hidden, s.hidden),
    norm(`blk.${layer}.ffn_norm_exps`, s.hidden),
    ...routedExperts(layer, s),
  ],
  expectedNodes: () => layerNodes({ normalised: true }),
};
export const UNUSUAL_MODELS = [llama4, smallthinker, grovemoe, arctic];
