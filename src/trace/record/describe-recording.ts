/** The description of a trace that is recorded here: what `trace.json` tells of the model and of how it was run. */
import { basename } from "node:path";
import { warmsetVersion } from "../../bench/machine.ts";
import type { RouterOption } from "../../engine/router-override.ts";
import { LLAMA_VERSION } from "../../llama/index.ts";
import type { TraceDescription } from "../trace.ts";
import type { GenerateSettings, RecordingJob } from "./recording-job.ts";
import type { RecordingPlan } from "./recording-plan.ts";
import { routerTypes, tracedModel } from "./traced-model.ts";

/** What only the open model tells. */
export interface RecordingRun {
  readonly resident: boolean;
  readonly microBatchTokens: number;
  /** What experts were streamed in when they were not all resident. */
  readonly expertBudgetBytes: number;
}

/** @param scoring how the routers score, as `scoringText` says it; null when that cannot be seen */
export function describeRecording(
  plan: RecordingPlan,
  scoring: string | null,
  run: RecordingRun | undefined,
): TraceDescription {
  const { job, length, hasBos, layout } = plan;
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: { ...tracedModel(job.model), scoring },
    recording: {
      recorder: `warmset ${warmsetVersion()}, llama.cpp ${LLAMA_VERSION}`,
      date: new Date().toISOString(),
      tokensFrom: job.generate === undefined ? ["forced"] : ["forced", "generated"],
      sampleLength: length,
      start: hasBos ? "BOS added" : "no BOS added: the model's file does not ask for one",
      notes: [planNote(plan), ...(job.notes ?? []), ...notes(plan), ...(run === undefined ? [] : [runNote(job, run)])],
    },
    columns: {
      weights: true,
      probs: job.probs,
      hiddenWidth: job.hidden ? layout.hiddenSize : 0,
      tokens: true,
      predictions: true,
    },
  };
}

/** The note by which a recording that is resumed is known again. */
export function planNote(plan: RecordingPlan): string {
  return `${plan.job.prompts === undefined ? "Texts" : "Prompts"} and settings have the SHA-256 ${plan.hash}.`;
}

function notes(plan: RecordingPlan): string[] {
  const { job, unusedTokens } = plan;
  return [
    "Weights are the chosen experts' shares of the router's distribution, made to sum to 1 in each layer.",
    `Routers are ${routerTypes(job.model)}.`,
    ...(job.engine.router === undefined ? [] : [routerNote(job.engine.router)]),
    ...(job.generate === undefined ? [] : [generationNote(plan, job.generate)]),
    ...(unusedTokens > 0
      ? [`${unusedTokens} tokens at the ends of the texts make no whole sample and are left out.`]
      : []),
  ];
}

function routerNote({ path, scale = 1 }: RouterOption): string {
  return `The routers are not the model's own but those of ${basename(path)} at scale ${scale}.`;
}

function runNote({ engine }: RecordingJob, { resident, microBatchTokens, expertBudgetBytes }: RecordingRun): string {
  return resident
    ? `All experts were in memory; batches had up to ${microBatchTokens} tokens.`
    : `Experts were streamed in ${expertBudgetBytes} bytes with the policy ${engine.policy}; batches had up to ${microBatchTokens} tokens.`;
}

function generationNote({ job, samples }: RecordingPlan, generate: GenerateSettings): string {
  const { temperature, topK, topP, minP, seed, ignoreEndOfGeneration } = generate;
  const how =
    temperature === 0
      ? "the most likely one each"
      : `drawn at temperature ${temperature}, top-k ${topK}, top-p ${topP}, min-p ${minP}, seed ${seed} plus the sample's number`;
  const end = ignoreEndOfGeneration ? "also beyond its end" : "or fewer where it ended";
  const given = rangeText(samples.map(({ length }) => length));
  const made = rangeText(samples.map(({ decodeTokens }) => decodeTokens));
  return `After ${given} tokens of ${job.prompts === undefined ? "text" : "a prompt"} the model went on for ${made} tokens, ${how}, ${end}.`;
}

function rangeText(counts: readonly number[]): string {
  const [least, most] = counts.reduce(([a, b], count) => [Math.min(a, count), Math.max(b, count)], [Infinity, 0]);
  return least === most ? `${most}` : `${least} to ${most}`;
}
