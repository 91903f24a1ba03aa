/**
 * The model's last part: final norm, output matrix, and the loss of its predictions with the gradient of its input.
 * Works through a batch in chunks of tokens, because logits of all tokens at once would be most of the memory.
 */
import type { FrozenWeights } from "../../llama/frozen-weights.ts";
import { type NativeFloats, nativeFloats } from "../../llama/native-arrays.ts";
import type { Tensor, TensorGraph } from "../../llama/tensor-graph.ts";
import type { TensorMath } from "../../llama/tensor-math.ts";
import type { Wiring } from "./wiring.ts";

/** Shares of the two task losses; both 0 where only routers' own terms are trained. */
export interface TaskWeights {
  /** Cross-entropy with the text's next token. */
  readonly crossEntropy: number;
  /** Divergence of the predictions from those of the model with its original routers. */
  readonly distillation: number;
}

/** Sums over the tokens that have a next one, in nats. */
export interface HeadLosses {
  crossEntropy: number;
  /** KL(original || this); 0 where it was not asked for. */
  divergence: number;
}

export interface HeadInput {
  readonly tokens: number;
  /** Address of the last layer's output, `[hidden, tokens]`. */
  readonly state: number;
  /** The same of the model with its original routers, where divergence is wanted. */
  readonly originalState?: number | undefined;
  /** The true next token, -1 where there is none. */
  readonly next: Int32Array;
}

/** Bytes of logits and their kin of one chunk. */
const CHUNK_BYTES = 2 ** 26;
/** A share below a float's normal range: what an impossible token's loss is taken from. */
const SMALLEST_SHARE = 1e-37;

export class LanguageHead implements Disposable {
  readonly #math: TensorMath;
  readonly #wiring: Wiring;
  readonly #norm: Float32Array;
  readonly #normWeights: NativeFloats;
  /** `[hidden, vocabulary]` and `[vocabulary, hidden]`: float32, and kept, because every chunk needs both. */
  readonly #matrix: NativeFloats;
  readonly #transposed: NativeFloats;
  readonly #chunkTokens: number;
  readonly #logits: NativeFloats;
  readonly #shares: NativeFloats;
  readonly #original: { readonly logits: NativeFloats; readonly shares: NativeFloats; readonly gap: NativeFloats };
  readonly #factors: NativeFloats;

  constructor(math: TensorMath, weights: FrozenWeights, wiring: Wiring, tokens: number, withOriginal: boolean) {
    const { hidden, vocabulary } = wiring;
    this.#math = math;
    this.#wiring = wiring;
    this.#norm = weights.floats(wiring.outputNorm);
    this.#normWeights = nativeFloats(hidden);
    this.#normWeights.values.set(this.#norm);
    this.#matrix = nativeFloats(hidden * vocabulary);
    this.#transposed = nativeFloats(hidden * vocabulary);
    weights.begin(weights.bytesOf(wiring.head));
    math.compute((graph) => {
      // A factor of 1 makes a node of what may be an input, so that it can be placed.
      const matrix = graph.into(this.#matrix.address, graph.scaled(weights.matrix(graph, wiring.head), 1));
      graph.into(this.#transposed.address, graph.transposed(matrix));
    });
    this.#chunkTokens = Math.max(1, Math.min(tokens, Math.floor(CHUNK_BYTES / (vocabulary * 4))));
    const chunk = this.#chunkTokens * vocabulary;
    this.#logits = nativeFloats(chunk);
    this.#shares = nativeFloats(chunk);
    this.#original = {
      logits: nativeFloats(withOriginal ? chunk : 0),
      shares: nativeFloats(withOriginal ? chunk : 0),
      gap: nativeFloats(this.#chunkTokens),
    };
    this.#factors = nativeFloats(this.#chunkTokens);
  }

  /** Bytes that a head of this size keeps. */
  static bytes({ hidden, vocabulary }: Wiring, tokens: number, withOriginal: boolean): number {
    const chunk = Math.max(1, Math.min(tokens, Math.floor(CHUNK_BYTES / (vocabulary * 4)))) * vocabulary * 4;
    return hidden * vocabulary * 8 + chunk * (withOriginal ? 6 : 3);
  }

  /**
   * @param gradient where the gradient of `state` is put, and what for: each token's loss times `factor`, mixed as
   *   `weights` says. Without it only losses are computed.
   */
  losses(
    input: HeadInput,
    gradient?: { readonly address: number; readonly factor: number; readonly weights: TaskWeights },
  ): HeadLosses {
    const losses: HeadLosses = { crossEntropy: 0, divergence: 0 };
    for (let from = 0; from < input.tokens; from += this.#chunkTokens) {
      const tokens = Math.min(this.#chunkTokens, input.tokens - from);
      this.#forward(input, from, tokens);
      this.#addLosses(input, from, tokens, losses);
      if (gradient !== undefined) this.#backward(input, from, tokens, gradient);
    }
    return losses;
  }

  /** `[tokens][vocabulary]`: for small batches. */
  logits(input: HeadInput): Float32Array {
    const { vocabulary } = this.#wiring;
    const all = new Float32Array(input.tokens * vocabulary);
    for (let from = 0; from < input.tokens; from += this.#chunkTokens) {
      const tokens = Math.min(this.#chunkTokens, input.tokens - from);
      this.#forward(input, from, tokens);
      all.set(this.#logits.values.subarray(0, tokens * vocabulary), from * vocabulary);
    }
    return all;
  }

  [Symbol.dispose](): void {
    const { logits, shares, gap } = this.#original;
    for (const memory of [
      this.#normWeights,
      this.#matrix,
      this.#transposed,
      this.#logits,
      this.#shares,
      logits,
      shares,
      gap,
      this.#factors,
    ])
      memory[Symbol.dispose]();
  }

  #forward({ state, originalState }: HeadInput, from: number, tokens: number): void {
    const { hidden, vocabulary, epsilon } = this.#wiring;
    this.#math.compute((graph) => {
      const matrix = graph.input(this.#matrix.address, [hidden, vocabulary]);
      const logitsOf = (address: number): Tensor => {
        const rows = graph.input(address + from * hidden * 4, [hidden, tokens]);
        return graph.product(matrix, graph.multiply(graph.rmsNorm(rows, epsilon), this.#normNode(graph)));
      };
      const logits = graph.into(this.#logits.address, logitsOf(state));
      graph.into(this.#shares.address, graph.softmax(logits));
      if (originalState === undefined) return;
      const original = graph.into(this.#original.logits.address, logitsOf(originalState));
      const shares = graph.into(this.#original.shares.address, graph.softmax(original));
      const gap = graph.sumRows(graph.multiply(shares, graph.subtract(original, logits)));
      graph.into(this.#original.gap.address, gap);
    });
  }

  #addLosses({ next, originalState }: HeadInput, from: number, tokens: number, losses: HeadLosses): void {
    const { vocabulary } = this.#wiring;
    for (let t = 0; t < tokens; t++) {
      const token = next[from + t];
      if (token < 0) continue;
      losses.crossEntropy -= Math.log(Math.max(this.#shares.values[t * vocabulary + token], SMALLEST_SHARE));
      if (originalState === undefined) continue;
      // sum p0 (log p0 - log p) = sum p0 (z0 - z) + logsumexp(z) - logsumexp(z0)
      const row = t * vocabulary;
      const normaliser = (logits: Float32Array, shares: Float32Array) => {
        const likely = largestIndex(shares, row, vocabulary);
        return logits[row + likely] - Math.log(shares[row + likely]);
      };
      losses.divergence +=
        this.#original.gap.values[t] +
        normaliser(this.#logits.values, this.#shares.values) -
        normaliser(this.#original.logits.values, this.#original.shares.values);
    }
  }

  #backward(
    { state, next }: HeadInput,
    from: number,
    tokens: number,
    gradient: { readonly address: number; readonly factor: number; readonly weights: TaskWeights },
  ): void {
    const { hidden, vocabulary, epsilon } = this.#wiring;
    const { crossEntropy, distillation } = gradient.weights;
    for (let t = 0; t < tokens; t++) {
      const token = next[from + t];
      this.#factors.values[t] = token < 0 ? 0 : gradient.factor;
      if (token >= 0 && crossEntropy !== 0) {
        // (a + b) p - a [true token] - b p0, divided by a + b, which goes into the factor.
        this.#shares.values[t * vocabulary + token] -= crossEntropy / (crossEntropy + distillation);
      }
      this.#factors.values[t] *= crossEntropy + distillation;
    }
    this.#math.compute((graph) => {
      let dLogits = graph.input(this.#shares.address, [vocabulary, tokens]);
      if (distillation !== 0) {
        const original = graph.input(this.#original.shares.address, [vocabulary, tokens]);
        dLogits = graph.subtract(dLogits, graph.scaled(original, distillation / (crossEntropy + distillation)));
      }
      const transposed = graph.input(this.#transposed.address, [vocabulary, hidden]);
      const factors = graph.input(this.#factors.address, [1, tokens]);
      const dNormed = graph.multiply(graph.product(transposed, dLogits), factors);
      const rows = graph.input(state + from * hidden * 4, [hidden, tokens]);
      graph.into(
        gradient.address + from * hidden * 4,
        graph.rmsNormGradient(graph.multiply(dNormed, this.#normNode(graph)), rows, epsilon),
      );
    });
  }

  #normNode(graph: TensorGraph): Tensor {
    return graph.input(this.#normWeights.address, [this.#wiring.hidden]);
  }
}

function largestIndex(values: Float32Array, from: number, count: number): number {
  let best = 0;
  for (let i = 1; i < count; i++) if (values[from + i] > values[from + best]) best = i;
  return best;
}
