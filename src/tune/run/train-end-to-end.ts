/** The settings of a job as those of end-to-end training, and its progress as the job's. */
import { existsSync } from "node:fs";
import path from "node:path";
import { TuneError } from "../errors.ts";
import type { TrainingSequence } from "../full/sequence.ts";
import { type TrainFullResult, type TrainingEstimate, trainFull } from "../full/train-full.ts";
import type { TuningEvents } from "./tuned-routers.ts";
import type { TuningJob } from "./tuning-job.ts";

export interface TrainingEvents extends Omit<TuningEvents, "onEstimate"> {
  readonly onEstimate: (estimate: TrainingEstimate) => void;
}

/** A step takes seconds: little is lost. */
const CHECKPOINT_STEPS = 5;

/** @throws what `trainFull` throws */
export function trainEndToEnd(
  { model, full, trustBudget, checkpoint, threads, seed }: TuningJob,
  documents: readonly TrainingSequence[],
  { signal, onProgress, onEstimate }: TrainingEvents,
): Promise<TrainFullResult> {
  const { weights, residencyTarget, window, promptWeight, temperature, ...training } = full;
  const { learningRate, warmupSteps, decay, adaptTrust, divergenceBudget, ...passedOn } = training;
  const { steps, task } = passedOn;
  const hasTerms = Object.values(weights).some((weight) => weight > 0);
  return trainFull({
    ...{ model, documents, ...passedOn, threads, seed, onEstimate },
    optimizer: { learningRate, warmupSteps, ...(decay ? { decaySteps: steps } : {}) },
    ...(hasTerms ? { terms: { weights, residencyTarget, window, promptWeight, temperature } } : {}),
    ...(divergenceBudget === undefined || !hasTerms ? {} : { divergenceBudget }),
    ...(adaptTrust && weights.trust > 0 ? { trustBudget } : {}),
    ...(checkpoint === undefined
      ? {}
      : { checkpoint: { path: checkpointFile(checkpoint), everySteps: CHECKPOINT_STEPS } }),
    ...(signal === undefined ? {} : { signal }),
    onStep: ({ step, crossEntropy, eor, terms, divergence }) =>
      onProgress?.({
        ...{ step: "training", done: step, of: steps, crossEntropy, eor, trustKl: terms.trust },
        divergence: task === "ce" || task === "none" ? undefined : divergence,
      }),
  });
}

/** Before a text is read. @throws TuneError `bad-checkpoint` for one that is not to be gone on from */
export function requireNoCheckpoint({ checkpoint }: Pick<TuningJob, "checkpoint">): void {
  if (checkpoint === undefined || checkpoint.resume) return;
  const file = checkpointFile(checkpoint);
  if (existsSync(file))
    throw new TuneError(
      "bad-checkpoint",
      `${file} is there already. Give --resume to go on from it, or another --checkpoint.`,
    );
}

function checkpointFile({ directory }: NonNullable<TuningJob["checkpoint"]>): string {
  return path.join(directory, "training.safetensors");
}
