/**
 * The names that llama.cpp v0.5.0 gives the nodes of a mixture layer, in the order of its graph
 * (src/llama-graph.cpp, `build_moe_ffn`), put together from what an architecture's router and experts have. The engine
 * stops at some of these nodes, so the tests hold every tiny model's real graph against its list.
 */
/** Nodes from the router's logits to the weights of the chosen experts. */
export function routerNodes(parts = {}) {
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
/**
 * Nodes from the first expert product to the weighted outputs. A product reads `name(tensor)`; where a factor follows,
 * the name is left out, since llama.cpp then calls the product `node_` and a number.
 */
export function expertNodes(parts = {}) {
  const { activation = [parts.clamped ? "ffn_moe_swiglu_limited" : "ffn_moe_swiglu"], suffix = "exps" } = parts;
  const product = (kind) => {
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
export const layerNodes = (router = {}, experts = {}) => [
  ...routerNodes(router),
  ...expertNodes(experts),
  "ffn_moe_out",
];
