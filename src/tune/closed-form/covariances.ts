/**
 * Second moments of one layer's router inputs and of their differences over some distances, gathered document by document:
 * memory for the triangles of two matrices of width x width and a block of tokens, whatever the number of tokens.
 */
import { KernelMemory, padded } from "../../predict/kernels.ts";
import { packedLength } from "./cholesky.ts";

/** Symmetric matrices are packed, see `cholesky.ts`. */
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
/** Rows of a block's products that are there at once: those of a whole matrix would be half as large as its sums. */
const STRIP_ROWS = 64;

/** Bytes that a gatherer takes. */
export function gathererBytes(width: number): number {
  const columns = padded(width);
  return 2 * 8 * packedLength(width) + 4 * columns * (2 * BLOCK_TOKENS + STRIP_ROWS);
}

export class CovarianceGatherer {
  readonly #width: number;
  readonly #columns: number;
  readonly #lags: readonly LagWeight[];
  readonly #memory = new KernelMemory();
  /** `[columns][block]` inputs, and what they are multiplied with for the differences. */
  readonly #inputs: number;
  readonly #partners: number;
  /** `[strip][columns]` */
  readonly #products: number;
  readonly #mean: Float64Array;
  readonly #secondMoment: Float64Array;
  readonly #difference: Float64Array;
  #filled = 0;
  #tokens = 0;
  #pairs = 0;

  constructor(width: number, lags: readonly LagWeight[]) {
    this.#width = width;
    this.#columns = padded(width);
    this.#lags = lags;
    this.#inputs = this.#memory.allocate(this.#columns * BLOCK_TOKENS);
    this.#partners = this.#memory.allocate(this.#columns * BLOCK_TOKENS);
    this.#products = this.#memory.allocate(STRIP_ROWS * this.#columns);
    this.#mean = new Float64Array(width);
    this.#secondMoment = new Float64Array(packedLength(width));
    this.#difference = new Float64Array(packedLength(width));
  }

  /** @param hidden `[tokens][width]` of one document, in order */
  add(hidden: Float32Array, tokens: number): void {
    const width = this.#width;
    const row = new Float64Array(width);
    const inputs = this.#memory.floats(this.#inputs, width * BLOCK_TOKENS);
    const partners = this.#memory.floats(this.#partners, width * BLOCK_TOKENS);
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

  /** Valid until something is added again. */
  finish(): InputStatistics {
    if (this.#filled > 0) this.#flush();
    for (let i = 0; i < this.#mean.length; i++) this.#mean[i] /= this.#tokens;
    for (let i = 0; i < this.#secondMoment.length; i++) {
      this.#secondMoment[i] /= this.#tokens;
      if (this.#pairs > 0) this.#difference[i] /= this.#pairs;
    }
    return {
      ...{ width: this.#width, tokens: this.#tokens, mean: this.#mean },
      ...{ secondMoment: this.#secondMoment, difference: this.#difference },
    };
  }

  /** Forgets what was gathered; the memory stays for other inputs. */
  clear(): void {
    for (const sums of [this.#mean, this.#secondMoment, this.#difference]) sums.fill(0);
    this.#tokens = 0;
    this.#pairs = 0;
  }

  #flush(): void {
    const columns = this.#columns;
    const width = this.#width;
    const bytes = 4 * BLOCK_TOKENS;
    const { multiply } = this.#memory.kernels;
    const products = this.#memory.floats(this.#products, STRIP_ROWS * columns);
    for (let first = 0; first < width; first += STRIP_ROWS) {
      const rows = Math.min(STRIP_ROWS, columns - first);
      const end = Math.min(width, first + rows);
      const strip = this.#inputs + first * bytes;
      multiply(strip, this.#inputs, this.#products, rows, first + rows, bytes);
      for (let i = first; i < end; i++)
        for (let j = 0, at = (i - first) * (first + rows), to = packedLength(i); j <= i; j++)
          this.#secondMoment[to + j] += products[at + j];
      multiply(strip, this.#partners, this.#products, rows, columns, bytes);
      // Half of the differences' sum; its transpose is the other half.
      for (let i = first; i < end; i++)
        for (let j = 0, at = (i - first) * columns, to = packedLength(i); j <= i; j++)
          this.#difference[to + j] += products[at + j];
      for (let j = first; j < width; j++)
        for (let i = first, at = j, to = packedLength(j); i <= j && i < end; i++, at += columns)
          this.#difference[to + i] += products[at];
    }
    this.#memory.floats(this.#inputs, columns * BLOCK_TOKENS).fill(0);
    this.#memory.floats(this.#partners, columns * BLOCK_TOKENS).fill(0);
    this.#filled = 0;
  }
}
