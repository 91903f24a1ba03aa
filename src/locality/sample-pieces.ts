/**
 * What the metrics take as a sample: at most `sampleLength` consecutive tokens of a recorded one, all of one phase unless
 * phases are analysed together. Metrics and caches start anew at each.
 */
import { DECODE, type TraceSample } from "../trace/trace.ts";
import type { SampleRange } from "./expert-sequence.ts";
import type { ReportedPhase } from "./report-data.ts";

/** "apart": each phase on its own. "all": samples as they are. Else one phase alone. */
export type PhaseSelection = "apart" | ReportedPhase;

export interface SamplePiece extends SampleRange {
  readonly phase: ReportedPhase;
  /** Number of the piece within its sample. */
  readonly index: number;
}

export function samplePieces(sample: TraceSample, sampleLength: number, selection: PhaseSelection): SamplePiece[] {
  const pieces: SamplePiece[] = [];
  let begin = 0;
  for (let index = 0; begin < sample.length; index++) {
    const phase = selection === "all" ? "all" : phaseAt(sample, begin);
    let end = Math.min(begin + sampleLength, sample.length);
    if (phase !== "all") for (let t = begin + 1; t < end; t++) if (phaseAt(sample, t) !== phase) end = t;
    if (selection === "apart" || selection === phase) pieces.push({ sample, begin, end, phase, index });
    begin = end;
  }
  return pieces;
}

function phaseAt({ phases }: TraceSample, token: number): "prefill" | "decode" {
  return phases[token] === DECODE ? "decode" : "prefill";
}

/** Whether the piece is among one of `every`; 0: none is. Depends on the numbers alone, and on no period of the domains. */
export function isChosen({ sample, index }: SamplePiece, every: number): boolean {
  if (every <= 1) return every === 1;
  let mixed = Math.imul(sample.sample + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed >>> 8) % every === 0;
}
