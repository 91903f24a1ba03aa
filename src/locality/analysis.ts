/**
 * The analysis of a routing trace: reads it once, part by part, counts everything at the same time, and makes the report. With
 * several workers parts are shared out; the result is the same to the last digit.
 */
import type { TraceSource, WantedColumns } from "../trace/trace.ts";
import { type AnalysisPlan, HEADLINE_RATIO, type LocalityOptions, nearest, planAnalysis } from "./analysis-plan.ts";
import { analyzeInWorkers, type TraceOpener } from "./analysis-workers.ts";
import { CONFIDENCE } from "./bootstrap.ts";
import { phaseReport } from "./phase-report.ts";
import { publishedRows } from "./published.ts";
import type { LocalityReport, PhaseReport, ReportedModel, ReportedSettings } from "./report-data.ts";
import { SampleAnalyzer, type SumsByPhase } from "./sample-analyzer.ts";
import { judge } from "./verdict.ts";
import type { TokenText } from "./vocabulary.ts";

export interface AnalysisProgress {
  readonly doneTokens: number;
  readonly totalTokens: number;
}

export interface AnalyzeOptions extends LocalityOptions {
  /** Threads that read and count; at most one per part of the trace. Default: 0, this thread alone. */
  readonly workers?: number;
  /** How workers open the trace; needed for `workers`. */
  readonly opener?: TraceOpener;
  /** Text of a token id, for the listings of vocabulary specialisation. Default: none. */
  readonly tokenText?: TokenText;
  /** What else a reader of the report has to know, one sentence each. Default: none. */
  readonly notes?: readonly string[];
  readonly onProgress?: (progress: AnalysisProgress) => void;
  readonly signal?: AbortSignal;
}

/** The trace has nothing to analyse. */
export class NothingToAnalyzeError extends Error {
  override readonly name = "NothingToAnalyzeError";
}

/**
 * @throws LocalityOptionError, TraceError, TooManyDomainsError, NothingToAnalyzeError when no token is of the wanted phase, and
 * the reason of `signal`
 */
export async function analyzeLocality(source: TraceSource, options: AnalyzeOptions = {}): Promise<LocalityReport> {
  const { signal, onProgress, workers = 0, opener } = options;
  const plan = planAnalysis(source.description, source.parts, options);
  const threads = Math.min(workers, source.parts.length);
  const sums =
    threads > 0 && opener !== undefined
      ? await analyzeInWorkers(plan, source.parts, opener, { threads, signal, onProgress })
      : await analyzeHere(plan, source, signal, onProgress);
  if (sums.size === 0) throw new NothingToAnalyzeError(nothingText(plan));
  return locality(plan, source, sums, options);
}

function nothingText({ phase }: AnalysisPlan): string {
  return phase === "prefill" || phase === "decode"
    ? `The trace has no tokens of the phase ${phase}. Leave out --phase to analyse those it has.`
    : "The trace has no samples. Record it again.";
}

export function wantedColumns({ columns }: AnalysisPlan): WantedColumns {
  return { tokens: columns.tokens, predictions: columns.predictions };
}

async function analyzeHere(
  plan: AnalysisPlan,
  source: TraceSource,
  signal: AbortSignal | undefined,
  onProgress: AnalyzeOptions["onProgress"],
): Promise<SumsByPhase> {
  const analyzer = new SampleAnalyzer(plan);
  const totalTokens = source.parts.reduce((sum, { tokens }) => sum + tokens, 0);
  let doneTokens = 0;
  for (const part of source.parts) {
    for await (const sample of source.samples(part.index, wantedColumns(plan))) {
      signal?.throwIfAborted();
      analyzer.add(sample);
      doneTokens += sample.length;
      onProgress?.({ doneTokens, totalTokens });
    }
  }
  return analyzer.sums;
}

function locality(
  plan: AnalysisPlan,
  { description }: TraceSource,
  sums: SumsByPhase,
  { tokenText, notes: furtherNotes = [] }: AnalyzeOptions,
): LocalityReport {
  const { model: traced, recording } = description;
  const model: ReportedModel = {
    name: traced.name,
    architecture: traced.architecture,
    hash: traced.hash,
    tokenizerHash: traced.tokenizerHash,
    experts: traced.experts,
    expertsUsed: traced.expertsUsed,
    sharedExperts: traced.sharedExperts,
    moeBlocks: traced.moeBlocks,
    blocks: traced.blocks,
    expertBytes: traced.expertBytes,
    scoring: traced.scoring,
  };
  const settings: ReportedSettings = {
    sampleLength: plan.sampleLength,
    segmentLengths: plan.segmentLengths,
    headlineSegment: plan.headlineSegment,
    cacheRatios: plan.cacheRatios,
    headlineRatio: nearest(plan.cacheRatios, HEADLINE_RATIO),
    convention: plan.convention,
    microBatches: plan.microBatches,
    bootstrapReplicas: plan.bootstrapReplicas,
    confidence: CONFIDENCE,
  };
  const published = publishedRows(model.experts, model.expertsUsed);
  const hasSizes = traced.expertBytes.length > 0 && traced.expertBytes.every((bytes) => bytes > 0);
  const phases = (["all", "prefill", "decode"] as const).flatMap((name): PhaseReport[] => {
    const phase = sums.get(name);
    if (phase === undefined) return [];
    const report = phaseReport(plan, name, phase, { hasSizes, ...(tokenText === undefined ? {} : { tokenText }) });
    return [{ ...report, verdict: judge({ model, settings, phase: report, published }) }];
  });
  return {
    format: "warmset-locality",
    schemaVersion: 1,
    model,
    recording: {
      recorder: recording.recorder,
      date: recording.date,
      tokensFrom: recording.tokensFrom,
      start: recording.start,
      notes: recording.notes,
    },
    settings,
    phases,
    published,
    notes: [...furtherNotes, ...notes(settings, recording.tokensFrom)],
  };
}

function notes({ convention, microBatches, sampleLength }: ReportedSettings, tokensFrom: readonly string[]): string[] {
  return [
    convention === "token/free"
      ? "Convention token/free (the paper's): the cache is empty at the start of each sample; all experts of a token are looked up before any is inserted; a first use is a hit while fewer than C distinct experts were seen."
      : `Convention layer/miss: the cache is empty at the start of each sample; look-ups go layer by layer, ${microBatches === "token" ? "each token is a forward pass of its own" : "forward passes are those of the recording"}; first uses are misses. Not to be compared with published values.`,
    `Samples longer than ${sampleLength} tokens are cut; metrics start anew at each piece, so they depend on its length.`,
    ...(tokensFrom.includes("generated")
      ? ["The trace has generated text, which repeats itself more than given text; the paper's samples are given text."]
      : []),
    "Published values: 512 given tokens of eleven public corpora, weights in 16 bits, mean over domains. Another corpus, quantisation or length of sample explains differences; equal figures are no reproduction.",
    "srpIid and srpGain are our addition: SRP of a router without memory that has the same activation rate of each expert, and the share of the way from there to 1.",
  ];
}
