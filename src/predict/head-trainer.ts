/**
 * Trains one head: a batch of inputs forward, the cross-entropy of its softmax with the target distribution, gradients
 * backward, a step of Adam. Inputs are standardised while it trains; the finished head takes them as they are.
 *
 * Matrices lie row by row, rows padded with zeros, and inputs have a last column of 1, so that what a layer adds is one
 * more weight. Padded weights have no gradient and stay 0.
 */
import { adamStep, KernelMemory, padded } from "./kernels.ts";
import type { Randomness } from "./randomness.ts";
import type { PredictorHead } from "./router-predictor.ts";

export interface HeadTrainerOptions {
  readonly hiddenSize: number;
  readonly experts: number;
  /** ReLU units; 0 for a linear head. */
  readonly width: number;
  /** Rows of a batch at most, a multiple of 8. */
  readonly batchRows: number;
  /** What is subtracted from each input, and what the rest is multiplied with. */
  readonly inputs: InputScaling;
  /** Initial weights of an MLP. */
  readonly random: Randomness;
  /** Initial weights of a linear head, `[experts][hiddenSize + 1]` for inputs as they are. @default 0 */
  readonly warmStart?: Float32Array | undefined;
}

/** A standardised input is `(x - mean) * scale`, by column. */
export interface InputScaling {
  readonly mean: Float64Array;
  readonly scale: Float64Array;
}

/** One trained matrix with its gradient and Adam's two averages, each `[rows][columns]` as padded. */
interface Weights {
  readonly rows: number;
  readonly columns: number;
  readonly values: number;
  readonly gradient: number;
  readonly mean: number;
  readonly variance: number;
}

export class HeadTrainer {
  readonly #options: HeadTrainerOptions;
  readonly #memory = new KernelMemory();
  readonly #inner: Weights | undefined;
  readonly #outer: Weights;
  /** Addresses, `[batchRows][...]`, and of the transposed ones `[...][batchRows]`. */
  readonly #x: number;
  readonly #xTransposed: number;
  readonly #units: number;
  readonly #unitsTransposed: number;
  readonly #unitGradient: number;
  readonly #unitGradientTransposed: number;
  readonly #z: number;
  readonly #zTransposed: number;
  readonly #outerTransposed: number;
  #steps = 0;

  constructor(options: HeadTrainerOptions) {
    const { hiddenSize, experts, width, batchRows } = options;
    this.#options = options;
    const inputs = padded(hiddenSize + 1);
    const units = width === 0 ? 0 : padded(width + 1);
    const outputs = padded(experts);
    const room = (floats: number) => this.#memory.allocate(floats);
    this.#x = room(batchRows * inputs);
    this.#xTransposed = room(batchRows * inputs);
    this.#units = room(batchRows * units);
    this.#unitsTransposed = room(batchRows * units);
    this.#unitGradient = room(batchRows * units);
    this.#unitGradientTransposed = room(batchRows * units);
    this.#z = room(batchRows * outputs);
    this.#zTransposed = room(batchRows * outputs);
    this.#outerTransposed = room(units * outputs);
    this.#inner = width === 0 ? undefined : this.#weights(units, inputs);
    this.#outer = this.#weights(outputs, width === 0 ? inputs : units);
    this.#initialise();
  }

  /** Row `row` of the batch is `hiddenSize` floats of `hidden` from `offset` on. */
  setInput(row: number, hidden: Float32Array, offset: number): void {
    const { hiddenSize, batchRows, inputs } = this.#options;
    const columns = padded(hiddenSize + 1);
    const x = this.#view(this.#x, batchRows * columns);
    const first = row * columns;
    for (let i = 0; i < hiddenSize; i++) x[first + i] = (hidden[offset + i] - inputs.mean[i]) * inputs.scale[i];
    x[first + hiddenSize] = 1;
  }

  /**
   * Gradients of the mean cross-entropy over the first `rows` rows of the batch, which have inputs. Returns that mean, in
   * nats, less the targets' own entropy: 0 is a perfect prediction.
   * @param targets `[experts]` of each row, summing to 1: row r from `offsets[r]` on
   */
  backward(rows: number, targets: Float32Array, offsets: Int32Array): number {
    const { hiddenSize, experts, width, batchRows } = this.#options;
    const { kernels } = this.#memory;
    const inputs = padded(hiddenSize + 1);
    const outputs = padded(experts);
    const units = padded(width + 1);
    this.#forward();
    const loss = this.#lossGradient(rows, targets, offsets);
    this.#transpose(this.#z, this.#zTransposed, batchRows, outputs);
    this.#transpose(this.#x, this.#xTransposed, batchRows, inputs);
    const bytes = 4 * batchRows;
    if (this.#inner === undefined) {
      kernels.multiply(this.#zTransposed, this.#xTransposed, this.#outer.gradient, outputs, inputs, bytes);
      return loss;
    }
    this.#transpose(this.#units, this.#unitsTransposed, batchRows, units);
    kernels.multiply(this.#zTransposed, this.#unitsTransposed, this.#outer.gradient, outputs, units, bytes);
    this.#transpose(this.#outer.values, this.#outerTransposed, outputs, units);
    kernels.multiply(this.#z, this.#outerTransposed, this.#unitGradient, batchRows, units, 4 * outputs);
    this.#throughUnits();
    this.#transpose(this.#unitGradient, this.#unitGradientTransposed, batchRows, units);
    kernels.multiply(this.#unitGradientTransposed, this.#xTransposed, this.#inner.gradient, units, inputs, bytes);
    return loss;
  }

  step(learningRate: number): void {
    const { rate, varianceScale } = adamStep(learningRate, ++this.#steps);
    for (const weights of this.#matrices()) {
      const { values, gradient, mean, variance, rows, columns } = weights;
      this.#memory.kernels.adam(values, gradient, mean, variance, 4 * rows * columns, rate, varianceScale);
    }
  }

  /** Views of the weights and their gradients, inner before outer; for tests. */
  parameters(): readonly { readonly values: Float32Array; readonly gradient: Float32Array }[] {
    return this.#matrices().map(({ values, gradient, rows, columns }) => ({
      values: this.#view(values, rows * columns),
      gradient: this.#view(gradient, rows * columns),
    }));
  }

  /** The head as trained so far, for inputs as they are. */
  head(layer: number, distance: number): PredictorHead {
    const { experts, width } = this.#options;
    if (this.#inner === undefined)
      return { layer, distance, inner: undefined, outer: this.#unscaled(this.#outer, experts) };
    return {
      layer,
      distance,
      inner: this.#unscaled(this.#inner, width),
      outer: this.#unpadded(this.#outer, experts, width + 1),
    };
  }

  #matrices(): readonly Weights[] {
    return this.#inner === undefined ? [this.#outer] : [this.#inner, this.#outer];
  }

  #weights(rows: number, columns: number): Weights {
    const room = () => this.#memory.allocate(rows * columns);
    return { rows, columns, values: room(), gradient: room(), mean: room(), variance: room() };
  }

  #view(address: number, floats: number): Float32Array<ArrayBuffer> {
    return this.#memory.floats(address, floats);
  }

  #initialise(): void {
    const { hiddenSize, experts, width, random, warmStart, inputs } = this.#options;
    const outer = this.#view(this.#outer.values, this.#outer.rows * this.#outer.columns);
    if (this.#inner !== undefined) {
      // He's variance for what goes through a ReLU; the outer layer starts small, close to guessing nothing.
      const inner = this.#view(this.#inner.values, this.#inner.rows * this.#inner.columns);
      const { columns } = this.#inner;
      for (let unit = 0; unit < width; unit++)
        for (let i = 0; i < hiddenSize; i++) inner[unit * columns + i] = random.normal() * Math.sqrt(2 / hiddenSize);
      for (let expert = 0; expert < experts; expert++)
        for (let unit = 0; unit < width; unit++)
          outer[expert * this.#outer.columns + unit] = (random.normal() * 0.5) / Math.sqrt(width);
      return;
    }
    if (warmStart === undefined) return;
    for (let expert = 0; expert < experts; expert++) {
      const to = expert * this.#outer.columns;
      const from = expert * (hiddenSize + 1);
      let added = warmStart[from + hiddenSize];
      for (let i = 0; i < hiddenSize; i++) {
        added += warmStart[from + i] * inputs.mean[i];
        outer[to + i] = inputs.scale[i] === 0 ? 0 : warmStart[from + i] / inputs.scale[i];
      }
      outer[to + hiddenSize] = added;
    }
  }

  #forward(): void {
    const { hiddenSize, experts, width, batchRows } = this.#options;
    const { kernels } = this.#memory;
    const inputs = padded(hiddenSize + 1);
    const outputs = padded(experts);
    if (this.#inner === undefined) {
      kernels.multiply(this.#x, this.#outer.values, this.#z, batchRows, outputs, 4 * inputs);
      return;
    }
    const columns = this.#inner.rows;
    kernels.multiply(this.#x, this.#inner.values, this.#units, batchRows, columns, 4 * inputs);
    const units = this.#view(this.#units, batchRows * columns);
    for (let i = 0; i < units.length; i++) if (units[i] < 0) units[i] = 0;
    for (let row = 0; row < batchRows; row++) units[row * columns + width] = 1;
    kernels.multiply(this.#units, this.#outer.values, this.#z, batchRows, outputs, 4 * columns);
  }

  /** Turns scores into the gradient of the mean loss. Rows beyond `rows` get none. */
  #lossGradient(rows: number, targets: Float32Array, offsets: Int32Array): number {
    const { experts, batchRows } = this.#options;
    const columns = padded(experts);
    const z = this.#view(this.#z, batchRows * columns);
    let loss = 0;
    for (let row = 0; row < rows; row++) {
      const first = row * columns;
      const target = offsets[row];
      let largest = -Infinity;
      for (let i = 0; i < experts; i++) if (z[first + i] > largest) largest = z[first + i];
      let sum = 0;
      for (let i = 0; i < experts; i++) sum += Math.exp(z[first + i] - largest);
      const logSum = Math.log(sum) + largest;
      for (let i = 0; i < experts; i++) {
        const wanted = targets[target + i];
        const logProbability = z[first + i] - logSum;
        if (wanted > 0) loss += wanted * (Math.log(wanted) - logProbability);
        z[first + i] = (Math.exp(logProbability) - wanted) / rows;
      }
      z.fill(0, first + experts, first + columns);
    }
    z.fill(0, rows * columns);
    return loss / rows;
  }

  /** The gradient passes the units that were on, and nothing but units. */
  #throughUnits(): void {
    const { width, batchRows } = this.#options;
    const columns = padded(width + 1);
    const units = this.#view(this.#units, batchRows * columns);
    const gradient = this.#view(this.#unitGradient, batchRows * columns);
    for (let i = 0; i < gradient.length; i++) if (units[i] === 0) gradient[i] = 0;
    for (let row = 0; row < batchRows; row++) gradient.fill(0, row * columns + width, (row + 1) * columns);
  }

  #transpose(from: number, to: number, rows: number, columns: number): void {
    const source = this.#view(from, rows * columns);
    const target = this.#view(to, rows * columns);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) target[column * rows + row] = source[row * columns + column];
  }

  /** Weights of standardised inputs as weights of the inputs themselves. */
  #unscaled(weights: Weights, rows: number): Float32Array {
    const { hiddenSize, inputs } = this.#options;
    const result = this.#unpadded(weights, rows, hiddenSize + 1);
    for (let row = 0; row < rows; row++) {
      const first = row * (hiddenSize + 1);
      let added = result[first + hiddenSize];
      for (let i = 0; i < hiddenSize; i++) {
        result[first + i] *= inputs.scale[i];
        added -= result[first + i] * inputs.mean[i];
      }
      result[first + hiddenSize] = added;
    }
    return result;
  }

  #unpadded({ values, rows: allRows, columns: from }: Weights, rows: number, columns: number): Float32Array {
    const view = this.#view(values, allRows * from);
    const result = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) result.set(view.subarray(row * from, row * from + columns), row * columns);
    return result;
  }
}

/** Standardises columns of `[..][hiddenSize]` by the given rows; a column that never changes counts nothing. */
export function inputScaling(hidden: Float32Array, rows: Int32Array, hiddenSize: number): InputScaling {
  const mean = new Float64Array(hiddenSize);
  const scale = new Float64Array(hiddenSize);
  for (const row of rows) for (let i = 0; i < hiddenSize; i++) mean[i] += hidden[row * hiddenSize + i] / rows.length;
  for (const row of rows)
    for (let i = 0; i < hiddenSize; i++) scale[i] += (hidden[row * hiddenSize + i] - mean[i]) ** 2 / rows.length;
  for (let i = 0; i < hiddenSize; i++) scale[i] = scale[i] > 1e-12 ? 1 / Math.sqrt(scale[i]) : 0;
  return { mean, scale };
}
