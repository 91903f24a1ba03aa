/**
 * Runs the side-by-side bench: every cell of the plan, its contenders in alternating order. How one run is made
 * comparable is in `measured-run.ts`, what is measured in `teacher-forcing.ts`, what it means in `report.ts`; this file
 * goes through the plan and hands over the result after each cell, so that an interrupted bench keeps what it has.
 */
import { statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { RouterOption } from "../engine/router-override.ts";
import { type BlockDevice, blockDeviceOf, setReadAhead } from "./block-device.ts";
import { CONTENDER_NODE_FLAGS, type ContenderJob } from "./contender-protocol.ts";
import { type DeviceFigures, DeviceProber } from "./device-figures.ts";
import { cutWindows, type HeldOutText, type TokenWindow } from "./held-out.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { describeOutcome, type MeasuredRun, RunConditions } from "./measured-run.ts";
import { computeAloneMs, finishedRuns, type MeasuredContender, medianOrNull, resultRows } from "./report.ts";
import type { BenchConfiguration, BenchResult } from "./results.ts";
import { alternatingOrder, type Cell, type Contender, contenderName, LATER_PROMPT_TOKENS } from "./suite-plan.ts";
import { judgeTargets } from "./targets.ts";
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
  /** File of a predictor of the model, for the policy promoe. @default none */
  readonly predictorFile?: string | undefined;
  /** Tuned routers that warmset runs with; llama.cpp keeps the model's own. @default the model's own */
  readonly router?: RouterOption | undefined;
  /** A single run that takes longer is killed and counts as failed. @default 15 minutes */
  readonly timeoutMs?: number;
  /** One sentence per step. @default nobody is told */
  readonly onProgress?: (message: string) => void;
  /** The result so far, after each cell. @default nobody is told */
  readonly onResult?: (result: BenchResult) => void;
  /** Kills the running contender, puts everything back and rejects. @default runs to the end */
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 15 * 60_000;

export async function runSuite(options: RunSuiteOptions): Promise<BenchResult> {
  const { modelPath, texts, signal } = options;
  const device = blockDeviceOf(modelPath);
  using readAhead = setReadAhead(device, options.readAheadKb ?? 128);
  const tokens = tokenizeTexts(modelPath, texts);
  const windows = options.cells.map((cell) => windowsOf(cell, tokens, options.contextTokens ?? 512));
  const suite = new Suite(options, device, readAhead.readAheadKb);
  if (readAhead.problem !== undefined) suite.notes.add(readAhead.problem);
  const { router } = options;
  if (router !== undefined)
    suite.notes.add(
      `warmset ran with the routers of ${router.path} at scale ${router.scale ?? 1}, llama.cpp with the model's.`,
    );
  for (const [index, cell] of options.cells.entries()) {
    signal?.throwIfAborted();
    await suite.run(cell, windows[index]);
    options.onResult?.(suite.result(index + 1 === options.cells.length));
  }
  return suite.result(true);
}

class Suite {
  readonly notes = new Set<string>();
  readonly #options: RunSuiteOptions;
  readonly #device: BlockDevice | undefined;
  readonly #readAheadKb: number | undefined;
  readonly #repetitions: number;
  readonly #threads: number;
  readonly #modelBytes: number;
  readonly #prober: DeviceProber;
  readonly #conditions = new RunConditions();
  readonly #measured: MeasuredContender[] = [];
  readonly #startedAt = performance.now();
  readonly #runsInAll: number;
  #runsDone = 0;

  constructor(options: RunSuiteOptions, device: BlockDevice | undefined, readAheadKb: number | undefined) {
    this.#options = options;
    this.#device = device;
    this.#readAheadKb = readAheadKb;
    this.#repetitions = options.repetitions ?? 3;
    this.#threads = options.threads ?? os.availableParallelism();
    this.#modelBytes = statSync(options.modelPath).size;
    this.#prober = new DeviceProber(options.modelPath);
    const contenders = options.cells
      .filter((cell) => this.#memoryBytes(cell) <= os.totalmem())
      .flatMap((cell) => cell.contenders);
    this.#runsInAll = contenders.length * this.#repetitions;
  }

  async run(cell: Cell, windows: readonly TokenWindow[]): Promise<void> {
    const { modelPath, signal, timeoutMs = TIMEOUT_MS, stockRepack = true, predictorFile, router } = this.#options;
    const memoryBytes = this.#memoryBytes(cell);
    if (memoryBytes > os.totalmem()) {
      const reason = `it needs ${memoryBytes} bytes, the machine has ${os.totalmem()}`;
      this.notes.add(`${describeCell(cell)} was left out: ${reason}`);
      return;
    }
    const base = { modelPath, windows, warmupTokens: cell.warmupTokens, threads: this.#threads };
    const runs = new Map<Contender, MeasuredRun[]>(cell.contenders.map((contender) => [contender, []]));
    for (let repetition = 0; repetition < this.#repetitions; repetition++) {
      for (const contender of alternatingOrder(cell.contenders, repetition)) {
        this.#say(`${describeCell(cell)}, run ${repetition + 1} of ${this.#repetitions}: ${contenderName(contender)}`);
        const run = await this.#conditions.measure({
          modelPath,
          memoryBytes,
          job: (limitBytes) =>
            jobOf(contender, base, { memoryBytes: limitBytes, repack: stockRepack, predictorFile, router }),
          // Only there is a run held against the device.
          prober: cell.scenario === "limited" ? this.#prober : undefined,
          timeoutMs,
          signal,
        });
        runs.get(contender)?.push(run);
        this.#runsDone++;
        this.#options.onProgress?.(`  ${describeOutcome(run.outcome)}`);
      }
    }
    if (this.#prober.problem !== undefined) this.notes.add(this.#prober.problem);
    for (const [contender, list] of runs) this.#measured.push({ cell, contender, memoryBytes, runs: list });
  }

  result(complete: boolean): BenchResult {
    const rows = resultRows(this.#measured);
    const computeMs = computeAloneMs(this.#measured);
    const probes = this.#measured.flatMap(({ runs }) => runs.flatMap((run) => run.probes));
    const speeds = probes.map(({ slices }) => slices.bytesPerSecond);
    return {
      kind: "memory",
      date: new Date().toISOString(),
      complete,
      elapsedMs: Math.round(performance.now() - this.#startedAt),
      configuration: this.#configuration(),
      device: middleProbe(probes),
      limits: {
        computeMs,
        deviceBytesPerSecond: medianOrNull(speeds),
        deviceSlowestBytesPerSecond: speeds.length === 0 ? null : Math.min(...speeds),
        deviceFastestBytesPerSecond: speeds.length === 0 ? null : Math.max(...speeds),
      },
      rows,
      targets: judgeTargets(rows, this.#options.targetPolicy, computeMs),
      notes: [...this.notes],
    };
  }

  #configuration(): BenchConfiguration {
    const { modelPath, texts, cells } = this.#options;
    const finished = this.#measured.flatMap(({ runs }) => finishedRuns(runs));
    const decoding = cells.filter(({ scenario }) => scenario !== "cold");
    const most = (counts: readonly number[]) => (counts.length === 0 ? null : Math.max(...counts));
    return {
      // Those of our own contender where it ran: it names all.
      versions: { warmset: warmsetVersion(), ...finished.at(-1)?.run.versions },
      machine: describeMachine(),
      threads: this.#threads,
      nodeFlags: CONTENDER_NODE_FLAGS,
      modelFile: path.basename(modelPath),
      modelBytes: this.#modelBytes,
      device: this.#device?.name,
      readAheadKb: this.#readAheadKb,
      memoryLimit: this.#conditions.memoryLimit,
      pageCache: this.#conditions.pageCache,
      domains: texts.map(({ domain }) => domain),
      decodeTokens: most(decoding.map(({ decodeTokens }) => decodeTokens)),
      warmupTokens: most(decoding.map(({ warmupTokens }) => warmupTokens)),
      repetitions: this.#repetitions,
    };
  }

  #memoryBytes(cell: Cell): number {
    return Math.floor(cell.memoryFraction * this.#modelBytes);
  }

  #say(what: string): void {
    const minutes = ((performance.now() - this.#startedAt) / 60_000).toFixed(1);
    this.#options.onProgress?.(`[${this.#runsDone + 1}/${this.#runsInAll}, ${minutes} min] ${what}`);
  }
}

/** A cold start has one window; its text is the first, because only one prompt counts. */
function windowsOf(cell: Cell, texts: readonly TokenizedText[], contextTokens: number): TokenWindow[] {
  const { promptTokens, decodeTokens } = cell;
  return cutWindows(cell.scenario === "cold" ? texts.slice(0, 1) : texts, {
    promptTokens,
    laterPromptTokens: LATER_PROMPT_TOKENS,
    decodeTokens,
    contextTokens,
  });
}

function jobOf(
  contender: Contender,
  base: Pick<ContenderJob, "modelPath" | "windows" | "warmupTokens" | "threads">,
  settings: {
    readonly memoryBytes: number;
    readonly repack: boolean;
    readonly predictorFile: string | undefined;
    readonly router: RouterOption | undefined;
  },
): ContenderJob {
  if (contender.system === "llama.cpp") return { ...base, system: "llama.cpp", repack: settings.repack };
  const { policy, prefetch } = contender;
  const { memoryBytes, predictorFile, router } = settings;
  return { ...base, system: "warmset", memoryBytes, policy, prefetch, predictorFile, router };
}

function middleProbe(probes: readonly DeviceFigures[]): DeviceFigures | undefined {
  const sorted = [...probes].sort((a, b) => a.slices.bytesPerSecond - b.slices.bytesPerSecond);
  return sorted[Math.floor(sorted.length / 2)];
}

function describeCell({ scenario, memoryFraction, promptTokens }: Cell): string {
  const percent = `${Math.round(memoryFraction * 100)} %`;
  if (scenario === "fits") return "everything fits";
  return scenario === "cold" ? `cold start at ${percent}, prompt of ${promptTokens}` : `memory ${percent}`;
}
