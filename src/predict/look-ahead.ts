/**
 * The next-gate look-ahead as matrices: what layer l + d's router would say to layer l's router input, if the blocks between
 * added nothing to the residual stream (Mixtral-Offload's guess). Both routers see the stream after a norm, so the quotient
 * of the two norms' weights goes into the matrix; a router's own bias is left out, as in the engine's look-ahead.
 */
import type { RouterWeights } from "../gguf/index.ts";

/**
 * `[experts][hiddenSize + 1]`, the last column 0.
 * @param layer MoE layer whose input it reads
 */
export function lookAhead({ hiddenSize, experts, weights, norms }: RouterWeights, layer: number, distance: number) {
  const router = weights[layer + distance];
  const own = norms[layer];
  const other = norms[layer + distance];
  const matrix = new Float32Array(experts * (hiddenSize + 1));
  for (let expert = 0; expert < experts; expert++)
    for (let i = 0; i < hiddenSize; i++) {
      const quotient = own === undefined || other === undefined ? 1 : own[i] === 0 ? 0 : other[i] / own[i];
      matrix[expert * (hiddenSize + 1) + i] = router[expert * hiddenSize + i] * quotient;
    }
  return matrix;
}
