/**
 * What happened in one generation: the JSON document of `warmset run --json`, and the few lines that people read.
 * Pure; the figures come from the engine.
 */
import path from "node:path";
import type { MemoryPlan } from "../engine/memory-plan.ts";
import type { GenerateOptions, GenerationResult } from "../engine/open-model.ts";
import type { ModelInfo } from "../engine/protocol.ts";
import type { CacheBiasStatistics } from "../routing/cache-prior-router.ts";
import { alignColumns, formatBytes, formatMs, formatShare, threeDigits } from "./format.ts";

export interface RunFigures {
  readonly info: ModelInfo;
  readonly result: GenerationResult;
  /** Opening the model, with the start of its process. */
  readonly loadMs: number;
  /** From the start of this process to the first piece of text; undefined when there was none. */
  readonly startToFirstTextMs: number | undefined;
  /** Highest resident set of this process; undefined where it is unknown. */
  readonly peakRssCliBytes: number | undefined;
}

export interface RunConfiguration {
  readonly model: string;
  readonly memory: string | number | undefined;
  readonly expertMemory: string | number | undefined;
  readonly policy: string;
  /** File of the hints, null without. */
  readonly hints: string | null;
  /** "off", or what the lossy routing was asked for. */
  readonly cacheBias: string;
  readonly contextSize: number;
  readonly microBatchTokens: number;
  readonly threads: number;
  readonly backend: string;
  readonly io: string;
  /** "model": the file's own chat template, "file": a given one, "none": --raw. */
  readonly template: "model" | "file" | "none";
  readonly sampling: GenerateOptions;
  readonly versions: Readonly<Record<string, string>>;
}

/** Names and meanings are stable; docs/output.md explains each. */
export interface RunDocument {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly stopReason: GenerationResult["stopReason"];
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly tpotP50Ms: number;
  readonly tpotP95Ms: number;
  readonly tokensPerSecond: number;
  readonly startToFirstTextMs: number | null;
  readonly experts: GenerationResult["experts"];
  readonly times: GenerationResult["times"];
  readonly memory: {
    /** Null when --expert-memory was given, or no limit. */
    readonly budgetBytes: number | null;
    readonly expertBudgetBytes: number;
    readonly expertBytesTotal: number;
    readonly denseBytes: number;
    readonly kvBytes: number;
    readonly computeBytes: number;
    readonly processBytes: number;
    readonly sharedEdgeBytes: number;
    readonly marginBytes: number;
    readonly tokenCycleBytes: number;
    readonly smallestBudgetBytes: number;
    /** Of both processes together; the sum of two peaks that need not coincide. Null where it cannot be measured. */
    readonly peakRssBytes: number | null;
    readonly peakRssModelBytes: number | null;
    readonly peakRssCliBytes: number | null;
    /** All experts are in memory; nothing was streamed. */
    readonly resident: boolean;
  };
  readonly load: { readonly ms: number; readonly bytesRead: number };
  /** What the policy's mechanisms have done since the model was opened; null when it does not tell. */
  readonly policyFigures: Readonly<Record<string, number>> | null;
  /** How far routing was moved since the model was opened; null when it is the model's own. */
  readonly cacheBias: CacheBiasStatistics | null;
  readonly config: RunConfiguration;
  readonly notes: readonly string[];
}

export function runDocument(figures: RunFigures, config: RunConfiguration): RunDocument {
  const { info, result } = figures;
  const { plan } = info;
  return {
    text: result.text,
    tokens: result.tokens,
    promptTokens: result.promptTokens,
    generatedTokens: result.generatedTokens,
    stopReason: result.stopReason,
    ttftMs: result.ttftMs,
    tpotMs: result.tpotMs.mean,
    tpotP50Ms: result.tpotMs.p50,
    tpotP95Ms: result.tpotMs.p95,
    tokensPerSecond: result.tokensPerSecond,
    startToFirstTextMs: figures.startToFirstTextMs ?? null,
    experts: result.experts,
    times: result.times,
    memory: {
      budgetBytes: givenBudget(plan) ?? null,
      expertBudgetBytes: plan.expertBudgetBytes,
      expertBytesTotal: plan.expertBytesTotal,
      denseBytes: plan.denseBytes,
      kvBytes: plan.kvBytes,
      computeBytes: plan.computeBytes,
      processBytes: plan.processBytes,
      sharedEdgeBytes: plan.sharedEdgeBytes,
      marginBytes: plan.marginBytes,
      tokenCycleBytes: plan.tokenCycleBytes,
      smallestBudgetBytes: plan.smallestBudgetBytes,
      peakRssBytes: peakRss(figures) ?? null,
      peakRssModelBytes: result.peakRssBytes ?? null,
      peakRssCliBytes: figures.peakRssCliBytes ?? null,
      resident: info.resident,
    },
    load: { ms: figures.loadMs, bytesRead: info.load.bytesRead },
    policyFigures: result.policyFigures ?? null,
    cacheBias: result.cacheBias ?? null,
    config,
    notes: info.notes,
  };
}

/** The lines behind the text of `warmset run`, and what `/stats` shows in a chat. */
export function runSummary(figures: RunFigures): string {
  const { info, result, loadMs } = figures;
  return alignColumns([
    ["model", `${path.basename(info.path)}, loaded in ${formatMs(loadMs)} (${formatBytes(info.load.bytesRead)} read)`],
    ["speed", speed(result)],
    ["experts", experts(info, result)],
    ["read", reads(result)],
    ["memory", memory(figures)],
    ...(result.cacheBias === undefined ? [] : [["lossy", lossyRouting(result.cacheBias)]]),
  ]);
}

const ENDINGS: Readonly<Record<GenerationResult["stopReason"], string>> = {
  end: "the model ended",
  stop: "stopped at a stop text",
  length: "stopped at the limit of tokens",
  aborted: "interrupted",
};

function speed(result: GenerationResult): string {
  const { generatedTokens, promptTokens, cachedTokens, tokensPerSecond, ttftMs, stopReason } = result;
  const rate = tokensPerSecond > 0 ? `${threeDigits(tokensPerSecond)} tokens/s, ` : "";
  const first = ttftMs > 0 ? `first after ${formatMs(ttftMs)}, ` : "";
  const cached = cachedTokens > 0 ? ` (${cachedTokens} of it computed before)` : "";
  return `${rate}${first}${generatedTokens} tokens after a prompt of ${promptTokens}${cached}; ${ENDINGS[stopReason]}`;
}

function experts(info: ModelInfo, result: GenerationResult): string {
  if (info.resident) return "all in memory, none had to be read";
  const { hits, lateHits, misses, stallMs } = result.experts;
  const uses = hits + lateHits + misses;
  if (uses === 0) return "none used";
  const late = lateHits > 0 ? `, ${formatShare(lateHits / uses)} on their way` : "";
  const share = result.times.wallMs > 0 ? ` (${formatShare(stallMs / result.times.wallMs)} of the time)` : "";
  return `${formatShare(hits / uses)} hits${late}, ${formatShare(misses / uses)} missed; waited ${formatMs(stallMs)}${share}`;
}

function reads(result: GenerationResult): string {
  const { bytesRead, bytesPrefetched, bytesWasted } = result.experts;
  if (bytesRead === 0) return "nothing";
  const tokens = result.generatedTokens;
  const perToken = tokens > 0 ? `, ${formatBytes(bytesRead / tokens)} per generated token` : "";
  const ahead = bytesPrefetched > 0 ? `; ${formatBytes(bytesPrefetched)} ahead of need` : "";
  const wasted = bytesWasted > 0 ? `, ${formatBytes(bytesWasted)} of it in vain` : "";
  return `${formatBytes(bytesRead)}${perToken}${ahead}${wasted}`;
}

function lossyRouting(bias: CacheBiasStatistics): string {
  const { swapRate, agreement, routeKlMean, routeKlP99, lambda, routeKlBound, layersUnseen } = bias;
  const steered = routeKlBound !== undefined && lambda !== undefined ? `, lambda now ${lambda.toPrecision(2)}` : "";
  const unseen = layersUnseen > 0 ? `; ${layersUnseen} layers left alone` : "";
  const kl = `route KL ${routeKlMean.toPrecision(2)}, 99 % of tokens below ${routeKlP99.toPrecision(2)}`;
  return (
    `cache bias ${bias.bias}${steered}: ${formatShare(swapRate)} of the experts swapped, ` +
    `${formatShare(agreement)} of the choices the model's own; ${kl}${unseen}`
  );
}

function memory(figures: RunFigures): string {
  const { plan, resident } = figures.info;
  const budget = givenBudget(plan);
  const peak = peakRss(figures);
  const held = resident
    ? `all ${formatBytes(plan.expertBytesTotal)} of experts`
    : `experts ${formatBytes(plan.expertBudgetBytes)} of ${formatBytes(plan.expertBytesTotal)}`;
  const limit = budget === undefined ? "" : `; budget ${formatBytes(budget)}`;
  const over =
    budget !== undefined && peak !== undefined && peak > budget ? ` (${formatBytes(peak - budget)} above it)` : "";
  return `${held}${limit}; peak of everything ${peak === undefined ? "not measured here" : formatBytes(peak)}${over}`;
}

/** The budget of everything, unless it is none: "all" is a number that no machine has. */
function givenBudget(plan: MemoryPlan): number | undefined {
  return plan.budgetBytes === undefined || plan.budgetBytes === Number.MAX_SAFE_INTEGER ? undefined : plan.budgetBytes;
}

function peakRss({ result, peakRssCliBytes }: RunFigures): number | undefined {
  return result.peakRssBytes === undefined || peakRssCliBytes === undefined
    ? undefined
    : result.peakRssBytes + peakRssCliBytes;
}
