/**
 * Tuning from beginning to end in this process: reads the text, captures what routers are given, tunes in sweeps or trains end
 * to end, writes the adapter, and measures it on documents that nothing was tuned on. It holds the thread while a model computes,
 * so it runs in a process of its own.
 */
import { mkdirSync } from "node:fs";
import { type BaseModel, readBaseModel, writeLoraAdapter, writeRouterSafetensors } from "../../adapter/index.ts";
import { processMemory } from "../../engine/process-memory.ts";
import { readMoeLayout } from "../../gguf/index.ts";
import { type CaptureDocument, type CapturePrompt, captureDocuments, promptTokensOf } from "../capture-documents.ts";
import { TuneError } from "../errors.ts";
import type { EvaluationResult } from "../eval/evaluation.ts";
import { requireChoiceByLogits } from "../local/tune-layer.ts";
import type { RouterDelta } from "../router-delta.ts";
import { readRouterRules } from "../router-rule.ts";
import { splitDocuments } from "../tune-layers.ts";
import { estimateFull, estimateSweeps } from "./estimate.ts";
import { requireLayerMemory } from "./layer-memory.ts";
import { measureResult, recommendedScale } from "./measure-result.ts";
import { runSweeps } from "./sweeps.ts";
import { requireNoCheckpoint, trainEndToEnd } from "./train-end-to-end.ts";
import type { DocumentSplit, TunedRouters, TuningEvents } from "./tuned-routers.ts";
import { generateOf, readTuningDocuments, type TuningDocuments } from "./tuning-documents.ts";
import type { TuningJob, TuningSummary } from "./tuning-job.ts";

/**
 * @throws RecordingInputError, TraceError for texts and traces; TuneError `too-little-data`, `wrong-model`, `diverged`,
 *   `bad-checkpoint`, `unsupported-router`; UnsupportedModelError for "full"; AdapterError; what a session throws; the signal's
 *   reason
 */
export async function runTuning(job: TuningJob, events: TuningEvents = {}): Promise<TuningSummary> {
  const startedAt = performance.now();
  const base = readBaseModel(job.model);
  requireWritable(job, base);
  if (job.method === "full") requireNoCheckpoint(job);
  const read = await readTuningDocuments(job);
  const split = splitFor(job, read.documents.length);
  if (job.checkpoint !== undefined) mkdirSync(job.checkpoint.directory, { recursive: true });
  const tuned =
    job.method === "full"
      ? await tuneFull(job, base, read, split, events)
      : await tuneSweeps(job, base, read, split, events);
  const method = methodText(job);
  if (tuned.delta.layers.length === 0)
    throw new TuneError(
      "too-little-data",
      `No layer has a better gate within a budget of ${job.trustBudget} nats. Give a larger --budget, or more text.`,
    );
  const delta = { ...tuned.delta, method };
  await writeOut(job, base, delta, {});
  const heldOut = split.heldOut.map((i) => tuned.documents[i]);
  const evaluation = job.evaluate && heldOut.length > 0 ? await measureResult(job, heldOut, tuned, events) : null;
  const scale = evaluation === null ? null : recommendedScale(evaluation);
  if (evaluation !== null) await writeOut(job, base, delta, reportOf(job, evaluation, scale));
  return {
    ...{ out: job.out, method, architecture: base.architecture },
    documents: tuned.documents.length,
    heldOutDocuments: heldOut.length,
    tokens: tuned.documents.reduce((sum, { tokens }) => sum + tokens.length, 0),
    layersTuned: delta.layers.length,
    layers: tuned.layers,
    sweeps: job.method === "full" ? 0 : job.sweeps,
    ...{ steps: tuned.steps, skippedSteps: tuned.skippedSteps, evaluation, recommendedScale: scale },
    seconds: (performance.now() - startedAt) / 1000,
    peakRssBytes: processMemory().peakBytes,
    notes: tuned.notes,
  };
}

async function tuneSweeps(
  job: TuningJob,
  base: BaseModel,
  read: TuningDocuments,
  split: DocumentSplit,
  events: TuningEvents,
): Promise<TunedRouters> {
  // How they score is not known before the graph is seen, but does not matter here.
  if (job.method === "local")
    requireChoiceByLogits(job.local.weights, readRouterRules(base.gguf, readMoeLayout(base.gguf), "softmax"));
  events.onEstimate?.(estimateSweeps(job, base, read));
  requireLayerMemory(job, base, read.longest);
  return await runSweeps(job, base, read, split, events);
}

async function tuneFull(
  job: TuningJob,
  base: BaseModel,
  read: TuningDocuments,
  split: DocumentSplit,
  events: TuningEvents,
): Promise<TunedRouters> {
  const documents = await withGeneratedText(job, read, events);
  const training = split.training.map((i) => ({
    tokens: documents[i].tokens,
    promptTokens: promptTokensOf(documents[i]),
  }));
  const { delta, steps, skipped } = await trainEndToEnd(job, training, {
    ...events,
    onEstimate: (estimate) => events.onEstimate?.(estimateFull(job, base, estimate)),
  });
  return { delta, layers: [], documents, steps, skippedSteps: skipped, resident: true, notes: [] };
}

/** Text that the model makes is made once, by its own routers. */
async function withGeneratedText(
  job: TuningJob,
  { documents, longest, tokens }: TuningDocuments,
  events: TuningEvents,
): Promise<readonly CaptureDocument[]> {
  if (documents.every((document): document is CaptureDocument => "phases" in document)) return documents;
  let done = 0;
  using capture = await captureDocuments(documents as readonly CapturePrompt[], generateOf(job), {
    ...{ model: job.model, engine: job.engine, documentTokens: longest },
    ...{ signal: events.signal, abortAddress: events.abortAddress, onLoad: events.onLoad },
    onTokens: (more) => {
      done += more;
      events.onProgress?.({ step: "capturing", sweep: 1, sweeps: 1, tokens: done, of: tokens });
    },
  });
  return capture.documents;
}

function requireWritable({ out }: TuningJob, base: BaseModel): void {
  if (out.endsWith(".gguf") && base.gates.some(({ bias }) => bias !== undefined))
    throw new TuneError(
      "unsupported-router",
      `The routers of ${base.architecture} have biases, which an adapter cannot carry. Name the output .safetensors.`,
    );
}

/** @throws TuneError `too-little-data` */
function splitFor({ heldOutShare, seed, method }: TuningJob, documents: number): DocumentSplit {
  const split = splitDocuments(documents, { heldOutShare, seed });
  if (split.heldOut.length > 0 && split.training.length > 0) return split;
  if (documents >= 2 && heldOutShare > 0) {
    const all = [...split.training, ...split.heldOut].sort((a, b) => a - b);
    return split.heldOut.length === 0
      ? { training: all.slice(0, -1), heldOut: all.slice(-1) }
      : { training: all.slice(0, 1), heldOut: all.slice(1) };
  }
  if (method === "closed-form" || documents === 0)
    throw new TuneError(
      "too-little-data",
      "There must be at least two documents, one of them to choose by. Give more text, or shorter documents (--sample-length).",
    );
  return { training: [...Array(documents).keys()], heldOut: [] };
}

async function writeOut(
  { out }: TuningJob,
  base: BaseModel,
  delta: RouterDelta,
  report: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (out.endsWith(".gguf")) await writeLoraAdapter(out, { delta, report }, base);
  else await writeRouterSafetensors(out, { delta, report });
}

function methodText({ method, full, local, trustBudget }: TuningJob): string {
  if (method === "closed-form") return `closed-form, budget ${trustBudget}`;
  if (method === "local") return `local, ${local.steps} steps, budget ${trustBudget}`;
  const budgets = [
    ...(full.adaptTrust ? [`budget ${trustBudget}`] : []),
    ...(full.divergenceBudget === undefined ? [] : [`KL budget ${full.divergenceBudget}`]),
  ];
  return [`full, ${full.steps} steps`, ...budgets].join(", ");
}

function reportOf(
  { trustBudget }: TuningJob,
  evaluation: EvaluationResult,
  scale: number | null,
): Readonly<Record<string, unknown>> {
  const [base] = evaluation.variants;
  const tuned = evaluation.variants.find((variant) => variant.kind === "tuned" && variant.scale === 1);
  return {
    trustBudget,
    recommendedScale: scale,
    eor: { base: base.forced.eor.value, tuned: tuned?.forced.eor.value },
    perplexityChange: tuned?.drift.perplexityChange.value,
    meanKl: tuned?.drift.meanKl.value,
  };
}
