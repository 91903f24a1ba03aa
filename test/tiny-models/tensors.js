/**
 * The tensors that architectures have in common, as plans: name, shape, type and the distribution of their values.
 * Names and shapes are those that llama.cpp's loaders ask for (src/models/*.cpp, `load_arch_tensors`). Scales keep
 * activations around 1: a matrix's values deviate by 1/sqrt(inputs), a norm's are near 1.
 */
import { GgmlType } from "../../src/gguf/index.js";
import { VOCABULARY_SIZE } from "./vocabulary.js";
/**
 * A weight matrix, or a stack of `count` matrices. Without a type it is Q8_0, or F16 where rows are not whole blocks.
 * `gain` is how much stronger than its input the output is.
 */
export function matrix(name, inputs, outputs, options = {}) {
  const { type = inputs % 32 === 0 ? GgmlType.Q8_0 : GgmlType.F16, count, gain = 1 } = options;
  const shape = count === undefined ? [inputs, outputs] : [inputs, outputs, count];
  return { name: `${name}.weight`, shape, type, mean: 0, deviation: gain / Math.sqrt(inputs) };
}
/** A vector of multipliers near 1, such as an RMS norm's weights. */
export const norm = (name, width) => vector(`${name}.weight`, [width], 1, 0.1);
export const bias = (name, width) => vector(`${name}.bias`, [width], 0, 0.1);
/** A small tensor in F32, the only type that llama.cpp takes for norms, biases and the like. */
export function vector(name, shape, mean, deviation) {
  return { name, shape, type: GgmlType.F32, mean, deviation };
}
/** Embedding, final norm and output matrix. */
export function embeddings(shape, options = {}) {
  const { tiedDeviation, finalNorm = "output_norm" } = options;
  return [
    { ...matrix("token_embd", shape.hidden, VOCABULARY_SIZE), deviation: tiedDeviation ?? 1 },
    norm(finalNorm, shape.hidden),
    ...(tiedDeviation === undefined ? [matrix("output", shape.hidden, VOCABULARY_SIZE, { gain: 2 })] : []),
  ];
}
/** Grouped-query attention with its input norm. */
export function attention(layer, shape, options = {}) {
  const { hidden, heads, kvHeads, headSize } = shape;
  const at = `blk.${layer}`;
  const queries = heads * headSize;
  const keys = kvHeads * headSize;
  const tensors = [norm(`${at}.attn_norm`, hidden), matrix(`${at}.attn_output`, queries, hidden)];
  if (options.fused) tensors.push(matrix(`${at}.attn_qkv`, hidden, queries + 2 * keys));
  else {
    tensors.push(
      matrix(`${at}.attn_q`, hidden, options.gatedQuery ? 2 * queries : queries),
      matrix(`${at}.attn_k`, hidden, keys),
      matrix(`${at}.attn_v`, hidden, keys),
    );
  }
  if (options.biases) {
    tensors.push(bias(`${at}.attn_q`, queries), bias(`${at}.attn_k`, keys), bias(`${at}.attn_v`, keys));
  }
  if (options.outputBias) tensors.push(bias(`${at}.attn_output`, hidden));
  if (options.queryKeyNorms) {
    const perHead = options.queryKeyNorms === "per head";
    tensors.push(
      norm(`${at}.attn_q_norm`, perHead ? headSize : queries),
      norm(`${at}.attn_k_norm`, perHead ? headSize : keys),
    );
  }
  return tensors;
}
