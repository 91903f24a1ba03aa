/**
 * Tuning all layers from captured inputs, without a gradient through the network: one sweep of mode "local" or "closed-form".
 * Layers are tuned side by side, as if those before them had not moved; a second sweep on inputs captured with the tuned
 * gates in place is the caller's business, as is what becomes of the gates.
 */
import { compiledModule } from "../compiled-module.ts";
import type { PortableError } from "../engine/protocol.ts";
import { Randomness } from "../predict/randomness.ts";
import { runTasks } from "../threads/task-workers.ts";
import type { CapturedInputs } from "./captured-inputs.ts";
import type { Gate } from "./closed-form/slow-gate.ts";
import { type ClosedFormPlan, DEFAULT_MUS, systemTokens } from "./closed-form/slow-layer.ts";
import { TuneError, type TuneErrorKind } from "./errors.ts";
import type { GateMetrics } from "./gate-metrics.ts";
import type { LayerResult, LayerTask } from "./layer-tasks.ts";
import { type LocalPlan, requireChoiceByLogits } from "./local/tune-layer.ts";
import type { BaseGate } from "./router-delta.ts";
import type { RouterRule } from "./router-forward.ts";

export interface TuneLayersOptions {
  /** Documents to tune on. @default all that are not held out */
  readonly training?: readonly number[];
  /** Documents to measure on. @default none */
  readonly heldOut?: readonly number[];
  /** Measures tokens of this phase alone, PREFILL or DECODE. @default all tokens */
  readonly measuredPhase?: number;
  /** MoE layers to tune, such as those that an interrupted run left. @default all */
  readonly layers?: readonly number[];
  /** Threads, each with one layer's inputs in memory ("local") or its covariances ("closed-form"). @default 1 */
  readonly threads?: number;
  /** Ends the sweep with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called now and then. */
  readonly onProgress?: (progress: TuneProgress) => void;
  /** Called with each layer as it is done: what a checkpoint keeps. Layers do not depend on each other's results. */
  readonly onLayer?: (result: LayerResult) => void;
}

export interface TuneProgress {
  readonly tokensDone: number;
  /** Of all layers and steps; a linear system counts as the tokens that take as long. */
  readonly tokens: number;
}

export interface LocalOptions extends TuneLayersOptions, LocalPlan {
  /** Gates to begin with, by MoE layer: slow ones, or those of the sweep before. @default the base's */
  readonly start?: readonly Gate[];
}

/** What is tuned: the inputs, the frozen gates and how their routers decide, the latter two by MoE layer. */
export interface TuneSubject {
  readonly inputs: CapturedInputs;
  readonly base: readonly BaseGate[];
  readonly rules: readonly RouterRule[];
}

/** By layer, one gate each. @throws TuneError `wrong-model`, `unsupported-router`, `too-little-data`, `diverged` */
export async function tuneLocal(subject: TuneSubject, options: LocalOptions = {}): Promise<LayerResult[]> {
  const { start, steps = 400, batchTokens = 2048, weights } = options;
  if (weights !== undefined) requireChoiceByLogits(weights, subject.rules);
  const plan = localPlan(options);
  return tune(
    subject,
    options,
    // With little text a step is all of it.
    (tokens) => steps * Math.min(batchTokens, tokens),
    (task) => ({ ...task, mode: "local", start: start?.[task.layer] ?? task.base, plan }),
  );
}

/** By layer, a gate for each mu. @throws TuneError `wrong-model`, `too-little-data` */
export async function tuneClosedForm(
  subject: TuneSubject,
  options: TuneLayersOptions & ClosedFormPlan = {},
): Promise<LayerResult[]> {
  const { mus, lags, mean, ridge, rescale } = options;
  const plan: ClosedFormPlan = {
    ...(mus && { mus }),
    ...(lags && { lags }),
    ...(mean && { mean }),
    ...(ridge !== undefined && { ridge }),
    ...(rescale !== undefined && { rescale }),
  };
  return tune(
    subject,
    options,
    (tokens) => tokens + (mus ?? DEFAULT_MUS).length * systemTokens(subject.inputs.width),
    (task) => ({ ...task, mode: "closed-form", plan }),
  );
}

/** The gate that gained most in locality within the budget of each layer; the frozen one where none kept to it. */
export function withinTrustBudget(
  { gates, metrics }: Pick<LayerResult, "gates" | "metrics">,
  trustBudget: number,
): { readonly gate: Gate; readonly metrics: GateMetrics } | undefined {
  let best: { gate: Gate; metrics: GateMetrics } | undefined;
  for (const [i, gate] of gates.entries()) {
    const own = metrics?.[i];
    if (own === undefined || own.trustKl > trustBudget) continue;
    if (best === undefined || own.eor > best.metrics.eor) best = { gate, metrics: own };
  }
  return best;
}

/** Some documents held out, by number alone, so that the same ones are in every run. */
export function splitDocuments(
  documents: number,
  { heldOutShare = 1 / 3, seed = 1 }: { readonly heldOutShare?: number; readonly seed?: number } = {},
): { readonly training: readonly number[]; readonly heldOut: readonly number[] } {
  const order = new Randomness(seed).shuffle(Int32Array.from({ length: documents }, (_, i) => i));
  const count = Math.round(documents * heldOutShare);
  const ascending = (part: Int32Array) => [...part].sort((a, b) => a - b);
  return { heldOut: ascending(order.subarray(0, count)), training: ascending(order.subarray(count)) };
}

type TaskBase = Omit<Extract<LayerTask, { mode: "closed-form" }>, "mode" | "plan">;

async function tune(
  { inputs, base, rules }: TuneSubject,
  options: TuneLayersOptions,
  tokensOfLayer: (trainingTokens: number) => number,
  taskOf: (task: TaskBase) => LayerTask,
): Promise<LayerResult[]> {
  const { heldOut = [], measuredPhase, threads = 1, signal, onProgress, onLayer } = options;
  const kept = new Set(heldOut);
  const training = options.training ?? [...inputs.documents.keys()].filter((document) => !kept.has(document));
  const layers = options.layers ?? [...base.keys()];
  for (const [layer, { weights }] of base.entries())
    if (base.length !== inputs.layers || weights.length !== inputs.width * rules[layer].experts)
      throw new TuneError(
        "wrong-model",
        `The captured router inputs are of ${inputs.layers} layers of width ${inputs.width}, and the model has other routers. Capture them with the model that is tuned.`,
      );
  const trainingTokens = training.reduce((sum, document) => sum + inputs.documents[document].tokens, 0);
  if (trainingTokens < 2)
    throw new TuneError(
      "too-little-data",
      "There are no tokens to tune on. Capture some, or hold out fewer documents.",
    );
  const tasks = layers.map((layer) => {
    const { weights, bias } = base[layer];
    return taskOf({ layer, base: { weights, bias }, rule: rules[layer], training, heldOut, measuredPhase });
  });
  const tokens = layers.length * tokensOfLayer(trainingTokens);
  let tokensDone = 0;
  return runTasks<LayerTask, LayerResult>(compiledModule(import.meta.url, "./layer-worker.js"), inputs.files, tasks, {
    ...{ threads, signal, onResult: onLayer, errorOf: layerError },
    onWork: (more) => {
      tokensDone += more;
      onProgress?.({ tokensDone: Math.min(tokens, tokensDone), tokens });
    },
  });
}

function layerError({ name, message, stack, data }: PortableError, { layer }: LayerTask): Error {
  if (name === "TuneError") return new TuneError(data.kind as TuneErrorKind, `MoE layer ${layer}: ${message}`);
  return Object.assign(new Error(message), { name, stack });
}

/** The plan alone: functions and signals cannot go to a thread. */
function localPlan(options: LocalOptions): LocalPlan {
  const { trustBudget, weights, adaptTrust, steps, batchTokens, relativeRate, warmupSteps } = options;
  const { residencyTarget, window, promptWeight, temperature, seed } = options;
  const given = { trustBudget, weights, adaptTrust, steps, batchTokens, relativeRate, warmupSteps };
  const all = { ...given, residencyTarget, window, promptWeight, temperature, seed };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
