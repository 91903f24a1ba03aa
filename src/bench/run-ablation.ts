/**
 * Runs the engine with one thing taken away at a time, under one memory limit and on the same forced tokens, in
 * alternating order: what each part of the engine is worth, and the source of the figures that its comments quote.
 */
import { statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type Ablation, ablationJob } from "./ablation-plan.ts";
import { type AblationResult, ablationRows } from "./ablation-report.ts";
import { blockDeviceOf, setReadAhead } from "./block-device.ts";
import { DeviceProber } from "./device-figures.ts";
import { cutWindows, type HeldOutText } from "./held-out.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { describeOutcome, type MeasuredRun, RunConditions } from "./measured-run.ts";
import { finishedRuns } from "./report.ts";
import { alternatingOrder, LATER_PROMPT_TOKENS } from "./suite-plan.ts";
import { tokenizeTexts } from "./tokenize-texts.ts";

export interface RunAblationOptions {
  readonly modelPath: string;
  readonly texts: readonly HeldOutText[];
  readonly ablations: readonly Ablation[];
  /** Limit as a share of the model file. */
  readonly memoryFraction: number;
  /** Forced tokens of a run, warm-up included. */
  readonly decodeTokens: number;
  readonly warmupTokens: number;
  readonly repetitions: number;
  /** @default as many as the process may use */
  readonly threads?: number;
  /** A single run that takes longer is killed and counts as failed. */
  readonly timeoutMs: number;
  readonly onProgress: (message: string) => void;
  /** The result so far, after each run. */
  readonly onResult: (result: AblationResult) => void;
  /** Kills the running contender, puts everything back and rejects. */
  readonly signal: AbortSignal;
}

const PROMPT_TOKENS = 8;
/** read_ahead_kb, as in the comparison with llama.cpp. */
const READ_AHEAD_KB = 128;

export async function runAblation(options: RunAblationOptions): Promise<AblationResult> {
  const { modelPath, texts, ablations, memoryFraction, decodeTokens, warmupTokens, repetitions, signal } = options;
  const { threads = os.availableParallelism(), timeoutMs } = options;
  if (warmupTokens >= decodeTokens)
    throw new RangeError(`${decodeTokens} tokens leave none to count after ${warmupTokens} of warm-up`);
  const modelBytes = statSync(modelPath).size;
  const memoryBytes = Math.floor(memoryFraction * modelBytes);
  const device = blockDeviceOf(modelPath);
  using readAhead = setReadAhead(device, READ_AHEAD_KB);
  const windows = cutWindows(tokenizeTexts(modelPath, texts), {
    promptTokens: PROMPT_TOKENS,
    laterPromptTokens: LATER_PROMPT_TOKENS,
    decodeTokens,
  });
  const prober = new DeviceProber(modelPath);
  const conditions = new RunConditions();
  const measured = new Map<Ablation, MeasuredRun[]>(ablations.map((ablation) => [ablation, []]));
  const startedAt = performance.now();

  const result = (): AblationResult => {
    const runs = [...measured.values()].flat();
    const problems = [readAhead.problem, prober.problem].filter((problem) => problem !== undefined);
    return {
      kind: "ablation",
      date: new Date().toISOString(),
      complete: runs.length === ablations.length * repetitions,
      elapsedMs: Math.round(performance.now() - startedAt),
      configuration: {
        versions: { warmset: warmsetVersion(), ...finishedRuns(runs)[0]?.run.versions },
        machine: describeMachine(),
        threads,
        modelFile: path.basename(modelPath),
        modelBytes,
        device: device?.name,
        readAheadKb: readAhead.readAheadKb,
        memoryLimit: conditions.memoryLimit,
        pageCache: conditions.pageCache,
        domains: texts.map(({ domain }) => domain),
        decodeTokens,
        warmupTokens,
        repetitions,
      },
      memoryBytes,
      memoryFraction,
      rows: ablationRows(measured),
      notes: problems,
    };
  };

  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const [index, ablation] of alternatingOrder(ablations, repetition).entries()) {
      const done = repetition * ablations.length + index + 1;
      const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
      options.onProgress(`[${done}/${ablations.length * repetitions}, ${minutes} min] ${ablation.name}`);
      const run = await conditions.measure({
        modelPath,
        memoryBytes,
        job: (limitBytes) =>
          ablationJob(ablation, { modelPath, windows, warmupTokens, threads, memoryBytes: limitBytes }),
        prober,
        timeoutMs,
        signal,
      });
      measured.get(ablation)?.push(run);
      options.onProgress(`  ${describeOutcome(run.outcome)}`);
      options.onResult(result());
    }
  }
  return result();
}
