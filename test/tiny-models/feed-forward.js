/**
 * The feed-forward part of a block, as plans: a dense network, or a router with its experts and perhaps a shared one.
 */
import { GgmlType } from "../../src/gguf/index.js";
import { bias, matrix, norm, vector } from "./tensors.js";
/** Gate, up and down of a dense network. */
export function denseFfn(layer, hidden, width) {
  return network(`blk.${layer}.ffn_`, "", hidden, width);
}
/** Router and routed experts, each kind of matrix in one stacked tensor of its own type. */
export function routedExperts(layer, shape, options = {}) {
  const { hidden, experts, expertWidth } = shape;
  const at = `blk.${layer}`;
  const inputs = options.inputs ?? hidden;
  const types = shape.expertTypes(layer);
  const stack = (name, from, to, type) => matrix(`${at}.ffn_${name}_exps`, from, to, { type, count: experts });
  const tensors = [
    // Logits that deviate by 2 make choices clear, yet different from token to token.
    matrix(`${at}.ffn_gate_inp`, hidden, experts, { gain: 2, type: GgmlType.F32 }),
    stack("down", expertWidth, inputs, types.down),
  ];
  if (options.fusedGateUp) tensors.push(stack("gate_up", inputs, 2 * expertWidth, types.up));
  else {
    tensors.push(stack("up", inputs, expertWidth, types.up));
    if (!options.ungated) tensors.push(stack("gate", inputs, expertWidth, types.gate));
  }
  if (options.biases) {
    tensors.push(
      bias(`${at}.ffn_gate_inp`, experts),
      vector(`${at}.ffn_gate_exps.bias`, [expertWidth, experts], 0, 0.1),
      vector(`${at}.ffn_up_exps.bias`, [expertWidth, experts], 0, 0.1),
      vector(`${at}.ffn_down_exps.bias`, [inputs, experts], 0, 0.1),
    );
  }
  if (options.choiceBias) tensors.push(bias(`${at}.exp_probs_b`, experts));
  for (const scaled of options.scales ?? []) tensors.push(vector(`${at}.ffn_${scaled}_exps.scale`, [experts], 1, 0.2));
  return tensors;
}
/**
 * What most architectures have behind attention: a norm, then a dense network in the first `denseLayers` blocks, and
 * routed experts in the others, with a shared one if the shape has a width for it.
 */
export function feedForward(layer, shape, options = {}) {
  const { hidden, denseLayers, denseWidth, sharedWidth } = shape;
  const at = `blk.${layer}`;
  const before = norm(`${at}.${options.norm ?? "ffn_norm"}`, hidden);
  if (layer < denseLayers) return [before, ...denseFfn(layer, hidden, denseWidth)];
  const tensors = [before, ...routedExperts(layer, shape, options)];
  if (sharedWidth > 0) tensors.push(...network(`${at}.ffn_`, "_shexp", hidden, sharedWidth, options.ungated));
  if (options.gatedShared) tensors.push(vector(`${at}.ffn_gate_inp_shexp.weight`, [hidden], 0, 1 / Math.sqrt(hidden)));
  return tensors;
}
function network(prefix, suffix, hidden, width, ungated = false) {
  return [
    ...(ungated ? [] : [matrix(`${prefix}gate${suffix}`, hidden, width)]),
    matrix(`${prefix}up${suffix}`, hidden, width),
    matrix(`${prefix}down${suffix}`, width, hidden),
  ];
}
