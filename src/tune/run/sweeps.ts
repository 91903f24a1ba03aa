/**
 * The sweeps of "local" and "closed-form": capture what the routers are given, tune each layer as if those before it stood still,
 * and do it again with the tuned gates in place, because later layers are given something else then.
 */
import { createHash } from "node:crypto";
import path from "node:path";
import type { BaseModel, GateValues } from "../../adapter/index.ts";
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import type { Scoring } from "../../llama/graph-hook.ts";
import { type CaptureDocument, captureDocuments } from "../capture-documents.ts";
import { type CapturedInputs, captureTrace } from "../captured-inputs.ts";
import type { LayerResult } from "../layer-tasks.ts";
import type { RouterDelta } from "../router-delta.ts";
import { readRouterRules } from "../router-rule.ts";
import { tuneClosedForm, tuneLocal, withinTrustBudget } from "../tune-layers.ts";
import { tokensThatFit } from "./layer-memory.ts";
import { SweepCheckpoint, type SweptLayer } from "./sweep-checkpoint.ts";
import type { DocumentSplit, TunedRouters, TuningEvents } from "./tuned-routers.ts";
import { generateOf, type TuningDocuments } from "./tuning-documents.ts";
import type { TunedLayerFigures, TuningJob } from "./tuning-job.ts";

/** Inputs of all routers, for one sweep. */
interface SweepInputs extends Disposable {
  readonly inputs: CapturedInputs;
  readonly documents: readonly CaptureDocument[];
  readonly scoring: Scoring;
  readonly resident: boolean;
  readonly notes: readonly string[];
}

export async function runSweeps(
  job: TuningJob,
  base: BaseModel,
  read: TuningDocuments,
  split: DocumentSplit,
  events: TuningEvents,
): Promise<TunedRouters> {
  const notes = new Set<string>();
  const { architecture, experts, used, width } = base;
  const shape = { architecture, experts, used, width, method: job.method };
  let layers: readonly SweptLayer[] = [];
  let { documents } = read;
  let resident = true;
  for (let sweep = 1; sweep <= job.sweeps; sweep++) {
    const checkpoint = checkpointOf(job, base, read, sweep, shape);
    const done = job.checkpoint?.resume ? checkpoint?.resume(base) : undefined;
    // A trace or an earlier sweep has the tokens of all documents; otherwise they come out of the model.
    const known = documents.every((document) => "phases" in document);
    if (known && done !== undefined && done.size === base.gates.length) {
      layers = base.gates.map(({ block }) => done.get(block) as SweptLayer);
      continue;
    }
    using swept = await inputsOf(job, { ...read, documents }, sweep, gatesOf(layers), events);
    documents = swept.documents;
    resident = swept.resident;
    for (const note of swept.notes) notes.add(note);
    layers = await tuneSweep(job, base, swept, split, sweep, layers, { checkpoint, done, events, notes });
  }
  const delta: RouterDelta = { ...shape, layers: layers.flatMap(({ gate }) => gate ?? []) };
  return {
    ...{ delta, layers: layers.map(({ figures }) => figures), documents: documents as readonly CaptureDocument[] },
    ...{ steps: job.method === "local" ? job.local.steps * job.sweeps : 0, skippedSteps: 0 },
    ...{ resident, notes: [...notes] },
  };
}

async function inputsOf(
  job: TuningJob,
  { documents, longest, tokens, trace }: TuningDocuments,
  sweep: number,
  gates: readonly GateValues[],
  { signal, abortAddress, onLoad, onProgress }: TuningEvents,
): Promise<SweepInputs> {
  const { model, engine, sweeps } = job;
  let done = 0;
  const tell = (at: number) => onProgress?.({ step: "capturing", sweep, sweeps, tokens: at, of: tokens });
  if (trace !== undefined && sweep === 1) {
    const inputs = await captureTrace(trace.source, { signal, onProgress: tell });
    return {
      ...{
        inputs,
        documents: documents as readonly CaptureDocument[],
        scoring: trace.scoring,
        resident: false,
        notes: [],
      },
      [Symbol.dispose]: () => inputs[Symbol.dispose](),
    };
  }
  return await captureDocuments(documents, generateOf(job), {
    ...{ model, engine, documentTokens: longest, gates, signal, abortAddress, onLoad },
    onTokens: (more) => {
      done += more;
      tell(done);
    },
  });
}

interface SweepState {
  readonly checkpoint: SweepCheckpoint | undefined;
  readonly done: ReadonlyMap<number, SweptLayer> | undefined;
  readonly events: TuningEvents;
  readonly notes: Set<string>;
}

async function tuneSweep(
  job: TuningJob,
  base: BaseModel,
  { inputs, scoring }: SweepInputs,
  split: DocumentSplit,
  sweep: number,
  before: readonly SweptLayer[],
  { checkpoint, done, events, notes }: SweepState,
): Promise<SweptLayer[]> {
  const rules = readRouterRules(base.gguf, readMoeLayout(openGguf(job.model)), scoring);
  const subject = { inputs, base: base.gates, rules };
  const swept = new Map(done);
  const fit = tokensThatFit(job, base, inputs, split);
  if (fit.note !== undefined) notes.add(fit.note);
  const options = {
    ...{ training: fit.training, heldOut: split.heldOut.filter((document) => fit.heldOut.has(document)) },
    layers: [...base.gates.keys()].filter((layer) => !swept.has(base.gates[layer].block)),
    threads: fit.threads,
    ...(events.signal === undefined ? {} : { signal: events.signal }),
    onProgress: ({ tokensDone, tokens }: { tokensDone: number; tokens: number }) =>
      events.onProgress?.({ step: "tuning", sweep, sweeps: job.sweeps, tokens: tokensDone, of: tokens }),
    onLayer: (result: LayerResult) => {
      const layer = sweptLayer(job, base, result);
      swept.set(layer.figures.block, layer);
      checkpoint?.keep(layer);
    },
  };
  if (job.method === "closed-form") await tuneClosedForm(subject, { ...options, mus: job.mus });
  else
    await tuneLocal(subject, {
      ...options,
      ...job.local,
      ...{ trustBudget: job.trustBudget, seed: job.seed },
      adaptTrust: job.local.adaptTrust && job.local.weights.trust > 0,
      ...(before.length === 0 ? {} : { start: base.gates.map((gate, i) => startOf(before[i]) ?? gate) }),
    });
  await checkpoint?.settled();
  return base.gates.map(({ block }) => swept.get(block) as SweptLayer);
}

function startOf({ gate }: SweptLayer) {
  return gate && { weights: gate.gate, bias: gate.bias };
}

/** What becomes of a layer: of the gates that were made, the one that gains most within the budget. */
function sweptLayer(job: TuningJob, base: BaseModel, { layer, gates, metrics, baseMetrics }: LayerResult): SweptLayer {
  const { block, sha256 } = base.gates[layer];
  const chosen =
    job.method === "closed-form"
      ? withinTrustBudget({ gates, metrics }, job.trustBudget)
      : { gate: gates[0], metrics: metrics?.[0] };
  const best = chosen === undefined ? -1 : gates.indexOf(chosen.gate);
  const figures: TunedLayerFigures = {
    block,
    trustKl: chosen?.metrics?.trustKl ?? 0,
    eor: chosen?.metrics?.eor ?? baseMetrics?.eor ?? 0,
    baseEor: baseMetrics?.eor ?? 0,
    mu: job.method === "closed-form" && best >= 0 ? job.mus[best] : null,
  };
  return {
    figures,
    gate: chosen && { block, gate: chosen.gate.weights, bias: chosen.gate.bias, baseSha256: sha256 },
  };
}

function gatesOf(layers: readonly SweptLayer[]): GateValues[] {
  return layers.flatMap(({ gate }) =>
    gate === undefined ? [] : [{ block: gate.block, weights: gate.gate, bias: gate.bias }],
  );
}

function checkpointOf(
  job: TuningJob,
  base: BaseModel,
  read: TuningDocuments,
  sweep: number,
  shape: Omit<RouterDelta, "layers">,
): SweepCheckpoint | undefined {
  if (job.checkpoint === undefined) return undefined;
  const hash = createHash("sha256");
  for (const { tokens } of read.documents) hash.update(Int32Array.of(tokens.length)).update(tokens);
  const { method, trustBudget, local, mus, seed, heldOutShare } = job;
  const fingerprint = JSON.stringify({
    base: base.gates.map(({ sha256 }) => sha256),
    documents: hash.digest("hex"),
    ...{ method, trustBudget, seed, heldOutShare, generate: generateOf(job) ?? null, sweep },
    ...(method === "local" ? { local } : { mus }),
  });
  return new SweepCheckpoint(path.join(job.checkpoint.directory, `sweep-${sweep}.safetensors`), fingerprint, shape);
}
