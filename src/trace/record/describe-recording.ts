/** The description of a trace that is recorded here: what `trace.json` tells of the model and of how it was run. */
import { warmsetVersion } from "../../bench/machine.ts";
import { LLAMA_VERSION } from "../../llama/index.ts";
import type { TraceDescription } from "../trace.ts";
import type { RecordingJob } from "./recording-job.ts";
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
      notes: [planNote(plan), ...notes(plan), ...(run === undefined ? [] : [runNote(job, run)])],
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
  return `Texts and settings have the SHA-256 ${plan.hash}.`;
}

function notes({ job, texts }: RecordingPlan): string[] {
  const unused = job.generate === undefined ? texts.reduce((sum, text) => sum + text.unusedTokens, 0) : 0;
  return [
    "Weights are the chosen experts' shares of the router's distribution, made to sum to 1 in each layer.",
    `Routers are ${routerTypes(job.model)}.`,
    ...(job.generate === undefined ? [] : [generationNote(job.generate)]),
    ...(unused > 0 ? [`${unused} tokens at the ends of the texts make no whole sample and are left out.`] : []),
  ];
}

function runNote({ engine }: RecordingJob, { resident, microBatchTokens, expertBudgetBytes }: RecordingRun): string {
  return resident
    ? `All experts were in memory; batches had up to ${microBatchTokens} tokens.`
    : `Experts were streamed in ${expertBudgetBytes} bytes with the policy ${engine.policy}; batches had up to ${microBatchTokens} tokens.`;
}

function generationNote(generate: NonNullable<RecordingJob["generate"]>): string {
  const { promptTokens, tokens, temperature, topK, topP, minP, seed, ignoreEndOfGeneration } = generate;
  const how =
    temperature === 0
      ? "the most likely one each"
      : `drawn at temperature ${temperature}, top-k ${topK}, top-p ${topP}, min-p ${minP}, seed ${seed} plus the sample's number`;
  const end = ignoreEndOfGeneration ? "also beyond its end" : "or fewer where it ended";
  return `After ${promptTokens} tokens of text the model went on for ${tokens} tokens, ${how}, ${end}.`;
}
