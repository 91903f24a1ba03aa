/**
 * The attention block of one layer as a ggml graph, and its gradient written out by hand from ggml operations: ggml's own
 * automatic backward ends the process on a node that it has no rule for, and repeats products that are not needed. Each
 * sequence attends to itself alone. What lies behind the block (norm, router, experts) is not here.
 */
import type { FrozenWeights } from "../../llama/frozen-weights.ts";
import type { Tensor, TensorGraph } from "../../llama/tensor-graph.ts";
import type { LayerTensors, Wiring } from "./wiring.ts";

/** Tokens of a sequence within a batch: rows `from` to `from + tokens - 1` of `[hidden, tokens]` matrices. */
export interface Span {
  readonly from: number;
  readonly tokens: number;
}

/** Addresses of what attention needs beside weights. */
export interface AttentionInputs {
  /** 0, 1, 2, ... as int32, at least as many as the longest sequence has tokens. */
  readonly positions: number;
  /** Of a number of tokens: `[tokens][tokens]` floats, 0 up to the diagonal and minus infinity behind it. */
  readonly causalMask: (tokens: number) => number;
}

/** Bytes of the block's matrices, for `FrozenWeights.begin`. */
export function attentionBytes(weights: FrozenWeights, layer: LayerTensors): number {
  const { query, key, value, output } = layer;
  return [query, key, value, output].reduce((sum, tensor) => sum + weights.bytesOf(tensor), 0);
}

/** The layer's attention weights as nodes of one graph, read once for all its sequences. */
export class AttentionGraph {
  readonly #graph: TensorGraph;
  readonly #wiring: Wiring;
  readonly #inputs: AttentionInputs;
  readonly #norm: Tensor;
  readonly #feedForwardNorm: Tensor;
  readonly #query: Tensor;
  readonly #key: Tensor;
  readonly #value: Tensor;
  readonly #output: Tensor;
  readonly #biases: Readonly<Record<"query" | "key" | "value" | "output", Tensor | undefined>>;
  readonly #queryNorm: Tensor | undefined;
  readonly #keyNorm: Tensor | undefined;
  readonly #ropeFactors: Tensor | undefined;

  constructor(
    graph: TensorGraph,
    weights: FrozenWeights,
    wiring: Wiring,
    layer: LayerTensors,
    inputs: AttentionInputs,
  ) {
    this.#graph = graph;
    this.#wiring = wiring;
    this.#inputs = inputs;
    const vector = (tensor: LayerTensors["queryBias"]) =>
      tensor === undefined ? undefined : weights.vector(graph, tensor);
    this.#norm = weights.vector(graph, layer.attentionNorm);
    this.#feedForwardNorm = weights.vector(graph, layer.feedForwardNorm);
    this.#query = weights.matrix(graph, layer.query);
    this.#key = weights.matrix(graph, layer.key);
    this.#value = weights.matrix(graph, layer.value);
    this.#output = weights.matrix(graph, layer.output);
    this.#biases = {
      query: vector(layer.queryBias),
      key: vector(layer.keyBias),
      value: vector(layer.valueBias),
      output: vector(layer.outputBias),
    };
    this.#queryNorm = vector(layer.queryNorm);
    this.#keyNorm = vector(layer.keyNorm);
    this.#ropeFactors = vector(wiring.ropeFactors);
  }

  /** Computes the residual stream behind attention, `mid`, from the layer's input `x`, both `[hidden, tokens]`. */
  forward(span: Span, x: number, mid: number): void {
    const graph = this.#graph;
    const { hidden, heads, keyHeads, headSize } = this.#wiring;
    const { tokens } = span;
    const input = graph.input(x, [hidden, tokens]);
    const { query, key, value } = this.#projected(input, tokens);
    const shares = this.#shares(query, key, tokens);
    const values = graph.permuted(graph.reshaped(value, [headSize, keyHeads, tokens]), [1, 2, 0, 3]);
    const mixed = graph.permuted(graph.product(values, shares), [0, 2, 1, 3]);
    const joined = graph.reshaped(mixed, [headSize * heads, tokens]);
    const output = this.#biased(graph.product(this.#output, joined), "output");
    graph.into(mid, graph.add(output, input));
  }

  /**
   * Turns the gradients of what follows into that of the layer's input.
   * @param addresses `x` and `mid` of the forward pass; `gradient` of the residual stream behind the experts, replaced by
   *   that of `x`; `inner` of the normed input of router and experts; all `[hidden, tokens]`
   */
  backward(
    span: Span,
    addresses: { readonly x: number; readonly mid: number; readonly gradient: number; readonly inner: number },
  ): void {
    const graph = this.#graph;
    const { hidden, heads, keyHeads, headSize, epsilon, attentionScale } = this.#wiring;
    const { tokens } = span;
    const group = heads / keyHeads;
    const rows = (address: number) => graph.input(address, [hidden, tokens]);
    const input = rows(addresses.x);
    const dMid = graph.add(
      rows(addresses.gradient),
      graph.rmsNormGradient(graph.multiply(rows(addresses.inner), this.#feedForwardNorm), rows(addresses.mid), epsilon),
    );

    const projected = this.#projected(input, tokens);
    const { query, key, value } = projected;
    const shares = this.#shares(query, key, tokens);
    const byHead = (a: Tensor, count: number) =>
      graph.permuted(graph.reshaped(a, [headSize, count, tokens]), [0, 2, 1, 3]);
    const dMixed = byHead(graph.product(graph.transposed(this.#output), dMid), heads);
    const dShares = graph.product(byHead(value, keyHeads), dMixed);
    const dScores = graph.softmaxGradient(dShares, shares, attentionScale);
    const dQuery = graph.product(graph.transposed(key), dScores);
    // Query heads that share a key head lie next to each other, so joining them with the queries sums over both.
    const joined = (a: Tensor, inner: number) => graph.reshaped(a, [inner, tokens * group, keyHeads]);
    // The long rows first and the small result transposed: four times as fast as rows of a head's 32 values.
    const summed = (long: Tensor, short: Tensor) =>
      graph.transposed(graph.outerProduct(joined(long, tokens), joined(short, headSize)));
    const dKey = summed(dScores, query);
    const dValue = summed(shares, dMixed);

    const { queryBefore, keyBefore } = projected;
    const dQueryBefore = this.#unturned(dQuery, queryBefore, this.#queryNorm, heads, tokens);
    const dKeyBefore = this.#unturned(dKey, keyBefore, this.#keyNorm, keyHeads, tokens);
    const dValueBefore = graph.reshaped(graph.permuted(dValue, [0, 2, 1, 3]), [headSize * keyHeads, tokens]);
    const dNormed = graph.add(
      graph.add(
        graph.product(graph.transposed(this.#query), dQueryBefore),
        graph.product(graph.transposed(this.#key), dKeyBefore),
      ),
      graph.product(graph.transposed(this.#value), dValueBefore),
    );
    const dInput = graph.rmsNormGradient(graph.multiply(dNormed, this.#norm), input, epsilon);
    graph.into(addresses.gradient, graph.add(dMid, dInput));
  }

  /** Queries and keys, turned, `[headSize, tokens, heads]`; before norm and turn; values `[headSize * keyHeads, tokens]`. */
  #projected(input: Tensor, tokens: number) {
    const graph = this.#graph;
    const { epsilon, heads, keyHeads } = this.#wiring;
    const normed = graph.multiply(graph.rmsNorm(input, epsilon), this.#norm);
    const queryBefore = this.#biased(graph.product(this.#query, normed), "query");
    const keyBefore = this.#biased(graph.product(this.#key, normed), "key");
    return {
      queryBefore,
      keyBefore,
      query: this.#turned(queryBefore, this.#queryNorm, heads, tokens),
      key: this.#turned(keyBefore, this.#keyNorm, keyHeads, tokens),
      value: this.#biased(graph.product(this.#value, normed), "value"),
    };
  }

  /** The attention's distribution, `[keys, queries, heads]`. */
  #shares(query: Tensor, key: Tensor, tokens: number): Tensor {
    const graph = this.#graph;
    const mask = graph.input(this.#inputs.causalMask(tokens), [tokens, tokens]);
    return graph.softmax(graph.product(key, query), { scale: this.#wiring.attentionScale, mask });
  }

  #turned(before: Tensor, norm: Tensor | undefined, heads: number, tokens: number): Tensor {
    const graph = this.#graph;
    const { headSize, rope, epsilon } = this.#wiring;
    let value = this.#normShape(before, heads, tokens);
    if (norm !== undefined) value = graph.multiply(graph.rmsNorm(value, epsilon), norm);
    const byToken = graph.reshaped(value, [headSize, heads, tokens]);
    const positions = graph.integers(this.#inputs.positions, tokens);
    return graph.permuted(graph.rope(byToken, positions, this.#ropeFactors, rope), [0, 2, 1, 3]);
  }

  /** The gradient of `before`, `[headSize * heads, tokens]`, from that of `#turned`. */
  #unturned(gradient: Tensor, before: Tensor, norm: Tensor | undefined, heads: number, tokens: number): Tensor {
    const graph = this.#graph;
    const { headSize, rope, epsilon } = this.#wiring;
    const byToken = graph.permuted(gradient, [0, 2, 1, 3]);
    const positions = graph.integers(this.#inputs.positions, tokens);
    let value = graph.ropeGradient(byToken, positions, this.#ropeFactors, rope);
    if (norm !== undefined) {
      const scaled = graph.multiply(this.#normShape(value, heads, tokens), norm);
      value = graph.rmsNormGradient(scaled, this.#normShape(before, heads, tokens), epsilon);
    }
    return graph.reshaped(value, [headSize * heads, tokens]);
  }

  /** Rows are what a norm of queries or keys is taken over. */
  #normShape(a: Tensor, heads: number, tokens: number): Tensor {
    const { headSize, queryKeyNorms } = this.#wiring;
    return this.#graph.reshaped(
      a,
      queryKeyNorms === "all heads" ? [headSize * heads, tokens] : [headSize, heads, tokens],
    );
  }

  #biased(a: Tensor, which: "query" | "key" | "value" | "output"): Tensor {
    const bias = this.#biases[which];
    return bias === undefined ? a : this.#graph.add(a, bias);
  }
}
