/** Made-up runs for the tests of the report and its table. */
import type { ContenderRun, ExpertFigures, FirstPromptBytes } from "./contender-protocol.ts";
import type { DeviceFigures } from "./device-figures.ts";
import type { ProbeResult } from "./device-probe.ts";
import type { MeasuredRun } from "./measured-run.ts";
import type { MeasuredContender } from "./report.ts";
import type { Cell, Contender } from "./suite-plan.ts";

export const stock: Contender = { system: "llama.cpp" };
export const ours: Contender = { system: "warmset", policy: "next-use", prefetch: true };
export const demandOnly: Contender = { system: "warmset", policy: "next-use", prefetch: false };

/** A device of `gigabytes` per second to reads like the engine's, half of that to requests all over the file. */
export function probe(gigabytes: number): DeviceFigures {
  const at = (bytesPerSecond: number): ProbeResult => ({
    requestBytes: 2 ** 20,
    depth: 16,
    pattern: "slices",
    contiguousBytes: 2 ** 23,
    bytes: 1e9,
    ms: 1e12 / bytesPerSecond,
    bytesPerSecond,
  });
  return { slices: at(gigabytes * 1e9), random: at(gigabytes * 5e8) };
}

export function cell(scenario: Cell["scenario"], memoryFraction: number, contenders: readonly Contender[]): Cell {
  return { scenario, memoryFraction, promptTokens: 8, decodeTokens: 10, warmupTokens: 0, contenders };
}

/** A run of ten tokens, all equally long. */
export function run(contender: Contender, tpotMs: number, changes: Partial<ContenderRun> = {}): ContenderRun {
  return {
    system: contender.system,
    versions: { llamaCpp: "0.5.0" },
    loadMs: 10,
    ttftMs: 500,
    bytesBeforeFirstToken: 4e8,
    prefillMs: [100],
    tokens: 10,
    tpotMs: new Array(10).fill(tpotMs),
    tokensPerSecond: 1000 / tpotMs,
    p50: tpotMs,
    p95: tpotMs,
    bytesRead: 0,
    majorFaults: 20,
    peakRssBytes: 9e8,
    predictions: [1, 2, 3, 4],
    experts: undefined,
    steps: undefined,
    firstPrompt: undefined,
    details: {},
    ...changes,
  };
}

export function experts(changes: Partial<ExpertFigures>): ExpertFigures {
  const none = { hits: 0, lateHits: 0, misses: 0, bytesDemanded: 0, bytesPrefetched: 0, bytesWasted: 0, stallMs: 0 };
  return { ...none, ...changes };
}

export function firstPrompt(changes: Partial<FirstPromptBytes>): FirstPromptBytes {
  return { readBytes: 3e9, neededBytes: 3e9, rule: "once", microBatches: 1, experts: 100, ...changes };
}

export function measured(
  inCell: Cell,
  contender: Contender,
  outcomes: readonly (ContenderRun | "killed")[],
): MeasuredContender {
  return { cell: inCell, contender, memoryBytes: 1e9, runs: outcomes.map((outcome) => measuredRun(outcome)) };
}

/** On a device of 1 GB/s unless `probes` say otherwise. */
export function measuredRun(
  outcome: ContenderRun | "killed",
  probes: readonly DeviceFigures[] = [probe(1)],
): MeasuredRun {
  const figures = { peakBytes: 1e9, anonymousBytes: 0, oomKills: 0 };
  if (outcome !== "killed") return { outcome: { status: "finished", run: outcome, cgroup: figures }, probes };
  return { outcome: { status: "killed-by-limit", cgroup: { ...figures, oomKills: 1 } }, probes };
}
