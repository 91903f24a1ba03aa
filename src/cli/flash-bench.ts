/**
 * `warmset flash bench`: designs of flash caches side by side on one stream of requests, on simulated flash or a real file. What is
 * run and how it is judged is in `flash/bench`; here are the options and where results go.
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { keepResult } from "../bench/bench-program.ts";
import { compactJson } from "../bench/finemoe/compact-json.ts";
import { parseByteSize } from "../engine/byte-size.ts";
import { ABLATION_NAMES } from "../flash/bench/ablations.ts";
import type { FlashBenchResult } from "../flash/bench/results.ts";
import { ENGINE_NAMES } from "../flash/bench/subjects.ts";
import { judgeFlash } from "../flash/bench/targets.ts";
import { flashText } from "../flash/bench/text.ts";
import type { EngineName } from "../flash/engine.ts";
import { WORKLOAD_NAMES, type WorkloadName } from "../flash/workload/presets.ts";
import type { TraceFormat } from "../flash/workload/trace/trace-file.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { stopSignal } from "./interruption.ts";
import { decimal, wholeNumber } from "./option-values.ts";
import { type ProgressUnits, StatusLine } from "./status-line.ts";

type Shared = Pick<Settings, "out" | "html" | "json" | "quiet">;

interface FlashSettings extends Shared {
  readonly engines: readonly EngineName[];
  readonly size: string;
  readonly zone?: string;
  readonly ram?: string;
  readonly workload: WorkloadName;
  readonly trace?: string;
  readonly traceFormat: TraceFormat;
  readonly traceMissed: number;
  readonly traceBadRows: number;
  readonly turns: number;
  readonly seed: number;
  /** True: all. */
  readonly ablations?: true | readonly string[];
  readonly ablationSize: string;
  readonly device?: string;
  readonly speed?: boolean;
  readonly render?: string;
}

/** As published: 1,000 MB of RAM before 360 GB of flash. */
const RAM_SHARE = 1000 / 360_000;
const LEAST_BYTES = 16 * 2 ** 20;

const TURNS: ProgressUnits = {
  amount: (turns) => `${turns.toFixed(2)}`,
  rate: (perSecond) => `${(60 * perSecond).toFixed(2)} turns/min`,
};

export function addFlashBenchCommand(flash: Command): void {
  const command = flash
    .command("bench")
    .description("compare designs of flash caches: writes, misses, RAM and reads at steady state")
    .addOption(
      new Option("--engines <names>", "designs to run, comma-separated; none: ablations or speed alone")
        .argParser(engineNames)
        .default(ENGINE_NAMES, ENGINE_NAMES.join(",")),
    )
    .option("--size <bytes>", "flash that the cache has, from 16MiB on", "1GiB")
    .option("--zone <bytes>", "size of a zone (default: a 256th of the cache, 256KiB to 64MiB)")
    .option("--ram <bytes>", "RAM in front of the engine (default: 0.28% of the cache)")
    .addOption(
      new Option("--workload <name>", "what is asked for; its keys are 2.5 times the cache")
        .choices(WORKLOAD_NAMES)
        .default("nemo-mix"),
    )
    .option("--trace <file>", "a published trace instead, for the engines: plain, gzip, or zstd where Node has it")
    .addOption(
      new Option("--trace-format <name>", "of github.com/twitter/cache-trace, or of Meta's CacheLib")
        .choices(["twitter", "meta"])
        .default("twitter"),
    )
    .addOption(
      new Option("--trace-missed <bytes>", "size of values that the trace does not tell, because its cache missed them")
        .argParser(wholeNumber(0))
        .default(0),
    )
    .addOption(
      new Option("--trace-bad-rows <count>", "rows that may be wrong, and are left out")
        .argParser(wholeNumber(0))
        .default(0),
    )
    .addOption(
      new Option("--turns <count>", "cache turns at most; a run ends sooner when it is steady")
        .argParser(decimal(0.1))
        .default(8),
    )
    .addOption(new Option("--seed <number>", "same seed, same requests").argParser(wholeNumber(0)).default(1))
    .addOption(
      new Option("--ablations [names]", `also these, or all of ${ABLATION_NAMES.join(", ")}`).argParser((text) =>
        text.split(","),
      ),
    )
    .option("--ablation-size <bytes>", "flash that the cache has in them", "256MiB")
    .option("--device <file>", "a new file to run on instead of simulated flash; it is removed again")
    .option("--speed", "with --device: also gets and sets a second beside the device's own figures")
    .option("--render <file>", "judge and show this kept result again (also to --html, --out); nothing is run");
  addOptions(command, ["json", "out", "html", "quiet", "verbose"]);
  command.action(() => flashBench(settingsOf(command) as Shared as FlashSettings));
}

async function flashBench(settings: FlashSettings): Promise<void> {
  if (settings.render !== undefined) {
    await show(judgedAgain(settings.render), settings);
    return;
  }
  if (settings.speed && settings.device === undefined)
    throw new UsageError("--speed measures a real file: give --device FILE, on the drive in question.");
  const cacheBytes = sizeOf("--size", settings.size);
  const ablations = ablationsOf(settings.ablations);
  // The file devices load native code, for this command only.
  const { runFlashSuite } = await import("../flash/bench/suite.ts");
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  const result = await runFlashSuite({
    ...{ engines: settings.engines, cacheBytes, ablations },
    ...(settings.zone === undefined ? {} : { zoneBytes: parseByteSize(settings.zone, cacheBytes) }),
    ramBytes: settings.ram === undefined ? Math.floor(RAM_SHARE * cacheBytes) : parseByteSize(settings.ram, cacheBytes),
    ...{ workload: settings.workload, mostTurns: settings.turns, seed: settings.seed },
    ablationBytes: ablations.length === 0 ? cacheBytes : sizeOf("--ablation-size", settings.ablationSize),
    ...(settings.trace === undefined ? {} : { trace: tracedOf(settings.trace, settings) }),
    ...(settings.device === undefined ? {} : { file: settings.device }),
    speed: settings.speed ?? false,
    command: commandLine(process.argv.slice(2)),
    signal: stop.signal,
    onProgress: (what, { turns, alwa }) => {
      const label = Number.isFinite(alwa) ? `${what}, ALWA ${alwa.toFixed(2)}` : what;
      status.progress(label, Math.min(turns, settings.turns), settings.turns, TURNS);
    },
    onMessage: (message) => {
      status.clear();
      if (!settings.quiet) process.stderr.write(`${message}\n`);
    },
    onResult: (sofar) => {
      if (settings.out !== undefined) keepResult(settings.out, sofar, compactJson);
    },
  });
  status.clear();
  await show(result, settings);
}

function tracedOf(file: string, { traceFormat, traceMissed, traceBadRows }: FlashSettings) {
  return { file, format: traceFormat, missedValueBytes: traceMissed, badRows: traceBadRows };
}

async function show(result: FlashBenchResult, { out, html, json }: Shared): Promise<void> {
  if (out !== undefined) keepResult(out, result, compactJson);
  if (html !== undefined) {
    const { renderFlashHtml } = await import("../report/flash-report.ts");
    writeFileSync(html, renderFlashHtml(result));
  }
  process.stdout.write(`${json ? JSON.stringify(result) : flashText(result)}\n`);
}

/** @throws UsageError */
function judgedAgain(file: string): FlashBenchResult {
  let kept: FlashBenchResult;
  try {
    kept = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new UsageError(`--render ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (kept?.kind !== "flash") throw new UsageError(`--render ${file} holds no result of flash bench.`);
  return { ...kept, targets: judgeFlash(kept.rows, kept.ablations, kept.speed) };
}

/** @throws UsageError, ByteSizeError */
function sizeOf(flag: string, text: string): number {
  const bytes = text.includes("%") ? Number.NaN : parseByteSize(text, 0);
  if (!(bytes >= LEAST_BYTES)) throw new UsageError(`${flag} ${text}: give 16MiB or more, such as 1GiB.`);
  return bytes;
}

/** @throws UsageError */
function ablationsOf(names: true | readonly string[] = []): readonly string[] {
  if (names === true) return ABLATION_NAMES;
  const unknown = names.find((name) => !ABLATION_NAMES.includes(name));
  if (unknown !== undefined) throw new UsageError(`--ablations ${unknown}: there are ${ABLATION_NAMES.join(", ")}.`);
  return names;
}

function engineNames(text: string): readonly EngineName[] {
  if (text === "none") return [];
  const names = text.split(",");
  const isEngine = (name: string): name is EngineName => (ENGINE_NAMES as readonly string[]).includes(name);
  if (!names.every(isEngine)) throw new InvalidArgumentError(`There are ${ENGINE_NAMES.join(", ")}, or none.`);
  return names;
}

/** Folders of whoever ran it say nothing and do not belong into a result. */
function commandLine(args: readonly string[]): string {
  return ["warmset", ...args.map((arg) => (path.isAbsolute(arg) ? path.basename(arg) : arg))].join(" ");
}
