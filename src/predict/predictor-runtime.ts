/**
 * Computes with a predictor: scores of all experts of a later layer from one layer's router input. It is called between
 * a router's decision and the reads that follow from it, so it allocates nothing after construction.
 */
import { KernelMemory, padded } from "./kernels.ts";
import type { PredictorHead } from "./router-predictor.ts";

interface PlacedHead {
  readonly inner: number;
  readonly outer: number;
  readonly innerUnits: number;
}

export interface RuntimeShape {
  readonly experts: number;
  readonly hiddenSize: number;
}

export class PredictorRuntime {
  readonly #memory = new KernelMemory();
  readonly #shape: RuntimeShape;
  readonly #heads: readonly PlacedHead[];
  readonly #input: number;
  readonly #units: number;
  readonly #scores: number;
  readonly #inputView: Float32Array;
  readonly #unitsView: Float32Array;
  readonly #scoresView: Float32Array;

  /** Heads are told apart by their place in the list. */
  constructor(shape: RuntimeShape, heads: readonly PredictorHead[]) {
    const { experts, hiddenSize } = shape;
    const memory = this.#memory;
    const innerUnits = heads.map(({ inner }) => (inner === undefined ? 0 : inner.length / (hiddenSize + 1)));
    this.#shape = shape;
    const mostUnits = padded(Math.max(0, ...innerUnits) + 1);
    this.#input = memory.allocate(padded(hiddenSize + 1));
    this.#units = memory.allocate(mostUnits);
    this.#scores = memory.allocate(padded(experts));
    this.#heads = innerUnits.map((units) => ({
      innerUnits: units,
      inner: memory.allocate(units === 0 ? 0 : padded(units) * padded(hiddenSize + 1)),
      outer: memory.allocate(padded(experts) * padded((units === 0 ? hiddenSize : units) + 1)),
    }));
    for (const [i, { inner, outer, innerUnits: units }] of this.#heads.entries()) {
      const head = heads[i];
      if (head.inner !== undefined) this.#place(head.inner, inner, units, hiddenSize + 1);
      this.#place(head.outer, outer, experts, (units === 0 ? hiddenSize : units) + 1);
    }
    this.#inputView = memory.floats(this.#input, padded(hiddenSize + 1));
    this.#inputView[hiddenSize] = 1;
    this.#unitsView = memory.floats(this.#units, mostUnits);
    this.#scoresView = memory.floats(this.#scores, experts);
  }

  /** Of weights and everything else. */
  get memoryBytes(): number {
    return this.#memory.usedBytes;
  }

  /** The input of the heads from now on: `hiddenSize` floats from `offset` on. */
  read(hidden: Float32Array, offset: number): void {
    const { hiddenSize } = this.#shape;
    for (let i = 0; i < hiddenSize; i++) this.#inputView[i] = hidden[offset + i];
  }

  /** Scores of all experts, as the predicted router's logits but for a constant; valid until the next call. */
  scores(head: number): Float32Array {
    const { inner, outer, innerUnits } = this.#heads[head];
    const { experts, hiddenSize } = this.#shape;
    const { kernels } = this.#memory;
    const inputBytes = 4 * padded(hiddenSize + 1);
    if (innerUnits === 0) {
      kernels.multiplyRow(this.#input, outer, this.#scores, padded(experts), inputBytes);
      return this.#scoresView;
    }
    const units = this.#unitsView;
    kernels.multiplyRow(this.#input, inner, this.#units, padded(innerUnits), inputBytes);
    for (let i = 0; i < innerUnits; i++) if (units[i] < 0) units[i] = 0;
    units[innerUnits] = 1;
    units.fill(0, innerUnits + 1);
    kernels.multiplyRow(this.#units, outer, this.#scores, padded(experts), 4 * padded(innerUnits + 1));
    return this.#scoresView;
  }

  #place(matrix: Float32Array, address: number, rows: number, columns: number): void {
    const place = this.#memory.floats(address, padded(rows) * padded(columns));
    for (let row = 0; row < rows; row++)
      place.set(matrix.subarray(row * columns, (row + 1) * columns), row * padded(columns));
  }
}
