/** The documents that routers are tuned on: from texts, or from the tokens of a recorded trace. Runs no model. */

import { headerHash } from "../../gguf/header-hash.ts";
import { openGguf } from "../../gguf/index.ts";
import type { Scoring } from "../../llama/graph-hook.ts";
import type { GenerateSettings } from "../../trace/record/recording-job.ts";
import { planRecording } from "../../trace/record/recording-plan.ts";
import type { TraceSource } from "../../trace/trace.ts";
import { openTrace } from "../../trace/trace-reader.ts";
import { type CaptureDocument, type CapturePrompt, givenDocument } from "../capture-documents.ts";
import { TuneError } from "../errors.ts";
import { tracedScoring } from "../router-rule.ts";
import type { TuningJob } from "./tuning-job.ts";

export interface TuningDocuments {
  /** As they are, or only their starts, which the model is to go on with. */
  readonly documents: readonly CaptureDocument[] | readonly CapturePrompt[];
  /** Tokens of one at most, with what is generated. */
  readonly longest: number;
  /** Tokens of all at most. */
  readonly tokens: number;
  /** A trace with the routers' inputs, which the first sweep need not compute. */
  readonly trace: { readonly source: TraceSource; readonly scoring: Scoring } | undefined;
}

/** @throws RecordingInputError, TraceError, TuneError `wrong-model`, `too-little-data` */
export async function readTuningDocuments({ model, text, engine }: TuningJob): Promise<TuningDocuments> {
  if (text.kind === "trace") return await ofTrace(model, text.directory);
  const plan = planRecording({
    ...{ model, texts: text.texts, directory: "", resume: false, sampleLength: text.documentTokens },
    ...{ samples: text.documents, generate: text.generate, probs: false, hidden: true, engine },
  });
  const documents =
    text.generate === undefined
      ? plan.samples.map(({ domain, tokens }) => givenDocument(domain, tokens()))
      : plan.samples.map(({ domain, tokens, decodeTokens }) => ({ domain, tokens: tokens(), decodeTokens }));
  return { documents, longest: plan.length, tokens: plan.tokens, trace: undefined };
}

/** How the model goes on from the documents' starts; undefined where they are given whole. */
export function generateOf({ text }: Pick<TuningJob, "text">): GenerateSettings | undefined {
  return text.kind === "texts" ? text.generate : undefined;
}

async function ofTrace(model: string, directory: string): Promise<TuningDocuments> {
  const source = await openTrace(directory);
  const { model: traced, columns } = source.description;
  const hash = headerHash(openGguf(model));
  if (traced.hash !== null && traced.hash !== hash)
    throw new TuneError(
      "wrong-model",
      `The trace ${directory} is of ${traced.name}, another file than ${model}. Give the model that it was recorded from, or record one.`,
    );
  const documents: CaptureDocument[] = [];
  for (const { index } of source.parts)
    for await (const { domain, tokens, phases } of source.samples(index, { tokens: true }))
      documents.push({ domain, tokens: (tokens as Int32Array).slice(), phases: phases.slice() });
  if (documents.length === 0)
    throw new TuneError("too-little-data", `The trace ${directory} has no samples. Record it again.`);
  const scoring = tracedScoring(traced.scoring);
  return {
    documents,
    longest: documents.reduce((most, { tokens }) => Math.max(most, tokens.length), 0),
    tokens: documents.reduce((sum, { tokens }) => sum + tokens.length, 0),
    trace: columns.hiddenWidth > 0 && scoring !== undefined ? { source, scoring } : undefined,
  };
}
