/** Trains one head from a training set and tests it, and what it must beat, on the tokens held out. Pure computing. */
import { NO_ID } from "../trace/trace.ts";
import { bestExperts } from "./best-experts.ts";
import { HeadTrainer, inputScaling } from "./head-trainer.ts";
import { PredictorRuntime } from "./predictor-runtime.ts";
import { Randomness } from "./randomness.ts";
import type { HeadRecall, PredictorHead } from "./router-predictor.ts";
import type { LayerColumns, TrainingSet } from "./training-set.ts";

export interface TrainingPlan {
  /** ReLU units; 0 for a linear head. */
  readonly width: number;
  /** Passes over the training tokens. */
  readonly epochs: number;
  /** Of Adam at the start; it falls to 0 along a half cosine. */
  readonly learningRate: number;
  readonly seed: number;
}

export interface HeadTask {
  readonly layer: number;
  readonly distance: number;
  /**
   * The predicted layer's router for this layer's input, `[experts][hiddenSize + 1]`: a linear head starts from it, and
   * alone it is the next-gate look-ahead. Undefined when the model's file was not given.
   */
  readonly router: Float32Array | undefined;
}

export interface TrainedHead {
  readonly head: PredictorHead;
  readonly recall: HeadRecall;
}

const BATCH_ROWS = 128;
/** Rows whose mean and variance stand for all. */
const SCALING_ROWS = 8192;

/** @param onTokens called after each batch with its tokens */
export function trainHead(
  set: TrainingSet,
  task: HeadTask,
  plan: TrainingPlan,
  onTokens: (tokens: number) => void = () => {},
): TrainedHead {
  const { layer, distance } = task;
  const source = columnsOf(set, layer);
  const target = columnsOf(set, layer + distance);
  if (source.hidden === undefined || target.targets === undefined)
    throw new RangeError(`Layer ${layer} and the ${distance}. after it were not read`);
  const { hiddenSize, experts } = set;
  const computed = (row: number) =>
    source.chosen[row * set.expertsUsed] !== NO_ID && target.chosen[row * set.expertsUsed] !== NO_ID;
  const rows = set.training.filter(computed);
  const random = new Randomness(plan.seed, layer, distance);
  random.shuffle(rows);
  const trainer = new HeadTrainer({
    hiddenSize,
    experts,
    width: plan.width,
    batchRows: BATCH_ROWS,
    inputs: inputScaling(source.hidden, rows.subarray(0, SCALING_ROWS), hiddenSize),
    random,
    warmStart: task.router,
  });
  const offsets = new Int32Array(BATCH_ROWS);
  const batches = Math.ceil(rows.length / BATCH_ROWS);
  const steps = batches * plan.epochs;
  for (let step = 0; step < steps; step++) {
    if (step > 0 && step % batches === 0) random.shuffle(rows);
    const from = (step % batches) * BATCH_ROWS;
    const count = Math.min(BATCH_ROWS, rows.length - from);
    for (let i = 0; i < count; i++) {
      trainer.setInput(i, source.hidden, rows[from + i] * hiddenSize);
      offsets[i] = rows[from + i] * experts;
    }
    trainer.backward(count, target.targets, offsets);
    trainer.step(0.5 * plan.learningRate * (1 + Math.cos((Math.PI * step) / steps)));
    onTokens(count);
  }
  const head = trainer.head(layer, distance);
  return { head, recall: testHead(set, head, task, rows, set.heldOut.filter(computed)) };
}

function columnsOf({ layers }: TrainingSet, layer: number): LayerColumns {
  const columns = layers[layer];
  if (columns === undefined) throw new RangeError(`Layer ${layer} was not read`);
  return columns;
}

/** All guesses name as many experts as a token uses. */
function testHead(
  set: TrainingSet,
  head: PredictorHead,
  { layer, distance, router }: HeadTask,
  training: Int32Array,
  heldOut: Int32Array,
): HeadRecall {
  const { hiddenSize, experts, expertsUsed, before } = set;
  const { chosen } = columnsOf(set, layer + distance);
  const hidden = columnsOf(set, layer).hidden as Float32Array;
  const heads = [head, ...(router === undefined ? [] : [{ layer, distance, inner: undefined, outer: router }])];
  const runtime = new PredictorRuntime({ experts, hiddenSize }, heads);
  const popular = mostPopular(chosen, training, experts, expertsUsed);
  const guess = new Int32Array(expertsUsed);
  const right = { predictor: 0, nextGate: 0, popularity: 0, previousToken: 0 };
  let asked = 0;
  for (const row of heldOut) {
    const truth = chosen.subarray(row * expertsUsed, (row + 1) * expertsUsed);
    for (const expert of truth) if (expert !== NO_ID) asked++;
    runtime.read(hidden, row * hiddenSize);
    bestExperts(runtime.scores(0), expertsUsed, guess);
    right.predictor += overlap(truth, guess);
    if (router !== undefined) {
      bestExperts(runtime.scores(1), expertsUsed, guess);
      right.nextGate += overlap(truth, guess);
    }
    right.popularity += overlap(truth, popular);
    const previous = before[row] * expertsUsed;
    // The first token of a sample has none before it: nothing better than the popular ones is known.
    const known = previous >= 0 && chosen[previous] !== NO_ID;
    right.previousToken += overlap(truth, known ? chosen.subarray(previous, previous + expertsUsed) : popular);
  }
  return {
    layer,
    distance,
    tokens: heldOut.length,
    predictor: right.predictor / asked,
    nextGate: router === undefined ? Number.NaN : right.nextGate / asked,
    popularity: right.popularity / asked,
    previousToken: right.previousToken / asked,
  };
}

function mostPopular(chosen: Uint16Array, rows: Int32Array, experts: number, count: number): Int32Array {
  const uses = new Float32Array(experts);
  for (const row of rows)
    for (let rank = 0; rank < count; rank++) {
      const expert = chosen[row * count + rank];
      if (expert !== NO_ID) uses[expert]++;
    }
  const best = new Int32Array(count);
  bestExperts(uses, count, best);
  return best;
}

/** Experts that are in both lists. */
function overlap(truth: Uint16Array, guess: ArrayLike<number>): number {
  let both = 0;
  for (const expert of truth) {
    if (expert === NO_ID) continue;
    for (let i = 0; i < guess.length; i++) if (guess[i] === expert) both++;
  }
  return both;
}
