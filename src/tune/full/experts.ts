/**
 * SwiGLU experts on the tokens that chose them, expert by expert, forward and backward. Weights are read for each group of
 * experts and dropped behind it, so a layer's experts never have to be in memory together. Which tokens go where is
 * decided elsewhere; gradients of expert weights are never formed.
 */
import type { FrozenWeights } from "../../llama/frozen-weights.ts";
import { type NativeFloats, nativeFloats } from "../../llama/native-arrays.ts";
import type { Tensor, TensorGraph } from "../../llama/tensor-graph.ts";
import type { TensorMath } from "../../llama/tensor-math.ts";
import type { ExpertRows, ExpertSlots } from "./expert-slots.ts";
import type { SwigluTensors } from "./wiring.ts";

export interface ExpertsOptions {
  readonly hidden: number;
  /** Most tokens of a batch. */
  readonly tokens: number;
  /** Bytes of weights as stored that are in memory at once; one expert is, however large. */
  readonly weightBytes: number;
}

/** A graph of more pieces would outgrow `TensorMath`'s node limit. */
const PIECES_AT_ONCE = 64;

interface Matrices {
  readonly gate: Tensor;
  readonly up: Tensor;
  readonly down: Tensor;
}

export class Experts implements Disposable {
  readonly #math: TensorMath;
  readonly #weights: FrozenWeights;
  readonly #hidden: number;
  readonly #tokens: number;
  readonly #weightBytes: number;
  readonly #rows: NativeFloats;
  readonly #dWeights: NativeFloats;

  constructor(math: TensorMath, weights: FrozenWeights, { hidden, tokens, weightBytes }: ExpertsOptions) {
    this.#math = math;
    this.#weights = weights;
    this.#hidden = hidden;
    this.#tokens = tokens;
    this.#weightBytes = weightBytes;
    this.#rows = nativeFloats(tokens * hidden);
    this.#dWeights = nativeFloats(tokens);
  }

  /**
   * Adds each row's weight times its expert's output to its token in `output`.
   * @param input `[hidden, tokens]`
   * @param output `[hidden, tokens]`
   */
  forward(tensors: SwigluTensors, slots: ExpertSlots, tokens: number, input: number, output: Float32Array): void {
    const hidden = this.#hidden;
    this.#inGroups(
      tensors,
      slots,
      (graph, matrices, piece, at) => {
        const { gate, up, down } = matrices(piece.expert);
        const rows = graph.rows(graph.input(input, [hidden, tokens]), this.#indices(graph, slots, piece));
        const activation = graph.swiglu(graph.product(gate, rows), graph.product(up, rows));
        graph.into(this.#rows.address + at * hidden * 4, graph.product(down, activation));
      },
      (piece, at) => this.#scatter(slots, piece, at, output, true),
    );
  }

  /**
   * Gradients of the rows' weights, and of the experts' input where `dInput` is given.
   * @param gradient of the output, `[hidden, tokens]`
   * @param dWeights by slot, overwritten
   * @param dInput `[hidden, tokens]`, added to
   */
  backward(
    tensors: SwigluTensors,
    slots: ExpertSlots,
    tokens: number,
    at: { readonly input: number; readonly gradient: number },
    dWeights: Float32Array,
    dInput: Float32Array | undefined,
  ): void {
    const hidden = this.#hidden;
    this.#inGroups(
      tensors,
      slots,
      (graph, matrices, piece, row) => {
        const { gate, up, down } = matrices(piece.expert);
        const indices = this.#indices(graph, slots, piece);
        const input = graph.rows(graph.input(at.input, [hidden, tokens]), indices);
        const gradient = graph.rows(graph.input(at.gradient, [hidden, tokens]), indices);
        const gated = graph.product(gate, input);
        const lifted = graph.product(up, input);
        const activation = graph.swiglu(gated, lifted);
        // <g, Wd a> = <Wd^T g, a>: the experts' outputs are not needed a second time.
        const back = graph.product(graph.transposed(down), gradient);
        graph.into(this.#dWeights.address + row * 4, graph.sumRows(graph.multiply(back, activation)));
        if (dInput === undefined) return;
        const weights = graph.input(slots.weights.address + piece.from * 4, [1, piece.count]);
        const dActivation = graph.multiply(back, weights);
        const dLifted = graph.multiply(graph.silu(gated), dActivation);
        const dGated = graph.siluGradient(graph.multiply(lifted, dActivation), gated);
        const dRows = graph.add(
          graph.product(graph.transposed(up), dLifted),
          graph.product(graph.transposed(gate), dGated),
        );
        graph.into(this.#rows.address + row * hidden * 4, dRows);
      },
      (piece, row) => {
        for (let i = 0; i < piece.count; i++) dWeights[slots.slots[piece.from + i]] = this.#dWeights.values[row + i];
        if (dInput !== undefined) this.#scatter(slots, piece, row, dInput, false);
      },
    );
  }

  [Symbol.dispose](): void {
    this.#rows[Symbol.dispose]();
    this.#dWeights[Symbol.dispose]();
  }

  /** Computes pieces in graphs of as many as fit, then hands each to `done` with the row where its results start. */
  #inGroups(
    tensors: SwigluTensors,
    { pieces }: ExpertSlots,
    build: (graph: TensorGraph, matrices: (expert: number) => Matrices, piece: ExpertRows, row: number) => void,
    done: (piece: ExpertRows, row: number) => void,
  ): void {
    const { gate, up, down } = tensors;
    const bytesOfOne = [gate, up, down].reduce((sum, tensor) => sum + this.#weights.bytesOf(tensor), 0);
    for (let first = 0; first < pieces.length; ) {
      const group: { piece: ExpertRows; row: number }[] = [];
      let rows = 0;
      let experts = 0;
      for (let i = first; i < pieces.length && group.length < PIECES_AT_ONCE; i++) {
        const piece = pieces[i];
        const more = i === first || piece.expert !== pieces[i - 1].expert ? 1 : 0;
        const full = rows + piece.count > this.#tokens || (experts + more) * bytesOfOne > this.#weightBytes;
        if (full && group.length > 0) break;
        group.push({ piece, row: rows });
        rows += piece.count;
        experts += more;
      }
      this.#weights.begin(experts * bytesOfOne);
      this.#math.compute((graph) => {
        const read = new Map<number, Matrices>();
        const matrices = (expert: number): Matrices => {
          let found = read.get(expert);
          if (found === undefined) {
            found = {
              gate: this.#weights.matrix(graph, gate, expert),
              up: this.#weights.matrix(graph, up, expert),
              down: this.#weights.matrix(graph, down, expert),
            };
            read.set(expert, found);
          }
          return found;
        };
        for (const { piece, row } of group) build(graph, matrices, piece, row);
      });
      for (const { piece, row } of group) done(piece, row);
      first += group.length;
    }
  }

  #indices(graph: TensorGraph, slots: ExpertSlots, piece: ExpertRows): Tensor {
    return graph.integers(slots.tokens.address + piece.from * 4, piece.count);
  }

  #scatter(slots: ExpertSlots, piece: ExpertRows, row: number, into: Float32Array, weighted: boolean): void {
    const hidden = this.#hidden;
    const rows = this.#rows.values;
    for (let i = 0; i < piece.count; i++) {
      const weight = weighted ? slots.weights.values[piece.from + i] : 1;
      const target = slots.tokens.values[piece.from + i] * hidden;
      const source = (row + i) * hidden;
      for (let j = 0; j < hidden; j++) into[target + j] += weight * rows[source + j];
    }
  }
}
