/** Slow gates of one layer for several weights of nearness: reads its inputs once, document by document. */
import { type InputFiles, readLayerInputs } from "../captured-inputs.ts";
import { CovarianceGatherer, type LagWeight } from "./covariances.ts";
import { type Gate, type SlowGateOptions, slowGate } from "./slow-gate.ts";

/** Plain data: it goes to worker threads. */
export interface ClosedFormPlan extends Omit<SlowGateOptions, "mu"> {
  /** Weights of nearness, one gate for each. @default 32, 16, 8, 4, 2 */
  readonly mus?: readonly number[];
  /** Distances of the differences. @default 1, 2, 4, 8 and 16, equally */
  readonly lags?: readonly LagWeight[];
}

export const DEFAULT_MUS: readonly number[] = [32, 16, 8, 4, 2];
const DEFAULT_LAGS: readonly LagWeight[] = [1, 2, 4, 8, 16].map((lag) => ({ lag, weight: 1 }));

/** @param onTokens called after each document with its tokens @throws TuneError `too-little-data` */
export function slowLayer(
  files: InputFiles,
  layer: number,
  documents: readonly number[],
  base: Gate,
  { mus = DEFAULT_MUS, lags = DEFAULT_LAGS, ...options }: ClosedFormPlan = {},
  onTokens: (tokens: number) => void = () => {},
): Gate[] {
  const gatherer = new CovarianceGatherer(files.width, lags);
  for (const document of documents) {
    const { hidden, tokens } = readLayerInputs(files, layer, [document]);
    gatherer.add(hidden, tokens);
    onTokens(tokens);
  }
  const statistics = gatherer.finish();
  return mus.map((mu) => slowGate(base, statistics, { ...options, mu }));
}
