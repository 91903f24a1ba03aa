/**
 * `tune --method full`: trains the gates of a model end to end, through its frozen experts and attention, on the task's
 * loss and the routers' own. Steps, schedule, checkpoints; the mathematics of a step is in `layered-model.ts`.
 */
import fs from "node:fs";
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import { TuneError } from "../errors.ts";
import { START_WEIGHTS } from "../objective/index.ts";
import { type BaseGate, type RouterDelta, readBaseGates } from "../router-delta.ts";
import { type AdamWOptions, adamWState, adamWUpdate } from "./adamw.ts";
import { addUses, type BatchLosses } from "./batch-losses.ts";
import { followDivergence, lastingFactor, passingFactor } from "./budget-track.ts";
import { GradientWorkers } from "./gradient-workers.ts";
import type { TaskWeights } from "./language-head.ts";
import type { LayeredModelOptions } from "./layered-model.ts";
import type { LocalityTermsOptions } from "./locality-terms.ts";
import { originalStatesData } from "./original-states.ts";
import { RoutingCollapse, type StepUses } from "./routing-collapse.ts";
import type { TrainingSequence } from "./sequence.ts";
import { SequenceSource } from "./sequence-source.ts";
import { readCheckpoint, type TrainingState, writeCheckpoint } from "./training-checkpoint.ts";
import { type TrainingCost, trainingCost } from "./training-cost.ts";
import { readWiring } from "./wiring.ts";

export interface TrainFullOptions {
  /** Path of the model's GGUF file. */
  readonly model: string;
  /** Whole documents; longer ones are cut. */
  readonly documents: readonly TrainingSequence[];
  readonly steps: number;
  /** Tokens of one step, at most; as many sequences as fit. @default 4096 */
  readonly stepTokens?: number;
  /** Most tokens of a sequence. @default 256 */
  readonly sequenceTokens?: number;
  /** Tokens that one thread keeps activations of at once; a larger share of a step is done bit by bit. @default 2048 */
  readonly batchTokens?: number;
  /** Cross-entropy with the text, distillation from the original model, half of each, or neither. @default "ce" */
  readonly task?: "ce" | "kd" | "half" | "none";
  /** The routers' own losses: trust, reuse, smoothness, lags, windows. @default none */
  readonly terms?: LocalityTermsOptions;
  /**
   * Trust-KL per token and layer, in nats, that the weight of trust is adapted towards. @default the weight stays as it is
   */
  readonly trustBudget?: number;
  /**
   * KL(original || tuned) of the predictions, in nats a token, that the weight of the terms but trust is adapted towards; with a
   * task that distils. @default the weights stay
   */
  readonly divergenceBudget?: number;
  /** Steps over which the terms but trust grow to their weights. @default 200 */
  readonly warmupLocality?: number;
  /** Whether the routers' own losses also move the gates of earlier layers. @default false */
  readonly couple?: boolean;
  /** False goes on where routing collapses, for ablations. @default true */
  readonly stopOnCollapse?: boolean;
  readonly optimizer?: AdamWOptions;
  /** @default 2 */
  readonly threads?: number;
  /** Bytes of expert weights, as stored, that a thread has in memory at once. @default 64 MiB */
  readonly weightBytes?: number;
  /** Bytes in which a task that distils keeps what the original model said, from the first pass over the data on. @default 512 MiB */
  readonly originalBytes?: number;
  /** @default 1 */
  readonly seed?: number;
  /** Where the run's state is kept, and how often; a state that is there already is gone on from. @default none */
  readonly checkpoint?: { readonly path: string; readonly everySteps: number };
  readonly signal?: AbortSignal;
  /** Called once, before anything is computed. */
  readonly onEstimate?: (estimate: TrainingEstimate) => void;
  readonly onStep?: (report: StepReport) => void;
}

export interface TrainingEstimate extends TrainingCost {
  /** Tokens of all steps that are still to be done. */
  readonly tokens: number;
  readonly operations: number;
  /** What that takes with every thread on a free core like the one it was measured on. */
  readonly expectedSeconds: number;
  readonly threads: number;
  /** Kept of what the original model said, by all threads together. */
  readonly originalBytes: number;
  /** Step that the run goes on from, 0 for a new one. */
  readonly fromStep: number;
}

export interface StepReport {
  /** Counted from 1. */
  readonly step: number;
  readonly steps: number;
  readonly tokens: number;
  /** Mean cross-entropy with the next token, nats. */
  readonly crossEntropy: number;
  /** Mean KL(original || tuned) of the predictions; 0 unless the task distils. */
  readonly divergence: number;
  /** Share of a token's experts that its predecessor had, teacher-forced, mean over layers. */
  readonly eor: number;
  /** Means of the routers' own losses over tokens and layers, before weights. */
  readonly terms: Readonly<Record<string, number>>;
  readonly trustWeight: number;
  /** What the other terms' weights are multiplied with to keep the budget of divergence. */
  readonly localityScale: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** The gradient was no number; nothing was changed. */
  readonly skipped: boolean;
  readonly ms: number;
}

export interface TrainFullResult {
  readonly delta: RouterDelta;
  readonly steps: number;
  /** Steps that changed nothing, because their gradient was no number. */
  readonly skipped: number;
}

/** Of the demo model on one core with AVX-512 (AMD EPYC of 2024): 1,050 tokens a second of processor time, 37 MFLOP each. */
const CORE_OPERATIONS_PER_SECOND = 39e9;
const DEFAULT_ORIGINAL_BYTES = 2 ** 29;
/** Of a step in the popularity of experts: some 10 steps, in which texts of all kinds come. */
const POPULARITY_SHARE = 0.1;
/** After so many steps in a row without a usable gradient there will be none. */
const MOST_SKIPPED_IN_A_ROW = 3;

/**
 * @throws UnsupportedModelError for a model whose gradients are not written, before anything is computed
 * @throws TuneError `too-little-data`, `diverged`, `bad-checkpoint`; and the signal's reason
 */
export async function trainFull(options: TrainFullOptions): Promise<TrainFullResult> {
  const { signal, checkpoint, optimizer = {}, trustBudget, divergenceBudget, warmupLocality = 200 } = options;
  const { threads = 2, seed = 1, stepTokens = 4096, steps, terms, couple = false } = options;
  signal?.throwIfAborted();
  const gguf = openGguf(options.model);
  const wiring = readWiring(gguf);
  const base = readBaseGates(gguf, readMoeLayout(gguf));
  const memory = threadMemory(options);
  const task = taskWeights(options.task ?? "ce");
  const source = new SequenceSource(options.documents, { sequenceTokens: memory.sequenceTokens, seed });
  const stepSequences = Math.max(1, Math.floor(stepTokens / memory.sequenceTokens));
  const fingerprint = JSON.stringify({
    base: base.map(({ sha256 }) => sha256),
    data: source.sha256(),
    ...{ seed, stepSequences, task, terms, trustBudget, divergenceBudget, warmupLocality, couple, optimizer, threads },
  });
  const state = startingState(base, wiring.router.experts, options, fingerprint);
  const { originalBytes = DEFAULT_ORIGINAL_BYTES } = options;
  const originals = memory.withOriginal ? originalStatesData(source.all(), wiring.hidden, originalBytes) : undefined;
  const cost = trainingCost(wiring, memory, task);
  const tokens = Math.max(0, steps - state.step) * stepSequences * (source.tokens / source.length);
  options.onEstimate?.({
    ...cost,
    tokens,
    operations: tokens * cost.operationsPerToken,
    expectedSeconds: (tokens * cost.operationsPerToken) / (threads * CORE_OPERATIONS_PER_SECOND),
    threads,
    originalBytes: originals?.states.byteLength ?? 0,
    fromStep: state.step,
  });

  const gateSizes = state.gates.map(({ length }) => length);
  await using workers = new GradientWorkers({
    ...{ model: options.model, threads, memory, terms, originals, gateSizes, signal },
  });
  const collapse = await collapseWatch(workers, base, source, stepSequences);
  let skippedInARow = 0;
  for (; state.step < steps; ) {
    const startedAt = performance.now();
    for (const [layer, gate] of state.gates.entries()) workers.gates[layer].set(gate);
    const sequences = source.take(state.step * stepSequences, stepSequences);
    const stepTotal = tokensOf(sequences);
    const { gradients, losses } = await workers.train(sequences, {
      task,
      stepTargets: stepTotal - sequences.length,
      stepTokens: stepTotal,
      strengths: { ...strengths(state, options), ...balanced(state, collapse, options) },
      couple,
    });
    const means = meanLosses(losses, stepTotal, state.gates.length);
    const usable = Number.isFinite(means.crossEntropy) && Number.isFinite(means.divergence);
    const update = usable
      ? adamWUpdate(state.gates, gradients, state.adamw, optimizer)
      : { gradientNorm: Number.NaN, learningRate: 0 };
    const skipped = !Number.isFinite(update.gradientNorm);
    state.step++;
    if (skipped) state.skipped++;
    skippedInARow = skipped ? skippedInARow + 1 : 0;
    options.onStep?.({
      ...means,
      ...update,
      step: state.step,
      steps,
      tokens: stepTotal,
      trustWeight: state.trustWeight,
      localityScale: state.localityScale,
      skipped,
      ms: performance.now() - startedAt,
    });
    if (skippedInARow === MOST_SKIPPED_IN_A_ROW) throw diverged(state.step, checkpoint?.path);
    if (!skipped) keepBudgets(state, means, options);
    const uses = usesOf(losses);
    followPopularity(state, uses, stepTotal);
    const finding = skipped ? undefined : collapse.add({ tokens: stepTotal, uses });
    if (finding !== undefined && (options.stopOnCollapse ?? true))
      throw collapsed(finding, state.step, checkpoint?.path);
    const due = checkpoint !== undefined && (state.step % checkpoint.everySteps === 0 || state.step === steps);
    if (due && !skipped) await writeCheckpoint(checkpoint.path, state, fingerprint);
  }
  const layers = base.map(({ block, sha256 }, layer) => ({
    block,
    gate: state.gates[layer],
    bias: undefined,
    baseSha256: sha256,
  }));
  const { experts, used } = wiring.router;
  const { architecture, hidden: width } = wiring;
  return {
    delta: { architecture, experts, used, width, method: "full", layers },
    steps: state.step,
    skipped: state.skipped,
  };
}

export interface EvaluateFullOptions
  extends Pick<TrainFullOptions, "model" | "documents" | "sequenceTokens" | "batchTokens" | "threads" | "weightBytes"> {
  /** By layer, `[experts][hidden]`. @default the model's own */
  readonly gates?: readonly Float32Array[];
  readonly signal?: AbortSignal;
}

/** Mean losses of texts, teacher-forced; `divergence` is from the model with its own gates. */
export async function evaluateFull(
  options: EvaluateFullOptions,
): Promise<Pick<StepReport, "crossEntropy" | "divergence" | "eor">> {
  const { model, documents, threads = 2, signal } = options;
  const gguf = openGguf(model);
  readWiring(gguf);
  const gates = options.gates ?? readBaseGates(gguf, readMoeLayout(gguf)).map(({ weights }) => weights);
  const memory = { ...threadMemory(options), withOriginal: options.gates !== undefined };
  const source = new SequenceSource(documents, { sequenceTokens: memory.sequenceTokens, seed: 0 });
  const gateSizes = gates.map(({ length }) => length);
  await using workers = new GradientWorkers({ model, threads, memory, terms: undefined, gateSizes, signal });
  for (const [layer, gate] of gates.entries()) workers.gates[layer].set(gate);
  const { crossEntropy, divergence, eor } = meanLosses(
    await workers.evaluate(source.all(), memory.withOriginal),
    source.tokens,
    gates.length,
  );
  return { crossEntropy, divergence, eor };
}

function threadMemory(
  options: Pick<TrainFullOptions, "sequenceTokens" | "batchTokens" | "weightBytes" | "task">,
): LayeredModelOptions {
  const { sequenceTokens = 256, batchTokens = 2048, weightBytes, task } = options;
  return {
    sequenceTokens,
    batchTokens: Math.max(batchTokens, sequenceTokens),
    withOriginal: task === "kd" || task === "half",
    ...(weightBytes === undefined ? {} : { weightBytes }),
  };
}

function taskWeights(task: "ce" | "kd" | "half" | "none"): TaskWeights {
  const crossEntropy = { ce: 1, kd: 0, half: 0.5, none: 0 }[task];
  return { crossEntropy, distillation: task === "none" ? 0 : 1 - crossEntropy };
}

function startingState(
  base: readonly BaseGate[],
  experts: number,
  options: TrainFullOptions,
  fingerprint: string,
): TrainingState {
  const gates = base.map(({ weights }) => weights.slice());
  const { checkpoint, terms } = options;
  if (checkpoint !== undefined && fs.existsSync(checkpoint.path))
    return readCheckpoint(checkpoint.path, gates, experts, fingerprint);
  return {
    step: 0,
    skipped: 0,
    gates,
    adamw: adamWState(gates),
    trustWeight: (terms?.weights ?? START_WEIGHTS).trust,
    localityScale: 1,
    popularity: base.map(() => new Float32Array(experts)),
    trust: { soon: 0, long: 0 },
    divergence: { soon: 0, long: 0 },
  };
}

/** Multipliers of this step's terms; trust grows and the others shrink at once where a budget is overrun. */
function strengths(state: TrainingState, { trustBudget, divergenceBudget, warmupLocality = 200 }: TrainFullOptions) {
  const { trust, divergence, trustWeight, localityScale, step } = state;
  const warm = Math.min(1, (step + 1) / Math.max(1, warmupLocality));
  return {
    trust: trustBudget === undefined ? trustWeight : trustWeight / passingFactor(trust, trustBudget),
    locality: warm * localityScale * (divergenceBudget === undefined ? 1 : passingFactor(divergence, divergenceBudget)),
  };
}

/** Only where the balance of loads is among the terms: the paper's objective has nothing of the kind. */
function balanced({ popularity }: TrainingState, collapse: RoutingCollapse, { terms }: TrainFullOptions) {
  if ((terms?.weights?.balance ?? 0) === 0) return {};
  return { popularity, brakes: collapse.brakes(popularity) };
}

/** Before the other terms have their weights, staying near is no sign of too much trust. */
function keepBudgets(
  state: TrainingState,
  { terms, divergence }: Pick<StepReport, "terms" | "divergence">,
  { trustBudget, divergenceBudget, warmupLocality = 200 }: TrainFullOptions,
): void {
  const warm = state.step >= warmupLocality;
  if (trustBudget !== undefined && terms.trust !== undefined) {
    followDivergence(state.trust, terms.trust);
    const factor = lastingFactor(state.trust, trustBudget);
    if (warm || factor < 1) state.trustWeight /= factor;
  }
  if (divergenceBudget !== undefined) {
    followDivergence(state.divergence, divergence);
    const factor = lastingFactor(state.divergence, divergenceBudget);
    if (warm || factor < 1) state.localityScale *= factor;
  }
}

function meanLosses(
  losses: readonly BatchLosses[],
  tokens: number,
  layers: number,
): Pick<StepReport, "crossEntropy" | "divergence" | "eor" | "terms"> {
  const sum = (of: (part: BatchLosses) => number) => losses.reduce((total, part) => total + of(part), 0);
  const targets = sum((part) => part.targets);
  const names = new Set(losses.flatMap((part) => Object.keys(part.terms)));
  return {
    crossEntropy: sum((part) => part.crossEntropy) / targets,
    divergence: sum((part) => part.divergence) / targets,
    eor: sum((part) => part.reuse) / sum((part) => part.pairs),
    terms: Object.fromEntries([...names].map((name) => [name, sum((part) => part.terms[name] ?? 0) / tokens / layers])),
  };
}

/** The original gates' choices in the first steps' text. */
async function collapseWatch(
  workers: GradientWorkers,
  base: readonly BaseGate[],
  source: SequenceSource,
  stepSequences: number,
): Promise<RoutingCollapse> {
  for (const [layer, { weights }] of base.entries()) workers.gates[layer].set(weights);
  const steps: StepUses[] = [];
  let tokens = 0;
  for (let from = 0; from < source.length && tokens < RoutingCollapse.tokens; from += stepSequences) {
    const sequences = source.take(from, Math.min(stepSequences, source.length - from));
    const losses = await workers.evaluate(sequences, false);
    steps.push({ tokens: tokensOf(sequences), uses: usesOf(losses) });
    tokens += tokensOf(sequences);
  }
  return new RoutingCollapse(steps);
}

function followPopularity({ step, popularity }: TrainingState, uses: readonly Float64Array[], tokens: number): void {
  // At first the mean of all steps so far.
  const share = Math.max(POPULARITY_SHARE, 1 / step);
  for (const [layer, popular] of popularity.entries())
    for (let e = 0; e < popular.length; e++) popular[e] += share * (uses[layer][e] / tokens - popular[e]);
}

function tokensOf(sequences: readonly TrainingSequence[]): number {
  return sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

function usesOf(losses: readonly BatchLosses[]): Float64Array[] {
  const sum: Float64Array[] = [];
  for (const { uses } of losses) addUses(sum, uses);
  return sum;
}

function lastCheckpoint(checkpoint: string | undefined): string {
  return checkpoint !== undefined && fs.existsSync(checkpoint)
    ? `${checkpoint} holds the last state that was sound`
    : "There is no checkpoint";
}

function collapsed(finding: string, step: number, checkpoint: string | undefined): TuneError {
  return new TuneError(
    "collapsed",
    `Training was stopped at step ${step} because the routing collapses. ${finding} ${lastCheckpoint(checkpoint)}. Train with a lower learning rate, smaller weights of locality or a balance term (--lambda), or a smaller budget; --ignore-collapse goes on all the same.`,
  );
}

function diverged(step: number, checkpoint: string | undefined): TuneError {
  return new TuneError(
    "diverged",
    `The losses of ${MOST_SKIPPED_IN_A_ROW} steps in a row, the last being step ${step}, were no numbers. ${lastCheckpoint(checkpoint)}. Train with a lower learning rate.`,
  );
}
