/** End-to-end training of routers: what other folders use of it. */
export type { AdamWOptions } from "./adamw.ts";
export type { LocalityTermsOptions } from "./locality-terms.ts";
export type { TrainingSequence } from "./sequence.ts";
export {
  type EvaluateFullOptions,
  evaluateFull,
  type StepReport,
  type TrainFullOptions,
  type TrainFullResult,
  type TrainingEstimate,
  trainFull,
} from "./train-full.ts";
export { TRAINABLE_ARCHITECTURES } from "./wiring.ts";
