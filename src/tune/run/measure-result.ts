/**
 * The result of a run on documents that nothing was tuned on: base against tuned at several scales, and which scale is safe. In
 * a process of its own: a budget counts what its process holds, and this one still holds what tuning left.
 */
import { processMemory } from "../../engine/process-memory.ts";
import type { CaptureDocument } from "../capture-documents.ts";
import type { EvaluationResult } from "../eval/evaluation.ts";
import { inTurnByDomain } from "../eval/in-turn.ts";
import { evaluateRouters } from "./in-process.ts";
import type { TunedRouters, TuningEvents } from "./tuned-routers.ts";
import type { TuningJob } from "./tuning-job.ts";

const SCALES = [1, 0.9, 0.75, 0.5, 0.25];
/** A model that streams takes as long for each scale as for capturing. */
const STREAMED_SCALES = [1, 0.5];
const MOST_TOKENS = 16_384;
const MOST_STREAMED_TOKENS = 2048;
const GENERATED = { promptTokens: 32, tokens: 64, temperature: 0 };
const MOST_PERPLEXITY_CHANGE = 0.01;
const MOST_KL = 0.02;

export async function measureResult(
  job: TuningJob,
  heldOut: readonly CaptureDocument[],
  { resident }: TunedRouters,
  { signal, onProgress }: TuningEvents,
): Promise<EvaluationResult> {
  const limit = resident ? MOST_TOKENS : MOST_STREAMED_TOKENS;
  let tokens = 0;
  const documents = inTurnByDomain(heldOut).filter(({ tokens: own }) => {
    if (own.length < 2 || (tokens > 0 && tokens + own.length > limit)) return false;
    tokens += own.length;
    return true;
  });
  const longEnough = documents.every((document) => document.tokens.length >= GENERATED.promptTokens);
  return await evaluateRouters(
    {
      model: job.model,
      routers: (resident ? SCALES : STREAMED_SCALES).map((scale) => ({ name: `tuned ${scale}`, path: job.out, scale })),
      ...{ cacheBias: [], combine: false, random: false },
      text: { kind: "tokens", documents: documents.map(({ domain, tokens: own }) => ({ domain, tokens: own })) },
      generate: resident && longEnough ? GENERATED : undefined,
      ...{ cacheShare: job.cacheShare, seed: job.seed },
      // This process waits for it, and what it holds is part of the budget too.
      engine: { ...job.engine, reservedBytes: job.engine.reservedBytes + processMemory().residentBytes },
    },
    {
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ tokens: done, plannedTokens }) =>
        onProgress?.({ step: "measuring", tokens: done, of: plannedTokens }),
    },
  );
}

/** Largest measured scale with perplexity and KL within their bounds. */
export function recommendedScale({ variants }: EvaluationResult): number | null {
  const safe = variants.filter(
    ({ kind, drift }) =>
      kind === "tuned" && drift.perplexityChange.value <= MOST_PERPLEXITY_CHANGE && drift.meanKl.value <= MOST_KL,
  );
  return safe.length === 0 ? null : Math.max(...safe.map(({ scale }) => scale ?? 0));
}
