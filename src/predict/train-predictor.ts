/**
 * Trains a predictor from a recorded trace: splits its samples, reads the layers in groups that fit in memory, trains the
 * heads on worker threads, and tells how well each does on the prompts held out.
 */
import { compiledModule } from "../compiled-module.ts";
import type { RouterWeights } from "../gguf/index.ts";
import { runTasks } from "../threads/task-workers.ts";
import type { TraceSource } from "../trace/trace.ts";
import { checkWanted } from "../trace/trace-reader.ts";
import { PredictorError } from "./errors.ts";
import { lookAhead } from "./look-ahead.ts";
import { headPlaces, type PredictorKind, type RouterPredictor } from "./router-predictor.ts";
import { splitSamples } from "./sample-split.ts";
import type { HeadTask, TrainedHead } from "./train-head.ts";
import { TRAINING_DEFAULTS } from "./training-defaults.ts";
import { readTrainingSet, sampleLengths, type TargetSource, targetsOf, trainingSetBytes } from "./training-set.ts";
import type { TrainingWorkerData } from "./training-worker.ts";

export interface TrainPredictorOptions {
  /** @default "mlp" */
  readonly kind?: PredictorKind;
  /** ReLU units of an MLP. @default 256 */
  readonly width?: number;
  /** Layers skipped between an input and the nearest layer it predicts. @default 0 */
  readonly stride?: number;
  /** Successive layers predicted from one input. @default 1 */
  readonly window?: number;
  /** Passes over the training tokens. @default 10 */
  readonly epochs?: number;
  /** Of Adam, at the start. @default 0.003 */
  readonly learningRate?: number;
  /** @default 1 */
  readonly seed?: number;
  /** Tokens of the trace that are used at most, training and test together. @default 200,000 */
  readonly maxTokens?: number;
  /** Routers of the traced model: a linear predictor starts from them, and the look-ahead is tested. @default neither */
  readonly routers?: RouterWeights | undefined;
  /** Worker threads. @default 1 */
  readonly threads?: number;
  /** Bytes for inputs and targets; at least one layer is read, whatever it takes. @default 2 GiB */
  readonly memoryBytes?: number;
  /** Ends the training with the signal's reason. @default runs to its end */
  readonly signal?: AbortSignal;
  /** Called now and then. */
  readonly onProgress?: (progress: TrainingProgress) => void;
}

export interface TrainingProgress {
  readonly step: "reading" | "training";
  /** Tokens, of all heads and epochs when training. */
  readonly tokensDone: number;
  readonly tokens: number;
}

export interface TrainingReport {
  readonly predictor: RouterPredictor;
  /** Samples and tokens trained on, and held out. */
  readonly training: { readonly samples: number; readonly tokens: number };
  readonly heldOut: { readonly samples: number; readonly tokens: number };
  readonly targets: TargetSource;
  readonly readingMs: number;
  readonly trainingMs: number;
  /** Tokens trained on a second, over all threads. */
  readonly tokensPerSecond: number;
}

const MEMORY_BYTES = 2 ** 31;

/** @throws PredictorError `untrainable`, TraceError */
export async function trainPredictor(
  source: TraceSource,
  options: TrainPredictorOptions = {},
): Promise<TrainingReport> {
  const { kind = "mlp", seed = 1, threads = 1, memoryBytes = MEMORY_BYTES, routers, signal, onProgress } = options;
  const { width, stride, window, epochs, learningRate, maxTokens } = { ...TRAINING_DEFAULTS, ...options };
  const { description } = source;
  const { model, columns } = description;
  checkWanted(source, { hidden: true });
  if (model.hash === null)
    throw new PredictorError("untrainable", `The trace of ${model.name} does not tell which file it is of (no hash).`);
  const layers = model.moeBlocks.length;
  const places = headPlaces(layers, { stride, window });
  if (places.length === 0)
    throw new PredictorError(
      "untrainable",
      `A stride of ${stride} leaves nothing to predict in ${layers} MoE layers: take less than ${layers - 1}.`,
    );
  const units = kind === "linear" ? 0 : width;
  const plan = { width: units, epochs, learningRate, seed };

  const readFrom = performance.now();
  const lengths = await sampleLengths(source, signal);
  const split = splitSamples(lengths, { seed, maxTokens });
  const tokensOf = (samples: readonly number[]) => samples.reduce((sum, sample) => sum + lengths[sample], 0);
  const trained: TrainedHead[] = [];
  const inputLayers = places[places.length - 1].layer + 1;
  const groups = layerGroups(inputLayers, (from, to) => {
    const group = { from, to, nearest: 1 + stride, farthest: stride + window };
    return { group, bytes: trainingSetBytes(description, tokensOf(split.training) + tokensOf(split.heldOut), group) };
  });
  const plannedTokens = places.length * epochs * tokensOf(split.training);
  const traceTokens = tokensOf(lengths.map((_, i) => i));
  let readingMs = performance.now() - readFrom;
  let trainingMs = 0;
  let tokensTrained = 0;
  for (const group of groups(memoryBytes)) {
    const groupFrom = performance.now();
    let tokensRead = 0;
    const set = await readTrainingSet(source, lengths, split, group, {
      signal,
      onProgress: (samples) => {
        tokensRead += lengths[samples - 1];
        onProgress?.({ step: "reading", tokensDone: tokensRead, tokens: traceTokens });
      },
    });
    readingMs += performance.now() - groupFrom;
    const trainFrom = performance.now();
    const tasks = places
      .filter(({ layer }) => layer >= group.from && layer < group.to)
      .map((place) => ({ ...place, router: routers && lookAhead(routers, place.layer, place.distance) }));
    const program = compiledModule(import.meta.url, "./training-worker.js");
    const shared: TrainingWorkerData = { set, plan };
    const heads = await runTasks<HeadTask, TrainedHead>(program, shared, tasks, {
      threads,
      signal,
      onWork: (tokens) => {
        tokensTrained += tokens;
        onProgress?.({ step: "training", tokensDone: tokensTrained, tokens: plannedTokens });
      },
    });
    trained.push(...heads);
    trainingMs += performance.now() - trainFrom;
  }
  const { name, hash, tokenizerHash, experts, expertsUsed } = model;
  return {
    predictor: {
      model: { name, hash, tokenizerHash, layers, experts, expertsUsed, hiddenSize: columns.hiddenWidth },
      ...{ kind, width: units, stride, window, trainingMs },
      heads: trained.map(({ head }) => head),
      recall: trained.map(({ recall }) => recall),
    },
    training: { samples: split.training.length, tokens: tokensOf(split.training) },
    heldOut: { samples: split.heldOut.length, tokens: tokensOf(split.heldOut) },
    targets: targetsOf(description),
    readingMs,
    trainingMs,
    tokensPerSecond: (1000 * tokensTrained) / trainingMs,
  };
}

/** Successive layers in as few groups as memory allows, at least one layer in each. */
function layerGroups<T>(
  layers: number,
  groupOf: (from: number, to: number) => { readonly group: T; readonly bytes: number },
): (memoryBytes: number) => Generator<T> {
  return function* (memoryBytes) {
    for (let from = 0; from < layers; ) {
      let to = from + 1;
      while (to < layers && groupOf(from, to + 1).bytes <= memoryBytes) to++;
      yield groupOf(from, to).group;
      from = to;
    }
  };
}
