/**
 * A logistic model of a few weights that learns while it runs: what is known of an expert in, a probability out. One per
 * question, shared by all layers and experts, so that it has learned something after a hundred tokens. It holds weights
 * and gradients only; what its inputs mean is told where it is used.
 */

export interface LogisticModelOptions {
  /** What is believed before anything was seen; the first weight is the constant's, so the first input should be 1. */
  readonly weights: readonly number[];
  /** Step of a weight in units of its usual gradient. */
  readonly rate: number;
  /** False keeps the weights as they are. @default true */
  readonly learns?: boolean;
}

/** How much of the sum of squared gradients is kept from step to step: about 2000 steps of memory. */
const KEPT = 0.9995;
/** Sum of squared gradients to begin with, so that the first steps are small. */
const FIRST_SQUARES = 0.01;

export class LogisticModel {
  readonly weights: Float64Array;
  readonly #rate: number;
  readonly #learns: boolean;
  readonly #squares: Float64Array;
  readonly #gradient: Float64Array;

  constructor({ weights, rate, learns = true }: LogisticModelOptions) {
    this.weights = Float64Array.from(weights);
    this.#rate = rate;
    this.#learns = learns;
    this.#squares = new Float64Array(weights.length).fill(FIRST_SQUARES);
    this.#gradient = new Float64Array(weights.length);
  }

  /** Log odds for the inputs that begin at `from`. */
  logOdds(inputs: Float64Array, from = 0): number {
    const { weights } = this;
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += (weights[i] as number) * (inputs[from + i] as number);
    return sum;
  }

  /** Notes an outcome, taken into account by the next `step`. `error`: predicted minus observed. */
  note(error: number, inputs: Float64Array, from = 0): void {
    const gradient = this.#gradient;
    for (let i = 0; i < gradient.length; i++)
      gradient[i] = (gradient[i] as number) + error * (inputs[from + i] as number);
  }

  /** Learns from what was noted since the last step: the mean over `outcomes`. */
  step(outcomes: number): void {
    const gradient = this.#gradient;
    if (this.#learns)
      for (let i = 0; i < gradient.length; i++) {
        const slope = (gradient[i] as number) / outcomes;
        const squares = (this.#squares[i] as number) * KEPT + slope * slope;
        this.#squares[i] = squares;
        this.weights[i] = (this.weights[i] as number) - (this.#rate * slope) / Math.sqrt(squares);
      }
    gradient.fill(0);
  }
}

export function probability(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds));
}
