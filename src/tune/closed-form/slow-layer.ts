/** Slow gates of layers, one after the other, for several weights of nearness: reads a layer's inputs once, document by document. */
import { type InputFiles, readLayerInputs } from "../captured-inputs.ts";
import { PAPER_LAGS } from "../objective/index.ts";
import { packedLength } from "./cholesky.ts";
import { CovarianceGatherer, gathererBytes, type LagWeight } from "./covariances.ts";
import { type Gate, type SlowGateOptions, SlowGateSolver } from "./slow-gate.ts";

/** Plain data: it goes to worker threads. */
export interface ClosedFormPlan extends SlowGateOptions {
  /** Weights of nearness, one gate for each. @default 32, 16, 8, 4, 2 */
  readonly mus?: readonly number[];
  /** Distances of the differences. @default 1, 2, 4, 8 and 16, equally */
  readonly lags?: readonly LagWeight[];
}

export const DEFAULT_MUS: readonly number[] = [32, 16, 8, 4, 2];
const DEFAULT_LAGS: readonly LagWeight[] = PAPER_LAGS.map((lag) => ({ lag, weight: 1 }));

/** Bytes of the matrices that one layer's gates take; the same memory serves the next layer. */
export function slowLayerBytes(width: number): number {
  return gathererBytes(width) + 8 * packedLength(width);
}

/** Tokens that take as long to gather as one linear system takes to solve: a token is 1.5 width^2 products, a system width^3 / 6. */
export function systemTokens(width: number): number {
  return Math.ceil(SLOWNESS * (width / 9));
}

/** Double precision against single, four at a time. */
const SLOWNESS = 3;

/** Made once for all layers of a thread: V8 frees such memory late, and a budget counts it. */
export class SlowLayers {
  readonly #files: InputFiles;
  readonly #plan: ClosedFormPlan;
  readonly #gatherer: CovarianceGatherer;
  readonly #factor: Float64Array;

  constructor(files: InputFiles, plan: ClosedFormPlan = {}) {
    this.#files = files;
    this.#plan = plan;
    this.#gatherer = new CovarianceGatherer(files.width, plan.lags ?? DEFAULT_LAGS);
    this.#factor = new Float64Array(packedLength(files.width));
  }

  /**
   * @param documents to tune on
   * @param onTokens called after each document with its tokens, and after each linear system with `systemTokens`
   * @throws TuneError `too-little-data`
   */
  tune(layer: number, documents: readonly number[], base: Gate, onTokens: (tokens: number) => void = () => {}): Gate[] {
    const gatherer = this.#gatherer;
    gatherer.clear();
    for (const document of documents) {
      const { hidden, tokens } = readLayerInputs(this.#files, layer, [document]);
      gatherer.add(hidden, tokens);
      onTokens(tokens);
    }
    const { mus = DEFAULT_MUS, ...options } = this.#plan;
    const solver = new SlowGateSolver(base, gatherer.finish(), options, this.#factor);
    return mus.map((mu) => {
      const gate = solver.solve(mu);
      onTokens(systemTokens(this.#files.width));
      return gate;
    });
  }
}
