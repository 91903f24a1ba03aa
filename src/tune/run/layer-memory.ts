/**
 * How many layers are tuned at once, and on how much of the text, so that a sweep keeps to the budget of memory: the model is
 * closed by then, and what is left is a layer's inputs or its covariances for each thread. Arithmetic only.
 */
import type { BaseModel } from "../../adapter/index.ts";
import { processMemory } from "../../engine/process-memory.ts";
import type { CapturedInputs } from "../captured-inputs.ts";
import type { DocumentSplit } from "./tuned-routers.ts";
import type { TuningJob } from "./tuning-job.ts";

export interface FittingDocuments {
  readonly training: readonly number[];
  readonly heldOut: ReadonlySet<number>;
  readonly note: string | undefined;
}

/** Square matrices of doubles that the slow router's covariances and its solution take at their peak. */
const COVARIANCE_MATRICES = 6;
/** Of what a thread is given beside the inputs: the inputs gathered for a batch, gradients, Node's own. */
const THREAD_BYTES = 96 * 2 ** 20;
/** Documents that are measured are read at once. */
const MOST_MEASURED_SHARE = 0.25;
const FEWEST_TOKENS = 4096;

/** Whole documents whose inputs of one layer fit; the first ones of a list that was shuffled when it was split. */
export function tokensThatFit(
  job: TuningJob,
  base: BaseModel,
  inputs: CapturedInputs,
  split: DocumentSplit,
): FittingDocuments {
  const own = freeBytes(job) - THREAD_BYTES - fixedBytes(job, base);
  const most = Math.max(FEWEST_TOKENS, Math.floor(own / tokenBytes(base)));
  const take = (documents: readonly number[], limit: number): number[] => {
    let tokens = 0;
    return documents.filter((document) => {
      const count = inputs.documents[document].tokens;
      if (tokens > 0 && tokens + count > limit) return false;
      tokens += count;
      return true;
    });
  };
  // Covariances are gathered document by document.
  const training = job.method === "closed-form" ? split.training : take(split.training, most);
  const heldOut = new Set(take(split.heldOut, Math.max(FEWEST_TOKENS, MOST_MEASURED_SHARE * most)));
  const left = split.training.length - training.length;
  return {
    ...{ training, heldOut },
    note:
      left > 0
        ? `${left} of ${split.training.length} documents were left out so that a layer's inputs fit in memory.`
        : undefined,
  };
}

export function layerThreads(
  job: TuningJob,
  base: BaseModel,
  inputs: CapturedInputs,
  training: readonly number[],
): number {
  const tokens = training.reduce((sum, document) => sum + inputs.documents[document].tokens, 0);
  const perThread =
    THREAD_BYTES + fixedBytes(job, base) + (job.method === "closed-form" ? 0 : tokens * tokenBytes(base));
  return Math.max(1, Math.min(job.threads, Math.floor(freeBytes(job) / perThread)));
}

function fixedBytes({ method }: TuningJob, { width }: BaseModel): number {
  return method === "closed-form" ? 8 * COVARIANCE_MATRICES * width * width : 0;
}

/** A layer's input, and its logits of two gates. */
function tokenBytes({ width, experts }: BaseModel): number {
  return 4 * (width + 2 * experts);
}

function freeBytes({ engine }: TuningJob): number {
  if (engine.memory.kind !== "process") return Number.POSITIVE_INFINITY;
  return Math.max(0, engine.memory.bytes - processMemory().residentBytes - engine.reservedBytes);
}
