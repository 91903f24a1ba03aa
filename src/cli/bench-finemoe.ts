/**
 * `warmset bench --suite finemoe`: policies side by side on a recorded trace, simulated, and with `--live` measured on the engine
 * too. What is compared and how it is judged is in `bench/finemoe`; here are the options and where results go.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { keepResult } from "../bench/bench-program.ts";
import { ABLATED, ABLATION_NAMES } from "../bench/finemoe/ablations.ts";
import { compactJson } from "../bench/finemoe/compact-json.ts";
import type { Mode } from "../bench/finemoe/figures.ts";
import { comparedPolicies, DEFAULT_POLICIES, isPredictor, needsOf, problemOf } from "../bench/finemoe/policies.ts";
import { comparePublished } from "../bench/finemoe/published.ts";
import { type RequestTrace, readRequests, traceAs } from "../bench/finemoe/request-trace.ts";
import type { FinemoeResult } from "../bench/finemoe/results.ts";
import { splitRequests } from "../bench/finemoe/simulated-suite.ts";
import { judgeFinemoe } from "../bench/finemoe/targets.ts";
import { finemoeText } from "../bench/finemoe/text.ts";
import { splitPolicyNames } from "../policy/policy-switches.ts";
import type { RouterPredictor } from "../predict/router-predictor.ts";
import { trainPredictor } from "../predict/train-predictor.ts";
import { plainDisk } from "../simulate/disk-model.ts";
import { replayPolicy } from "../simulate/policies.ts";
import { type ChosenMachine, machineFor } from "../simulate/profile.ts";
import { profilePath, readProfile } from "../simulate/profile-file.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { calibrateAndKeep } from "./calibrate.ts";
import type { Settings } from "./config.ts";
import { UsageError } from "./failure.ts";
import { stopSignal } from "./interruption.ts";
import { DEMO_MODEL, modelPath } from "./model-options.ts";
import { collect, wholeNumber } from "./option-values.ts";
import { openTracedWeights } from "./traced-weights.ts";

/** Options of this suite alone. */
export interface FinemoeSettings extends Settings {
  readonly trace?: string;
  readonly traced?: string;
  readonly shares?: readonly number[];
  readonly requests?: number;
  /** True: all. */
  readonly ablations?: true | readonly string[];
  readonly realTrace?: readonly string[];
  readonly live?: boolean;
  readonly liveShares?: readonly number[];
  readonly liveRequests?: number;
  readonly liveTokens?: number;
  readonly livePolicies?: readonly string[];
  readonly modes?: readonly Mode[];
  readonly render?: string;
}

const SHARES = [0.06, 0.12, 0.25, 0.5];
const RECORD = "warmset trace demo --text FILE... --decode 96 --probs --hidden --out DIR";

export function addFinemoeOptions(command: Command): void {
  const option = (flags: string, text: string) => new Option(flags, `finemoe: ${text}`);
  command
    .addOption(option("--trace <dir>", `routing to replay (${RECORD})`))
    .addOption(option("--traced <file>", "the model that the trace was recorded from (default: the demo model)"))
    .addOption(option("--shares <percent>", "caches, of all experts (default: 6,12,25,50)").argParser(shares))
    .addOption(option("--requests <count>", "test prompts at most (default: all)").argParser(wholeNumber(1)))
    .addOption(
      option(
        "--ablations [names]",
        `also the ablations of the paper's figures, all or of ${ABLATION_NAMES.join(", ")}`,
      ).argParser(splitPolicyNames),
    )
    .addOption(option("--real-trace <dir...>", "traces of other models, for hits alone").argParser(collect))
    .addOption(option("--live", "also run the engine, on an inflated model"))
    .addOption(option("--live-shares <percent>", "caches of those runs (default: 25)").argParser(shares))
    .addOption(option("--live-requests <count>", "prompts of a run").argParser(wholeNumber(1)).default(8))
    .addOption(option("--live-tokens <count>", "tokens behind each prompt").argParser(wholeNumber(2)).default(32))
    .addOption(
      option("--live-policies <names>", "policies of those runs (default: --policies)").argParser(splitPolicyNames),
    )
    .addOption(option("--modes <names>", "modes of those runs (default: offline,online)").argParser(splitPolicyNames))
    .addOption(
      option("--render <file>", "judge and show this kept result again (also to --html, --out); nothing is run"),
    );
}

export async function benchFinemoe(argument: string | undefined, settings: FinemoeSettings): Promise<void> {
  if (settings.render !== undefined) {
    await show(judgedAgain(keptResult(settings.render, "--render")), settings);
    return;
  }
  if (settings.trace === undefined)
    throw new UsageError(`The suite finemoe replays a trace: give --trace DIR. Record one: ${RECORD}`);
  const policies = comparedPolicies(settings.policies ?? DEFAULT_POLICIES);
  const source = await openTrace(settings.trace);
  const [{ inflatedDemo }, { runFinemoeSuite }, { tracedModel }] = await Promise.all([
    import("../bench/bench-model.ts"),
    import("../bench/finemoe/suite.ts"),
    import("../trace/record/traced-model.ts"),
  ]);
  using stop = stopSignal();
  const { signal } = stop;
  const tell = (message: string) => {
    if (!settings.quiet) process.stderr.write(`${message}\n`);
  };
  const model =
    argument === undefined && settings.model === undefined ? await inflatedDemo(signal) : modelPath(argument, settings);
  // Whoever is run anywhere must be told what it needs.
  const ablations = ablationsOf(settings);
  const all = [...policies, ...(settings.livePolicies ?? []), ...(ablations.length === 0 ? [] : ABLATED)];
  const known = all.filter((name) => problemOf(() => replayPolicy(name)) === undefined).map(replayPolicy);
  using weights = await openTracedWeights(settings.traced ?? DEMO_MODEL, source.description, known);
  tell(`reading ${settings.trace}`);
  const recorded = await readRequests(source, needsOf(all), weights, signal);
  const predictor = await trainedPredictor(recorded, all, settings, signal, tell);
  const trace = traceAs(recorded, { ...tracedModel(model), scoring: source.description.model.scoring });
  const notes = source.unfinished === undefined ? [] : [source.unfinished];
  const machine = await machineOf(trace, model, settings);
  const cacheShares = settings.shares ?? SHARES;
  const { out } = settings;
  const result = await runFinemoeSuite({
    ...{ trace, machine, policies, predictor, cacheShares, notes, signal },
    traceName: `${path.basename(settings.trace)} (${source.description.model.name}, ${recorded.samples.length} samples)`,
    requests: settings.requests,
    ablations,
    realTraces: await realTraces(settings.realTrace ?? [], signal),
    live: settings.live ? liveOptions(model, settings, policies, cacheShares) : undefined,
    earlier: out === undefined || !existsSync(out) ? undefined : keptResult(out, "--out"),
    workers: settings.workers ?? availableParallelism(),
    command: commandLine(process.argv.slice(2)),
    onProgress: tell,
    onResult: (sofar) => {
      if (out !== undefined) keepResult(out, sofar, compactJson);
    },
  });
  await show(result, settings);
}

async function show(result: FinemoeResult, { out, html, json }: FinemoeSettings): Promise<void> {
  if (out !== undefined) keepResult(out, result, compactJson);
  if (html !== undefined) {
    const { renderFinemoeHtml } = await import("../report/finemoe-report.ts");
    writeFileSync(html, renderFinemoeHtml(result));
  }
  process.stdout.write(`${json ? JSON.stringify(result) : finemoeText(result)}\n`);
}

/** What follows from its rows, as it is worked out today. */
function judgedAgain(kept: FinemoeResult): FinemoeResult {
  const { rows, realTraces } = kept;
  return { ...kept, published: comparePublished(rows), targets: judgeFinemoe(rows, realTraces) };
}

/** Trained on the training prompts alone; undefined when no policy asks for one, or the trace has no routers' inputs. */
async function trainedPredictor(
  { description, samples }: RequestTrace,
  policies: readonly string[],
  settings: Settings,
  signal: AbortSignal,
  tell: (message: string) => void,
): Promise<RouterPredictor | undefined> {
  if (!policies.some(isPredictor) || description.columns.hiddenWidth === 0) return undefined;
  const { train } = splitRequests({ samples });
  tell(`training the predictor of promoe on ${train.length} prompts`);
  const { predictor, trainingMs } = await trainPredictor(memoryTrace(description, train), {
    threads: settings.workers ?? availableParallelism(),
    signal,
  });
  tell(`trained in ${(trainingMs / 1000).toFixed(1)} s`);
  return predictor;
}

/** Measured on this machine, as `simulate` chooses it. */
async function machineOf({ description }: RequestTrace, model: string, settings: Settings): Promise<ChosenMachine> {
  const gigabytes = settings.disk === undefined ? undefined : Number(settings.disk);
  if (gigabytes !== undefined && !(gigabytes > 0))
    throw new UsageError(`--disk ${settings.disk}: give the drive's speed in GB/s, such as 1.5.`);
  const file = settings.profile ?? profilePath();
  if (settings.calibrate !== undefined) await calibrateAndKeep(model, settings);
  const chosen = machineFor(description.model, readProfile(file));
  if (gigabytes === undefined) return chosen;
  return {
    ...chosen,
    machine: { ...chosen.machine, disk: plainDisk({ bytesPerSecond: gigabytes * 1e9 }) },
    disk: { kind: "given", text: `Drive: ${gigabytes} GB/s, as given.`, date: null },
  };
}

async function realTraces(directories: readonly string[], signal: AbortSignal) {
  const traces: { name: string; trace: RequestTrace }[] = [];
  for (const directory of directories) {
    const source = await openTrace(directory);
    const trace = await readRequests(source, { hidden: false, embeddings: false, nextGate: false }, {}, signal);
    traces.push({ name: source.description.model.name, trace });
  }
  return traces;
}

function liveOptions(
  modelPath: string,
  settings: FinemoeSettings,
  policies: readonly string[],
  cacheShares: readonly number[],
) {
  const modes = settings.modes ?? ["offline", "online"];
  if (!modes.every((mode) => ["offline", "online"].includes(mode)))
    throw new UsageError(`--modes ${modes.join(",")}: they are offline and online.`);
  return {
    ...{ modelPath, modes, policies: settings.livePolicies ?? policies },
    cacheShares: settings.liveShares ?? cacheShares.filter((share) => share === 0.25),
    requests: settings.liveRequests ?? 8,
    decodeTokens: settings.liveTokens ?? 32,
    runs: settings.runs ?? 3,
    threads: settings.threads ?? availableParallelism(),
  };
}

/** @throws UsageError */
function ablationsOf({ ablations = [] }: FinemoeSettings): readonly string[] {
  if (ablations === true) return ABLATION_NAMES;
  const unknown = ablations.find((name) => !ABLATION_NAMES.includes(name));
  if (unknown !== undefined) throw new UsageError(`--ablations ${unknown}: there are ${ABLATION_NAMES.join(", ")}.`);
  return ablations;
}

function keptResult(file: string, flag: string): FinemoeResult {
  const kept = readKept(file, flag);
  if (kept?.kind !== "finemoe") throw new UsageError(`${flag} ${file} holds no result of the suite finemoe.`);
  return kept;
}

function readKept(file: string, flag: string): FinemoeResult {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new UsageError(`${flag} ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Folders of whoever ran it say nothing and do not belong into a result. */
function commandLine(args: readonly string[]): string {
  return ["warmset", ...args.map((arg) => (path.isAbsolute(arg) ? path.basename(arg) : arg))].join(" ");
}

function shares(text: string): readonly number[] {
  const values = text.split(",").map((part) => Number(part.replace("%", "")) / 100);
  if (values.some((value) => !(value > 0 && value <= 1)))
    throw new InvalidArgumentError("It must be percentages from 1 to 100, separated by commas.");
  return values;
}
