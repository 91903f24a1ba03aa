/**
 * From the runs of a suite to its rows, limits and targets. Pure: medians and ratios, nothing is run or printed here.
 */
import type { ContenderRun, SystemName } from "./contender-protocol.ts";
import type { ProbeResult } from "./device-probe.ts";
import { median } from "./quantile.ts";
import type { ResultRow, Target } from "./results.ts";
import type { ContenderOutcome } from "./run-contender.ts";
import type { Cell, Contender } from "./suite-plan.ts";

/** All repetitions of one contender in one cell. */
export interface MeasuredContender {
  readonly cell: Cell;
  readonly contender: Contender;
  readonly memoryBytes: number;
  readonly outcomes: readonly ContenderOutcome[];
  /** Device probes made between the runs of this cell. */
  readonly probes: readonly ProbeResult[];
}

export type ComputeMs = Readonly<Partial<Record<SystemName, number>>>;

/** Time of a token with everything in memory: the median run's mean. */
export function computeAloneMs(measured: readonly MeasuredContender[]): ComputeMs {
  const result: Partial<Record<SystemName, number>> = {};
  for (const { cell, contender, outcomes } of measured) {
    const runs = finishedRuns(outcomes);
    if (cell.scenario === "fits" && runs.length > 0) result[contender.system] = median(runs.map(meanTpotMs));
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
  const { cell, contender, memoryBytes, outcomes, probes } = measured;
  const runs = finishedRuns(outcomes);
  const ours = contender.system === "warmset";
  const over = (figure: (run: ContenderRun) => number | undefined): number | null => {
    const values = runs.map(figure).filter((value) => value !== undefined);
    return values.length === 0 ? null : median(values);
  };
  const device = probes.length === 0 ? null : median(probes.map(({ bytesPerSecond }) => bytesPerSecond));
  const tokensPerSecond = over((run) => run.tokensPerSecond);
  const bytesPerToken = over((run) => run.bytesRead / run.tokens);
  const stallMs = over((run) => run.experts && run.experts.stallMs / run.tokens);
  const msOnDevice = (bytes: number | null) => (device === null || bytes === null ? null : (1000 * bytes) / device);
  const readMs = msOnDevice(bytesPerToken);
  const missedMs = msOnDevice(over(missedBytesPerToken));
  const limitMs = computeMs === undefined || missedMs === null ? null : Math.max(computeMs, missedMs);
  const stockTokensPerSecond = stock && medianOf(finishedRuns(stock.outcomes), (run) => run.tokensPerSecond);
  const cgroupPeaks = outcomes.map((outcome) => (outcome.status === "failed" ? undefined : outcome.cgroup?.peakBytes));
  return {
    system: contender.system,
    scenario: cell.scenario,
    memoryBytes,
    memoryFraction: cell.memoryFraction,
    policy: ours ? contender.policy : undefined,
    prefetch: ours ? contender.prefetch : undefined,
    promptTokens: cell.promptTokens,
    runs: runs.length,
    attempts: outcomes.length,
    failures: outcomes.flatMap((outcome) => {
      if (outcome.status === "finished") return [];
      return outcome.status === "failed" ? outcome.reason : "killed by the memory limit";
    }),
    tokensPerSecond,
    ttftMs: over((run) => run.ttftMs),
    tpotMs: { p50: over((run) => run.p50), p95: over((run) => run.p95) },
    hitRate: over((run) => run.experts && hitRate(run.experts)),
    bytesPerToken,
    stallMs,
    bytesBeforeFirstToken: over((run) => run.bytesBeforeFirstToken),
    peakRssBytes: over((run) => run.peakRssBytes),
    cgroupPeakBytes: Math.max(...cgroupPeaks.map((peak) => peak ?? 0)) || null,
    majorFaultsPerToken: over((run) => run.majorFaults / run.tokens),
    agreement: ours && stock !== undefined ? agreement(runs, finishedRuns(stock.outcomes)) : null,
    deviceBytesPerSecond: device,
    limitMs,
    overLimit: limitMs === null || tokensPerSecond === null ? null : 1000 / tokensPerSecond / limitMs,
    readSpeedShare: readMs === null || stallMs === null || stallMs === 0 || readMs === 0 ? null : readMs / stallMs,
    speedup: ours && tokensPerSecond !== null && stockTokensPerSecond ? tokensPerSecond / stockTokensPerSecond : null,
  };
}

/** tok/s over llama.cpp's that the project promises, by memory fraction. */
const SPEEDUPS: readonly (readonly [fraction: number, speedup: number])[] = [
  [0.5, 2.0],
  [0.33, 1.4],
  [0.2, 1.7],
];
/** Reading is what bounds a token when it takes longer than computing by this much. */
const READ_BOUND = 1.2;

/** Holds the rows against the project's goals. `policy` is the one they are promised for. */
export function judgeTargets(rows: readonly ResultRow[], policy: string, computeMs: ComputeMs): Target[] {
  const find = (wanted: Partial<ResultRow>) =>
    rows.find((row) => Object.entries(wanted).every(([key, value]) => row[key as keyof ResultRow] === value));
  const ours = { system: "warmset", policy, prefetch: true } as const;
  const targets: Target[] = [];
  const add = (name: string, wanted: string, measured: number | null | undefined, met: (value: number) => boolean) => {
    const value = measured ?? null;
    targets.push({ name, wanted, measured: value, met: value === null ? null : met(value) });
  };

  for (const [memoryFraction, speedup] of SPEEDUPS) {
    const row = find({ ...ours, scenario: "limited", memoryFraction });
    const at = `at ${Math.round(memoryFraction * 100)} %`;
    add(`tok/s over llama.cpp's ${at}`, `>= ${speedup}`, row?.speedup, (value) => value >= speedup);
    add(`time of a token over its limit ${at}`, "<= 1.15", row?.overLimit, (value) => value <= 1.15);
    // Without prefetching nothing is read beside the stall, so this row shows how fast the reads themselves are.
    const demand = find({ ...ours, prefetch: false, scenario: "limited", memoryFraction });
    const readMs =
      demand?.bytesPerToken && demand.deviceBytesPerSecond
        ? (1000 * demand.bytesPerToken) / demand.deviceBytesPerSecond
        : 0;
    if (readMs > READ_BOUND * (computeMs.warmset ?? 0))
      add(`reading speed over the device's ${at}`, ">= 0.85", demand?.readSpeedShare, (value) => value >= 0.85);
    add(
      `stall with prefetching over stall without ${at}`,
      "< 1",
      row?.stallMs != null && demand?.stallMs ? row.stallMs / demand.stallMs : null,
      (value) => value < 1,
    );
    add(
      `peak RSS over the limit ${at}`,
      "<= 1",
      row?.peakRssBytes != null ? row.peakRssBytes / row.memoryBytes : null,
      (value) => value <= 1,
    );
  }
  const fits = find({ ...ours, scenario: "fits" });
  add("tok/s over llama.cpp's when all fits", ">= 0.97", fits?.speedup, (value) => value >= 0.97);
  for (const row of rows.filter(({ scenario, system }) => scenario === "cold" && system === "warmset")) {
    const stock = find({ system: "llama.cpp", scenario: "cold", promptTokens: row.promptTokens });
    const prompt = `cold, ${row.promptTokens}-token prompt`;
    const ratio = (a: number | null, b: number | null | undefined) => (a === null || !b ? null : a / b);
    add(`first token over llama.cpp's, ${prompt}`, "< 1", ratio(row.ttftMs, stock?.ttftMs), (value) => value < 1);
    add(
      `bytes before it over llama.cpp's, ${prompt}`,
      "< 1",
      ratio(row.bytesBeforeFirstToken, stock?.bytesBeforeFirstToken),
      (value) => value < 1,
    );
  }
  return targets;
}

function finishedRuns(outcomes: readonly ContenderOutcome[]): ContenderRun[] {
  return outcomes.flatMap((outcome) => (outcome.status === "finished" ? [outcome.run] : []));
}

function medianOf(runs: readonly ContenderRun[], figure: (run: ContenderRun) => number): number | undefined {
  return runs.length === 0 ? undefined : median(runs.map(figure));
}

function meanTpotMs(run: ContenderRun): number {
  return 1000 / run.tokensPerSecond;
}

/** What the tokens needed and memory did not hold: speculative reads that nobody used are no excuse for being slow. */
function missedBytesPerToken({ tokens, bytesRead, experts }: ContenderRun): number {
  return (experts ? experts.bytesDemanded + experts.bytesPrefetched - experts.bytesWasted : bytesRead) / tokens;
}

function hitRate(experts: NonNullable<ContenderRun["experts"]>): number {
  return experts.hits / (experts.hits + experts.lateHits + experts.misses);
}

/** Predictions of the first run of each that are equal. Tokens are forced, so one difference does not cause others. */
function agreement(runs: readonly ContenderRun[], stock: readonly ContenderRun[]): number | null {
  if (runs.length === 0 || stock.length === 0) return null;
  const expected = stock[0].predictions;
  const same = runs[0].predictions.filter((token, i) => token === expected[i]).length;
  return same / expected.length;
}
