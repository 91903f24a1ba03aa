/**
 * What the next layer's router would say to a recorded layer's state: the arithmetic of `llama/next-gate.ts` on a trace's
 * routers' inputs and the routers of the traced model's file, in plain JavaScript. A sample at a time, layer by layer, so
 * that a router's weights stay in the processor's cache.
 */
import type { RouterWeights } from "../gguf/router-tensors.ts";
import type { TraceSample } from "../trace/trace.ts";

/** How far the mean square of a recorded input over its norm's weights may be from 1: it is 1 by the norm's definition. */
const NORM_TOLERANCE = 0.1;

/** Undefined: not looked at yet; null: the layer's input is not the product with a norm of the file. */
type Ratio = Float32Array | null | undefined;

export class RecordedNextGate {
  readonly #routers: RouterWeights;
  /** By layer, the quotient of the next layer's norm weights and its own. */
  readonly #ratios: Ratio[] = [];
  readonly #scaled: Float32Array;

  constructor(routers: RouterWeights) {
    this.#routers = routers;
    this.#scaled = new Float32Array(routers.hiddenSize);
  }

  /** Layers that are predicted: all but the first. */
  get predicted(): number {
    return this.#routers.weights.length - 1;
  }

  /**
   * Writes the raw scores that layer + 1 gives to the sample's tokens in `layer`.
   * @param into `[tokens][predicted][experts]` of the whole sample
   */
  layer(sample: TraceSample, layer: number, into: Float32Array): void {
    const { hidden, length } = sample;
    const { hiddenSize, experts, weights } = this.#routers;
    if (hidden === undefined) return;
    const layers = weights.length;
    const router = weights[layer + 1];
    for (let token = 0; token < length; token++) {
      const input = hidden.subarray((token * layers + layer) * hiddenSize, (token * layers + layer + 1) * hiddenSize);
      const scaled = this.#scale(layer, input);
      const to = (token * this.predicted + layer) * experts;
      for (let expert = 0; expert < experts; expert++) into[to + expert] = dot(router, expert * hiddenSize, scaled);
    }
  }

  #scale(layer: number, input: Float32Array): Float32Array {
    if (this.#ratios[layer] === undefined) this.#ratios[layer] = this.#ratio(layer, input);
    const ratio = this.#ratios[layer];
    if (!ratio) return input;
    const scaled = this.#scaled;
    for (let i = 0; i < scaled.length; i++) scaled[i] = input[i] * ratio[i];
    return scaled;
  }

  /** The engine sees in the graph whether a norm's weights made the input; here the input itself must tell. */
  #ratio(layer: number, input: Float32Array): Float32Array | null {
    const { hiddenSize, norms } = this.#routers;
    const from = norms[layer];
    const to = norms[layer + 1];
    if (from === undefined || to === undefined) return null;
    let squares = 0;
    for (let i = 0; i < hiddenSize; i++) if (from[i] !== 0) squares += (input[i] / from[i]) ** 2;
    if (Math.abs(squares / hiddenSize - 1) > NORM_TOLERANCE) return null;
    return Float32Array.from(from, (weight, i) => (weight === 0 ? 0 : to[i] / weight));
  }
}

/** Four sums side by side: one alone would wait for each of its own additions. */
function dot(matrix: Float32Array, row: number, vector: Float32Array): number {
  const { length } = vector;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < length; i += 4) {
    a += matrix[row + i] * vector[i];
    b += matrix[row + i + 1] * vector[i + 1];
    c += matrix[row + i + 2] * vector[i + 2];
    d += matrix[row + i + 3] * vector[i + 3];
  }
  for (; i < length; i++) a += matrix[row + i] * vector[i];
  return a + b + c + d;
}
