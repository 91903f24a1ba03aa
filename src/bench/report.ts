/**
 * From the runs of a suite to its rows. Pure: medians and ratios, nothing is run or printed here. A run is held against
 * the device's speed of its own minutes; medians are taken of what came out of that.
 */
import type { ContenderRun, SystemName } from "./contender-protocol.ts";
import type { MeasuredRun } from "./measured-run.ts";
import { median } from "./quantile.ts";
import type { ResultRow } from "./results.ts";
import type { Cell, Contender } from "./suite-plan.ts";

/** All repetitions of one contender in one cell. */
export interface MeasuredContender {
  readonly cell: Cell;
  readonly contender: Contender;
  readonly memoryBytes: number;
  readonly runs: readonly MeasuredRun[];
}

export type ComputeMs = Readonly<Partial<Record<SystemName, number>>>;

/** Time of a token with everything in memory: the median run's mean. */
export function computeAloneMs(measured: readonly MeasuredContender[]): ComputeMs {
  const result: Partial<Record<SystemName, number>> = {};
  for (const { cell, contender, runs } of measured) {
    const finished = finishedRuns(runs);
    if (cell.scenario === "fits" && finished.length > 0)
      result[contender.system] = median(finished.map(({ run }) => meanTpotMs(run)));
  }
  return result;
}

export function resultRows(measured: readonly MeasuredContender[]): ResultRow[] {
  const computeMs = computeAloneMs(measured);
  return measured.map((one) => {
    const stock = measured.find(({ cell, contender }) => cell === one.cell && contender.system === "llama.cpp");
    return resultRow(one, stock, computeMs[one.contender.system]);
  });
}

function resultRow(
  measured: MeasuredContender,
  stock: MeasuredContender | undefined,
  computeMs: number | undefined,
): ResultRow {
  const { cell, contender, memoryBytes } = measured;
  const runs = finishedRuns(measured.runs);
  const ours = contender.system === "warmset";
  const over = (figure: (finished: FinishedRun) => number | undefined): number | null =>
    medianOrNull(runs.map(figure).filter((value) => value !== undefined));
  const limit = (finished: FinishedRun) =>
    computeMs === undefined ? undefined : limitMs(finished, cell.scenario === "fits", computeMs);
  const probes = measured.runs.flatMap((run) => run.probes);
  const tokensPerSecond = over(({ run }) => run.tokensPerSecond);
  const stockRuns = stock === undefined ? [] : finishedRuns(stock.runs);
  const stockTokensPerSecond = medianOrNull(stockRuns.map(({ run }) => run.tokensPerSecond));
  const cgroupPeaks = measured.runs.map(({ outcome }) =>
    outcome.status === "failed" ? 0 : (outcome.cgroup?.peakBytes ?? 0),
  );
  return {
    system: contender.system,
    scenario: cell.scenario,
    memoryBytes,
    memoryFraction: cell.memoryFraction,
    policy: ours ? contender.policy : undefined,
    prefetch: ours ? contender.prefetch : undefined,
    promptTokens: cell.promptTokens,
    runs: runs.length,
    attempts: measured.runs.length,
    failures: failuresOf(measured.runs),
    tokensPerSecond,
    ttftMs: over(({ run }) => run.ttftMs),
    tpotMs: { p50: over(({ run }) => run.p50), p95: over(({ run }) => run.p95) },
    hitRate: over(({ run }) => run.experts && hitRate(run.experts)),
    bytesPerToken: over(({ run }) => run.bytesRead / run.tokens),
    stallMs: over(({ run }) => run.experts && run.experts.stallMs / run.tokens),
    bytesBeforeFirstToken: over(({ run }) => run.bytesBeforeFirstToken),
    firstPrompt: runs[0]?.run.firstPrompt ?? null,
    peakRssBytes: over(({ run }) => run.peakRssBytes),
    cgroupPeakBytes: Math.max(0, ...cgroupPeaks) || null,
    majorFaultsPerToken: over(({ run }) => run.majorFaults / run.tokens),
    agreement: ours ? agreement(runs[0]?.run, stockRuns[0]?.run) : null,
    deviceBytesPerSecond: medianOrNull(probes.map(({ slices }) => slices.bytesPerSecond)),
    deviceRandomBytesPerSecond: medianOrNull(probes.map(({ random }) => random.bytesPerSecond)),
    limitMs: over(limit),
    overLimit: over((finished) => {
      const ms = limit(finished);
      return ms === undefined ? undefined : meanTpotMs(finished.run) / ms;
    }),
    readSpeedShare: over(readSpeedShare),
    speedup: ours && tokensPerSecond !== null && stockTokensPerSecond ? tokensPerSecond / stockTokensPerSecond : null,
  };
}

export interface FinishedRun {
  readonly run: ContenderRun;
  /** The device's speed to reads like the engine's right before and after this run; undefined when it was not asked. */
  readonly deviceBytesPerSecond: number | undefined;
}

export function finishedRuns(runs: readonly MeasuredRun[]): FinishedRun[] {
  return runs.flatMap(({ outcome, probes }) => {
    if (outcome.status !== "finished") return [];
    const speed = medianOrNull(probes.map(({ slices }) => slices.bytesPerSecond));
    return [{ run: outcome.run, deviceBytesPerSecond: speed ?? undefined }];
  });
}

export function failuresOf(runs: readonly MeasuredRun[]): string[] {
  return runs.flatMap(({ outcome }) => {
    if (outcome.status === "finished") return [];
    return outcome.status === "failed" ? outcome.reason : "killed by the memory limit";
  });
}

export function medianOrNull(values: readonly number[]): number | null {
  return values.length === 0 ? null : median(values);
}

/** Share of expert uses that found the expert complete in memory. */
export function hitRate(experts: NonNullable<ContenderRun["experts"]>): number {
  return experts.hits / (experts.hits + experts.lateHits + experts.misses);
}

/** Share of next-token predictions that are equal. Tokens are forced, so one difference does not cause others. */
export function agreement(run: ContenderRun | undefined, reference: ContenderRun | undefined): number | null {
  if (run === undefined || reference === undefined) return null;
  const same = run.predictions.filter((token, i) => token === reference.predictions[i]).length;
  return same / reference.predictions.length;
}

function meanTpotMs(run: ContenderRun): number {
  return 1000 / run.tokensPerSecond;
}

/** The larger of computing alone and reading what was missed. */
function limitMs(finished: FinishedRun, fits: boolean, computeMs: number): number | undefined {
  if (fits) return computeMs;
  const { run, deviceBytesPerSecond } = finished;
  if (deviceBytesPerSecond === undefined) return undefined;
  return Math.max(computeMs, (1000 * missedBytesPerToken(run)) / deviceBytesPerSecond);
}

/** What the tokens needed and memory did not hold: speculative reads that nobody used are no excuse for being slow. */
function missedBytesPerToken({ tokens, bytesRead, experts }: ContenderRun): number {
  return (experts ? experts.bytesDemanded + experts.bytesPrefetched - experts.bytesWasted : bytesRead) / tokens;
}

function readSpeedShare({ run, deviceBytesPerSecond }: FinishedRun): number | undefined {
  if (deviceBytesPerSecond === undefined || !run.experts?.stallMs || run.bytesRead === 0) return undefined;
  return (1000 * run.bytesRead) / deviceBytesPerSecond / run.experts.stallMs;
}
