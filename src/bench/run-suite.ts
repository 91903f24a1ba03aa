/**
 * Runs the side-by-side bench: every cell of the plan, its contenders in alternating order, each in a process and a
 * memory cgroup of its own from a cold page cache. What is measured is in `teacher-forcing.ts`, what it means in
 * `report.ts`; this file only makes the conditions equal and puts everything back afterwards.
 */
import { statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { blockDeviceOf, setReadAhead } from "./block-device.ts";
import { CONTENDER_NODE_FLAGS, type ContenderJob } from "./contender-protocol.ts";
import { type ProbeResult, probeBest } from "./device-probe.ts";
import { cutWindows, type HeldOutText, type TokenWindow } from "./held-out.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { createMemoryCgroup } from "./memory-cgroup.ts";
import { dropPageCache } from "./page-cache.ts";
import { median } from "./quantile.ts";
import { computeAloneMs, judgeTargets, type MeasuredContender, resultRows } from "./report.ts";
import type { BenchResult } from "./results.ts";
import { type ContenderOutcome, runContender } from "./run-contender.ts";
import { alternatingOrder, type Cell, type Contender, contenderName } from "./suite-plan.ts";
import { type TokenizedText, tokenizeTexts } from "./tokenize-texts.ts";

export interface RunSuiteOptions {
  readonly modelPath: string;
  readonly texts: readonly HeldOutText[];
  /** From `planSuite`. */
  readonly cells: readonly Cell[];
  /** Policy that the targets are judged for. */
  readonly targetPolicy: string;
  /** Runs of each contender in each cell. @default 3 */
  readonly repetitions?: number;
  /** @default as many as the process may use */
  readonly threads?: number;
  /** Longest window, tokens. @default 512, the demo model's context */
  readonly contextTokens?: number;
  /** read_ahead_kb during the bench. @default 128, the kernel's own default */
  readonly readAheadKb?: number;
  /** llama.cpp's `use_extra_bufts`. @default true, its default */
  readonly stockRepack?: boolean;
  /** One sentence per step. @default nobody is told */
  readonly onProgress?: (message: string) => void;
  /** Kills the running contender, puts everything back and rejects. @default runs to the end */
  readonly signal?: AbortSignal;
}

/** Requests in flight that the device is tried with; the engine submits a whole expert at once. */
const PROBE_DEPTHS = [4, 16, 64];

export async function runSuite(options: RunSuiteOptions): Promise<BenchResult> {
  const { modelPath, cells, texts, repetitions = 3, threads = os.availableParallelism(), signal } = options;
  const say = options.onProgress ?? (() => {});
  const modelBytes = statSync(modelPath).size;
  const notes = new Set<string>();
  const device = blockDeviceOf(modelPath);
  using readAhead = setReadAhead(device, options.readAheadKb ?? 128);
  if (readAhead.problem !== undefined) notes.add(readAhead.problem);
  const tokens = tokenizeTexts(modelPath, texts);

  const measured: MeasuredContender[] = [];
  const probes: ProbeResult[] = [];
  let limit = "";
  let pageCache = "";
  for (const cell of cells) {
    const memoryBytes = Math.floor(cell.memoryFraction * modelBytes);
    if (memoryBytes > os.totalmem()) {
      notes.add(`${describeCell(cell)} was left out: it needs ${memoryBytes} bytes, the machine has ${os.totalmem()}`);
      continue;
    }
    const windows = windowsOf(cell, tokens, options.contextTokens ?? 512);
    const outcomes = new Map<Contender, ContenderOutcome[]>(cell.contenders.map((contender) => [contender, []]));
    const cellProbes: ProbeResult[] = [];
    for (let repetition = 0; repetition < repetitions; repetition++) {
      for (const contender of alternatingOrder(cell.contenders, repetition)) {
        signal?.throwIfAborted();
        pageCache = dropPageCache(modelPath);
        const probe = tryProbe(modelPath, cellProbes.length + 1, notes);
        if (probe !== undefined) cellProbes.push(probe);
        say(`${describeCell(cell)}, run ${repetition + 1} of ${repetitions}: ${contenderName(contender)}`);
        const made = createMemoryCgroup(memoryBytes);
        limit = made.made ? `cgroup v${made.cgroup.version}` : `only warmset's own budget was held (${made.reason})`;
        using cgroup = made.made ? made.cgroup : undefined;
        const outcome = await runContender(
          jobOf(
            contender,
            { modelPath, windows, warmupTokens: cell.warmupTokens, threads },
            {
              memoryBytes: cgroup?.limitBytes ?? memoryBytes,
              repack: options.stockRepack ?? true,
            },
          ),
          { cgroup, signal },
        );
        outcomes.get(contender)!.push(outcome);
        say(`  ${describeOutcome(outcome)}`);
      }
    }
    probes.push(...cellProbes);
    for (const [contender, list] of outcomes)
      measured.push({ cell, contender, memoryBytes, outcomes: list, probes: cellProbes });
  }

  const rows = resultRows(measured);
  const computeMs = computeAloneMs(measured);
  const versions = measured.flatMap(({ outcomes }) =>
    outcomes.flatMap((outcome) => (outcome.status === "finished" ? [outcome.run.versions] : [])),
  );
  return {
    kind: "memory",
    date: new Date().toISOString(),
    configuration: {
      versions: { warmset: warmsetVersion(), ...versions[0] },
      machine: describeMachine(),
      threads,
      nodeFlags: CONTENDER_NODE_FLAGS,
      modelFile: path.basename(modelPath),
      modelBytes,
      device: device?.name,
      readAheadKb: readAhead.readAheadKb,
      memoryLimit: limit,
      pageCache: pageCache === "everything" ? "dropped before each run" : "the model's pages dropped before each run",
      domains: texts.map(({ domain }) => domain),
      decodeTokens: Math.max(...cells.map(({ decodeTokens }) => decodeTokens)),
      warmupTokens: Math.max(...cells.map(({ warmupTokens }) => warmupTokens)),
      repetitions,
    },
    device: medianProbe(probes),
    limits: { computeMs, deviceBytesPerSecond: medianProbe(probes)?.bytesPerSecond ?? null },
    rows,
    targets: judgeTargets(rows, options.targetPolicy, computeMs),
    notes: [...notes],
  };
}

/** A cold start has one window; its text is the first, because only one prompt counts. */
function windowsOf(cell: Cell, texts: readonly TokenizedText[], contextTokens: number): TokenWindow[] {
  const { promptTokens, decodeTokens } = cell;
  return cutWindows(cell.scenario === "cold" ? texts.slice(0, 1) : texts, {
    promptTokens,
    decodeTokens,
    contextTokens,
  });
}

function jobOf(
  contender: Contender,
  base: Pick<ContenderJob, "modelPath" | "windows" | "warmupTokens" | "threads">,
  settings: { readonly memoryBytes: number; readonly repack: boolean },
): ContenderJob {
  if (contender.system === "llama.cpp") return { ...base, system: "llama.cpp", repack: settings.repack };
  const { policy, prefetch } = contender;
  return { ...base, system: "warmset", memoryBytes: settings.memoryBytes, policy, prefetch };
}

function tryProbe(modelPath: string, seed: number, notes: Set<string>): ProbeResult | undefined {
  try {
    return probeBest(modelPath, PROBE_DEPTHS, { totalBytes: 2 ** 28, seed });
  } catch (error) {
    notes.add(`The device's own speed is unknown: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function medianProbe(probes: readonly ProbeResult[]): ProbeResult | undefined {
  const middle = median(probes.map(({ bytesPerSecond }) => bytesPerSecond));
  const distance = (probe: ProbeResult) => Math.abs(probe.bytesPerSecond - middle);
  return [...probes].sort((a, b) => distance(a) - distance(b))[0];
}

function describeCell({ scenario, memoryFraction, promptTokens }: Cell): string {
  const percent = `${Math.round(memoryFraction * 100)} %`;
  if (scenario === "fits") return "everything fits";
  return scenario === "cold" ? `cold start at ${percent}, prompt of ${promptTokens}` : `memory ${percent}`;
}

function describeOutcome(outcome: ContenderOutcome): string {
  if (outcome.status === "failed") return `failed: ${outcome.reason}`;
  if (outcome.status === "killed-by-limit") return "killed by the memory limit";
  const { tokensPerSecond, ttftMs, peakRssBytes } = outcome.run;
  return `${tokensPerSecond.toFixed(2)} tok/s, first token after ${(ttftMs / 1000).toFixed(2)} s, peak RSS ${(peakRssBytes / 2 ** 20).toFixed(0)} MiB`;
}
