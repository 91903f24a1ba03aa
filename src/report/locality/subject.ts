/** What the figures of a locality report are of: one phase of a report, and the conventions that hold for all of its figures. */
import type { BaselinedScore, LocalityReport, PhaseReport, SegmentReport } from "../../locality/report-data.ts";
import { countText } from "../number-text.ts";

export interface Subject {
  readonly report: LocalityReport;
  readonly phase: PhaseReport;
}

/** A segment length that some sample is long enough for. */
export interface MeasuredSegment extends SegmentReport {
  readonly model: BaselinedScore;
}

/** By segment length, ascending. */
export function measuredSegments({ phase }: Subject): readonly MeasuredSegment[] {
  return phase.srp.filter((segment): segment is MeasuredSegment => segment.model !== null);
}

/** The segment length that comparisons use; undefined where no sample is long enough. */
export function headlineSegment(subject: Subject): MeasuredSegment | undefined {
  const { headlineSegment: m } = subject.report.settings;
  return measuredSegments(subject).find(({ segmentLength }) => segmentLength === m);
}

/** "95 %" or so: what the intervals hold. */
export function confidenceText({ settings }: LocalityReport): string {
  return `${Math.round(100 * settings.confidence)}\u00a0% interval`;
}

/** Identity of a figure: with several phases, figures of each have names of their own. */
export function figureId({ report, phase }: Subject, name: string): string {
  return report.phases.length === 1 ? name : `${phase.phase}-${name}`;
}

/** The line at the foot of a figure of routing alone. */
export function routingSource(subject: Subject): string {
  const { report, phase } = subject;
  const { samples, tokens, shortest, longest } = phase.samples;
  const length = shortest === longest ? `${longest}` : `${shortest} to ${longest}`;
  const size = `${countText(samples)} ${samples === 1 ? "sample" : "samples"} of ${length} tokens (${countText(tokens)} in all)`;
  return `${report.model.name}: ${size}, ${phaseText(phase)}, ${tokensText(subject)}`;
}

/** The line at the foot of a figure of caches of one layer each. */
export function layerCacheSource(subject: Subject): string {
  return `${routingSource(subject)}; convention ${subject.report.settings.convention}`;
}

/** The line at the foot of a figure of caches for all layers, which may be simulated on some of the samples only. */
export function modelCacheSource(subject: Subject): string {
  const some = subject.phase.samples.cacheSampleEvery > 1 ? `; caches on ${cacheSamplesText(subject.phase)}` : "";
  return `${layerCacheSource(subject)}${some}`;
}

/** "every 4th sample (112)": those on which caches for all layers are simulated. */
export function cacheSamplesText({ samples }: PhaseReport): string {
  if (samples.cacheSampleEvery === 0) return "no sample";
  const every = samples.cacheSampleEvery === 1 ? "every sample" : `every ${ordinal(samples.cacheSampleEvery)} sample`;
  return `${every} (${countText(samples.cacheSamples)})`;
}

export function phaseText({ phase }: PhaseReport): string {
  return phase === "all" ? "prefill and decode together" : phase;
}

/** "given tokens", "generated tokens" or both. Prefill is of given tokens whatever came after it. */
export function tokensText({ report, phase }: Subject): string {
  const { tokensFrom } = report.recording;
  const given = phase.phase !== "decode" || !tokensFrom.includes("generated");
  const generated = phase.phase !== "prefill" && tokensFrom.includes("generated");
  return `${[...(given ? ["given"] : []), ...(generated ? ["generated"] : [])].join(" and ")} tokens`;
}

/** Names of policies as figures show them. */
export const POLICY_NAMES = { lru: "LRU", lfu: "LFU", belady: "Belady", sch: "SCH" } as const;

/** "2nd", "16th". */
function ordinal(n: number): string {
  const ending = n % 100 >= 11 && n % 100 <= 13 ? "th" : (["th", "st", "nd", "rd"][n % 10] ?? "th");
  return `${n}${ending}`;
}
