/** What asking a predictor costs on this machine: measured with its own weights, on inputs of noise. */
import { bestExperts } from "./best-experts.ts";
import { PredictorRuntime } from "./predictor-runtime.ts";
import { Randomness } from "./randomness.ts";
import type { RouterPredictor } from "./router-predictor.ts";

export interface PredictionCost {
  /** Median of one prediction: one input, one later layer's scores, the best of them. */
  readonly predictionMs: number;
  /** Of the weights as they lie in memory. */
  readonly memoryBytes: number;
}

/** V8 compiles the loops during the first of them. */
const WARM_UP = 200;
const MEASURED = 400;

export function predictionMs({ model, heads }: RouterPredictor): PredictionCost {
  const runtime = new PredictorRuntime(model, heads);
  const random = new Randomness(1);
  const hidden = Float32Array.from({ length: model.hiddenSize }, () => random.normal());
  const best = new Int32Array(model.expertsUsed);
  const times = new Float64Array(MEASURED);
  for (let i = 0; i < WARM_UP + MEASURED; i++) {
    const start = performance.now();
    runtime.read(hidden, 0);
    bestExperts(runtime.scores(i % heads.length), model.expertsUsed, best);
    if (i >= WARM_UP) times[i - WARM_UP] = performance.now() - start;
  }
  return { predictionMs: times.sort()[MEASURED >> 1], memoryBytes: runtime.memoryBytes };
}
