/** The description of a trace that is recorded here: what `trace.json` tells of the model and of how it was run. */
import { warmsetVersion } from "../../bench/machine.ts";
import type { Session } from "../../engine/session.ts";
import type { Scoring } from "../../llama/graph-hook.ts";
import type { TraceDescription } from "../trace.ts";
import type { RecordingJob } from "./recording-job.ts";
import type { RecordingPlan } from "./recording-plan.ts";
import { routerTypes, tracedModel } from "./traced-model.ts";

export interface RecordingSetting {
  readonly job: RecordingJob;
  readonly plan: RecordingPlan;
  readonly session: Session;
  /** Tokens of a sample at most. */
  readonly length: number;
  readonly hiddenWidth: number;
  /** Undefined when the routers cannot be looked into. */
  readonly scoring: Scoring | undefined;
}

export function describeRecording(setting: RecordingSetting): TraceDescription {
  const { job, plan, session, length, scoring, hiddenWidth } = setting;
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: tracedModel(job.model, scoring),
    recording: {
      recorder: `warmset ${warmsetVersion()}, llama.cpp ${session.model.libraries.version}`,
      date: new Date().toISOString(),
      tokensFrom: job.generate === undefined ? ["forced"] : ["forced", "generated"],
      sampleLength: length,
      start: session.model.vocabulary.addsBos ? "BOS added" : "no BOS added: the model's file does not ask for one",
      notes: [planNote(plan), ...notes(setting)],
    },
    columns: {
      weights: true,
      probs: job.probs,
      hiddenWidth,
      tokens: true,
      predictions: true,
    },
  };
}

/** The note by which a recording that is resumed is known again. */
export function planNote(plan: RecordingPlan): string {
  return `Texts and settings have the SHA-256 ${plan.hash}.`;
}

function notes({ job, plan, session }: RecordingSetting): string[] {
  const unused = job.generate === undefined ? plan.texts.reduce((sum, text) => sum + text.unusedTokens, 0) : 0;
  return [
    "Weights are the chosen experts' shares of the router's distribution, made to sum to 1 in each layer.",
    `Routers are ${routerTypes(job.model)}.`,
    session.resident
      ? `All experts were in memory; batches had up to ${session.microBatchTokens} tokens.`
      : `Experts were streamed in ${session.plan.expertBudgetBytes} bytes with the policy ${job.engine.policy}; ` +
        `batches had up to ${session.microBatchTokens} tokens.`,
    ...(job.generate === undefined ? [] : [generationNote(job.generate)]),
    ...(unused > 0 ? [`${unused} tokens at the ends of the texts make no whole sample and are left out.`] : []),
  ];
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
