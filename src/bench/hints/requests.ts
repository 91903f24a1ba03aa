/**
 * The prompts with what the demo model said to them and which experts it used: recorded once, kept beside the inflated models, and
 * replayed from then on, simulated or with forced tokens on a drive.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { openTrace, type TraceSample } from "../../trace/index.ts";
import { recordTrace } from "../../trace/record/record-trace.ts";
import type { TraceDescription } from "../../trace/trace.ts";
import { DEMO_MODEL } from "../bench-model.ts";
import { benchFolder } from "../inflate.ts";
import { hintPrompts, type PromptKind } from "./prompts.ts";

export interface HintRequest {
  readonly kind: PromptKind;
  readonly part: "teach" | "test";
  readonly sample: TraceSample;
}

export interface RecordedRequests {
  readonly description: TraceDescription;
  readonly requests: readonly HintRequest[];
}

/** Tokens of each answer. */
export const ANSWER_TOKENS = 48;
/** Of each kind, and of each long text and template before those. */
const TEST_PROMPTS = 16;
const TEACH_PROMPTS = 6;
/** Counts what changes the requests: an older recording is then not found any more. */
const VERSION = 1;

/** Recorded first if need be, which takes half a minute. Answers are drawn, so a prompt that comes twice is answered twice. */
export async function recordedRequests(signal: AbortSignal): Promise<RecordedRequests> {
  const directory = path.join(benchFolder(), `hint-requests-v${VERSION}`);
  if (!existsSync(path.join(directory, "trace.json"))) await record(directory, signal);
  const trace = await openTrace(directory);
  const requests: HintRequest[] = [];
  for (const part of trace.parts)
    for await (const sample of trace.samples(part.index, { tokens: true, probs: true, hidden: true })) {
      const [kind, of] = sample.domain.split("/") as [PromptKind, "teach" | "test"];
      requests.push({ kind, part: of, sample });
    }
  return { description: trace.description, requests };
}

async function record(directory: string, signal: AbortSignal): Promise<void> {
  const prompts = hintPrompts({ testPrompts: TEST_PROMPTS, teachPrompts: TEACH_PROMPTS });
  await recordTrace({
    ...{ model: DEMO_MODEL, directory, signal, memory: "all", resume: true, sampleLength: 512 },
    ...{ hidden: true, probs: true, promptFormat: "raw" },
    prompts: prompts.map(({ id, kind, part, content }) => ({ id, content, domain: `${kind}/${part}` })),
    generate: { tokens: ANSWER_TOKENS, temperature: 0.7, seed: 1, ignoreEndOfGeneration: true },
  });
}
