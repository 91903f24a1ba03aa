/**
 * How many layers are tuned at once, and on how much of the text, so that a sweep keeps to the budget of memory: the model is
 * closed by then, and what is left is a layer's inputs or its covariances for each thread. Arithmetic only.
 */
import type { BaseModel } from "../../adapter/index.ts";
import { BudgetTooSmallError } from "../../engine/errors.ts";
import { processMemory } from "../../engine/process-memory.ts";
import type { CapturedInputs } from "../captured-inputs.ts";
import { slowLayerBytes } from "../closed-form/slow-layer.ts";
import { tuneLayerBytes } from "../local/tune-layer.ts";
import type { DocumentSplit } from "./tuned-routers.ts";
import type { TuningJob } from "./tuning-job.ts";

export interface FittingDocuments {
  readonly training: readonly number[];
  readonly heldOut: ReadonlySet<number>;
  /** Threads that have room. */
  readonly threads: number;
  readonly note: string | undefined;
}

/** Of a thread beside what is counted: Node's own, and what it has freed but not yet given back. */
const THREAD_BYTES = 96 * 2 ** 20;
/** Of the inputs in memory: documents that are measured are read at once. */
const MEASURED_SHARE = 0.25;
/** Fewer say nothing about a gate. */
const FEWEST_TOKENS = 4096;

/** Bytes of a thread that tunes one layer, without the inputs that it holds. @param longest tokens of the longest document */
export function layerBytes(
  { method, mus }: Pick<TuningJob, "method" | "mus">,
  { width, experts }: Pick<BaseModel, "width" | "experts">,
  longest: number,
): number {
  const gates = method === "closed-form" ? 4 * (mus.length + 4) * width * experts : 0;
  const tuning =
    method === "closed-form"
      ? slowLayerBytes(width) + 4 * longest * width
      : tuneLayerBytes({ width, experts }, longest);
  return THREAD_BYTES + gates + tuning;
}

/**
 * Before anything is captured: whether one thread will have room for the fewest tokens that are of use.
 * @throws BudgetTooSmallError
 */
export function requireLayerMemory(job: TuningJob, base: BaseModel, longest: number): void {
  if (job.engine.memory.kind !== "process") return;
  const missing = layerBytes(job, base, longest) + FEWEST_TOKENS * tokenBytes(base) - freeBytes(job);
  if (missing <= 0) return;
  const { bytes } = job.engine.memory;
  throw new BudgetTooSmallError(
    bytes,
    bytes + missing,
    `A layer's gate of ${base.width} inputs is tuned in memory (--method ${job.method}).`,
  );
}

/** Whole documents whose inputs of one layer fit; the first ones of a list that was shuffled when it was split. */
export function tokensThatFit(
  job: TuningJob,
  base: BaseModel,
  inputs: CapturedInputs,
  split: DocumentSplit,
): FittingDocuments {
  const longest = inputs.documents.reduce((most, { tokens }) => Math.max(most, tokens), 0);
  const own = layerBytes(job, base, longest);
  const free = freeBytes(job);
  const most = Math.max(FEWEST_TOKENS, Math.floor((free - own) / tokenBytes(base)));
  const tokensOf = (documents: readonly number[]) =>
    documents.reduce((sum, document) => sum + inputs.documents[document].tokens, 0);
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
  const isGathered = job.method === "closed-form";
  const training = isGathered ? split.training : take(split.training, Math.floor((1 - MEASURED_SHARE) * most));
  const heldOut = take(split.heldOut, Math.floor(MEASURED_SHARE * most));
  const left = split.training.length - training.length;
  const inMemory = (isGathered ? 0 : tokensOf(training)) + tokensOf(heldOut);
  return {
    ...{ training, heldOut: new Set(heldOut) },
    threads: Math.max(1, Math.min(job.threads, Math.floor(free / (own + inMemory * tokenBytes(base))))),
    note:
      left > 0
        ? `${left} of ${split.training.length} documents were left out so that a layer's inputs fit in memory.`
        : undefined,
  };
}

/** A layer's input, and its logits of two gates. */
function tokenBytes({ width, experts }: BaseModel): number {
  return 4 * (width + 2 * experts);
}

function freeBytes({ engine }: TuningJob): number {
  if (engine.memory.kind !== "process") return Number.POSITIVE_INFINITY;
  return Math.max(0, engine.memory.bytes - processMemory().residentBytes - engine.reservedBytes);
}
