/**
 * Second moments of one layer's router inputs and of their differences over some distances, gathered document by document:
 * memory for two matrices of width x width and a block of tokens, whatever the number of tokens.
 */
import { KernelMemory, padded } from "../../predict/kernels.ts";

/** Symmetric matrices `[width][width]`. */
export interface InputStatistics {
  readonly width: number;
  readonly tokens: number;
  /** E[h] */
  readonly mean: Float64Array;
  /** E[h h^T] */
  readonly secondMoment: Float64Array;
  /** Mean over pairs of (h_t - h_t-d)(h_t - h_t-d)^T, pairs of distance d counting as its weight. Zeros without pairs. */
  readonly difference: Float64Array;
}

export interface LagWeight {
  /** Tokens between the two. */
  readonly lag: number;
  readonly weight: number;
}

/** Tokens of a block: its products are summed in single precision, blocks in double. */
const BLOCK_TOKENS = 512;

export class CovarianceGatherer {
  readonly #width: number;
  readonly #columns: number;
  readonly #lags: readonly LagWeight[];
  readonly #memory = new KernelMemory();
  /** `[columns][block]` inputs; `[2 columns][block]` inputs and what they are multiplied with for the differences. */
  readonly #inputs: number;
  readonly #partners: number;
  readonly #products: number;
  readonly #mean: Float64Array;
  readonly #secondMoment: Float64Array;
  /** Half of the differences' sum; its transpose is the other half. */
  readonly #halfDifference: Float64Array;
  #filled = 0;
  #tokens = 0;
  #pairs = 0;

  constructor(width: number, lags: readonly LagWeight[]) {
    this.#width = width;
    this.#columns = padded(width);
    this.#lags = lags;
    this.#inputs = this.#memory.allocate(this.#columns * BLOCK_TOKENS);
    this.#partners = this.#memory.allocate(2 * this.#columns * BLOCK_TOKENS);
    this.#products = this.#memory.allocate(2 * this.#columns * this.#columns);
    this.#mean = new Float64Array(width);
    this.#secondMoment = new Float64Array(width * width);
    this.#halfDifference = new Float64Array(width * width);
  }

  /** @param hidden `[tokens][width]` of one document, in order */
  add(hidden: Float32Array, tokens: number): void {
    const width = this.#width;
    const row = new Float64Array(width);
    for (let t = 0; t < tokens; t++) {
      // (a - b)(a - b)^T = aa^T + bb^T - ab^T - ba^T: all pairs of a token take one product with its past, not one each.
      let own = 0;
      row.fill(0);
      for (const { lag, weight } of this.#lags) {
        if (t >= lag) {
          own += weight;
          this.#pairs += weight;
          for (let i = 0, at = (t - lag) * width; i < width; i++) row[i] -= weight * hidden[at + i];
        }
        if (t + lag < tokens) own += weight;
      }
      const inputs = this.#memory.floats(this.#inputs, width * BLOCK_TOKENS);
      const partners = this.#memory.floats(this.#partners + 4 * this.#columns * BLOCK_TOKENS, width * BLOCK_TOKENS);
      for (let i = 0, at = t * width; i < width; i++) {
        const value = hidden[at + i];
        this.#mean[i] += value;
        inputs[i * BLOCK_TOKENS + this.#filled] = value;
        partners[i * BLOCK_TOKENS + this.#filled] = 0.5 * own * value + row[i];
      }
      this.#tokens++;
      if (++this.#filled === BLOCK_TOKENS) this.#flush();
    }
  }

  finish(): InputStatistics {
    if (this.#filled > 0) this.#flush();
    const width = this.#width;
    const difference = new Float64Array(width * width);
    const secondMoment = this.#secondMoment.map((sum) => sum / this.#tokens);
    for (let i = 0; i < width && this.#pairs > 0; i++)
      for (let j = 0; j < width; j++)
        difference[i * width + j] =
          (this.#halfDifference[i * width + j] + this.#halfDifference[j * width + i]) / this.#pairs;
    const mean = this.#mean.map((sum) => sum / this.#tokens);
    return { width, tokens: this.#tokens, mean, secondMoment, difference };
  }

  #flush(): void {
    const columns = this.#columns;
    const inputs = this.#memory.floats(this.#inputs, columns * BLOCK_TOKENS);
    const partners = this.#memory.floats(this.#partners, 2 * columns * BLOCK_TOKENS);
    partners.set(inputs);
    const bytes = 4 * BLOCK_TOKENS;
    this.#memory.kernels.multiply(this.#inputs, this.#partners, this.#products, columns, 2 * columns, bytes);
    const products = this.#memory.floats(this.#products, 2 * columns * columns);
    const width = this.#width;
    for (let i = 0; i < width; i++)
      for (let j = 0, at = 2 * i * columns; j < width; j++) {
        this.#secondMoment[i * width + j] += products[at + j];
        this.#halfDifference[i * width + j] += products[at + columns + j];
      }
    inputs.fill(0);
    partners.fill(0);
    this.#filled = 0;
  }
}
