/**
 * The names that llama.cpp v0.5.0 gives the nodes of a mixture layer, in the order of its graph
 * (src/llama-graph.cpp, `build_moe_ffn`), put together from what an architecture's router and experts have. The engine
 * stops at some of these nodes, so the tests hold every tiny model's real graph against its list.
 */

export interface RouterParts {
  /** A bias added before choosing, not before weighing. @default false */
  readonly choiceBias?: boolean;
  /** Choice limited to the best groups of experts. @default false */
  readonly groups?: boolean;
  /** The softmax runs over the chosen experts only. @default false */
  readonly softmaxOfChosen?: boolean;
  /** The chosen weights are made to sum up to 1. @default false */
  readonly normalised?: boolean;
  /** The weights are multiplied with a constant other than 1. @default false */
  readonly scaled?: boolean;
  /** Experts come out of a table, by token: nothing is sorted. @default false */
  readonly choiceFromTable?: boolean;
  /** The logits come from a router that already ran in this layer. @default false */
  readonly logitsGiven?: boolean;
}

/** Nodes from the router's logits to the weights of the chosen experts. */
export function routerNodes(parts: RouterParts = {}): string[] {
  return [
    ...(parts.logitsGiven ? [] : ["ffn_moe_logits"]),
    "ffn_moe_probs",
    ...(parts.choiceBias ? ["ffn_moe_probs_biased"] : []),
    ...(parts.groups ? ["ffn_moe_group_topk", "ffn_moe_probs_masked"] : []),
    ...(parts.choiceFromTable ? [] : ["ffn_moe_argsort"]),
    "ffn_moe_topk",
    "ffn_moe_weights",
    ...(parts.softmaxOfChosen ? ["ffn_moe_weights_softmax"] : []),
    ...(parts.normalised ? ["ffn_moe_weights_sum", "ffn_moe_weights_sum_clamped", "ffn_moe_weights_norm"] : []),
    ...(parts.scaled ? ["ffn_moe_weights_scaled"] : []),
  ];
}

export interface ExpertParts {
  /** The nodes between the gate and up products and the down product. @default ["ffn_moe_swiglu"] */
  readonly activation?: readonly string[];
  /** Gate and up are limited, each right behind its product. @default false */
  readonly clamped?: boolean;
  /** Gate and up come out of one product. @default false */
  readonly fusedGateUp?: boolean;
  /** There is no gate product. @default false */
  readonly ungated?: boolean;
  /** A bias follows each product. @default false */
  readonly biases?: boolean;
  /** Matrices whose product is multiplied with a factor per expert, which takes the product's name. @default none */
  readonly scales?: readonly ("gate" | "up" | "down")[];
  /** Weights go on the experts' input instead of their output. @default false */
  readonly weightsFirst?: boolean;
  /** How the tensors' names end. @default "exps" */
  readonly suffix?: "exps" | "chexps";
}

/**
 * Nodes from the first expert product to the weighted outputs. A product reads `name(tensor)`; where a factor follows,
 * the name is left out, since llama.cpp then calls the product `node_` and a number.
 */
export function expertNodes(parts: ExpertParts = {}): string[] {
  const { activation = [parts.clamped ? "ffn_moe_swiglu_limited" : "ffn_moe_swiglu"], suffix = "exps" } = parts;
  const product = (kind: "gate" | "up" | "down") => {
    const scaled = parts.scales?.includes(kind) ?? false;
    return [
      `${scaled ? "" : `ffn_moe_${kind}`}(ffn_${kind}_${suffix})`,
      ...(scaled ? [`ffn_moe_${kind}_scaled`] : []),
      ...(parts.biases ? [`ffn_moe_${kind}_biased`] : []),
    ];
  };
  // The names of a fused product's halves are views into its result: they compute nothing.
  const gateUp = parts.fusedGateUp
    ? ["ffn_moe_gate_up(ffn_gate_up_exps)", "ffn_moe_gate", "ffn_moe_up"]
    : [
        ...(parts.ungated ? [] : product("gate")),
        ...(parts.clamped ? ["ffn_moe_silu", "ffn_moe_silu_clamped"] : []),
        ...product("up"),
        ...(parts.clamped ? ["ffn_moe_up_clamped"] : []),
      ];
  return [
    ...(parts.weightsFirst ? ["ffn_moe_weighted"] : []),
    ...gateUp,
    ...activation,
    ...product("down"),
    ...(parts.weightsFirst ? [] : ["ffn_moe_weighted"]),
  ];
}

/** A whole layer as most architectures have it. */
export const layerNodes = (router: RouterParts = {}, experts: ExpertParts = {}): string[] => [
  ...routerNodes(router),
  ...expertNodes(experts),
  "ffn_moe_out",
];
