/**
 * `warmset simulate`: a recorded trace replayed with other policies and cache sizes on a model of this machine, and what
 * that machine is taken to be.
 */
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { tokenCycleBytes } from "../cache/shape.ts";
import { parseByteSize } from "../engine/byte-size.ts";
import { splitPolicyNames } from "../policy/policy-switches.ts";
import { loadPredictor } from "../predict/predictor-file.ts";
import { bestBytesPerSecond, plainDisk } from "../simulate/disk-model.ts";
import type { PassOptions } from "../simulate/forward-passes.ts";
import { replayPolicy, replayPolicyNames } from "../simulate/policies.ts";
import { type ChosenMachine, type MachineWishes, machineFor } from "../simulate/profile.ts";
import { profilePath, readProfile } from "../simulate/profile-file.ts";
import { shapeOf } from "../simulate/replay.ts";
import { type Simulation, simulate } from "../simulate/sweep.ts";
import type { TraceDescription } from "../trace/trace.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { calibrateAndKeep, noiseOf } from "./calibrate.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatBytes, formatMs, formatShare, threeDigits } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { readMapsFile } from "./maps.ts";
import { modelPath, refuseUnusedFiles } from "./model-options.ts";
import { wholeNumber } from "./option-values.ts";
import { StatusLine, TOKENS } from "./status-line.ts";
import { openTracedWeights } from "./traced-weights.ts";

const DEFAULT_POLICIES = ["on-demand", "lru", "next-use", "belady", "oracle-prefetch"];

export function addSimulateCommand(program: Command): void {
  const command = program
    .command("simulate TRACE")
    .description("replay a trace with other policies and cache sizes, and predict tokens per second");
  command.addOption(
    new Option("--policies <names>", `policies, comma-separated: ${replayPolicyNames().join(", ")}`)
      .argParser(splitPolicyNames)
      .default(DEFAULT_POLICIES, DEFAULT_POLICIES.join(",")),
  );
  command.addOption(
    new Option("--model <file>", "the traced model, for policies that need its embeddings or its routers"),
  );
  addOptions(command, ["cache", "predictor", "maps"]);
  command.addOption(new Option("--disk <GB/s>", "speed of the drive (default: as measured by calibrate)"));
  addOptions(command, ["diskLatency", "compute", "calibrate", "profile", "as"]);
  command.addOption(
    new Option("--prompt-tokens <count>", "with --as decode: tokens at the start of a sample that are a prompt")
      .argParser(wholeNumber(0))
      .default(0),
  );
  addOptions(command, ["start"]);
  command.addOption(
    new Option("--warmup <count>", "decode steps before the count starts").argParser(wholeNumber(0)).default(0),
  );
  addOptions(command, ["workers", "json", "quiet", "verbose"]);
  command.action((directory: string) => {
    const settings = settingsOf(command);
    refuseUnusedFiles(command, settings.policies ?? DEFAULT_POLICIES);
    return run(directory, settings);
  });
}

async function run(directory: string, settings: Settings): Promise<void> {
  const policies = settings.policies ?? DEFAULT_POLICIES;
  const replayed = policies.map(replayPolicy);
  const wishes = wishesOf(settings);
  const source = await openTrace(directory);
  const { description } = source;
  const shape = shapeOf(description.model);
  const expertBytes = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
  const cacheBytes = (settings.cache ?? "").split(",").map((text) => parseByteSize(text, expertBytes));
  const notes: string[] = source.unfinished === undefined ? [] : [source.unfinished];
  const { machine: chosen, profile } = await chooseMachine(description, settings, wishes, notes);
  const machine = withLatency(chosen, settings, wishes);
  const passes = passesOf(description, settings);
  const { start = "warm", warmup = 0 } = settings;

  const predictor = settings.predictor && loadPredictor(settings.predictor, description.model.hash ?? undefined);
  const maps = settings.maps === undefined ? undefined : readMapsFile(settings.maps);
  using weights = await openTracedWeights(settings.model && modelPath(settings.model, {}), description, replayed);
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  const startMs = performance.now();
  const simulation = await simulate(source, {
    ...{
      policies,
      cacheBytes,
      machine: machine.machine,
      weights,
      predictor: predictor || undefined,
      ...(maps === undefined ? {} : { maps }),
      passes,
      start,
      warmupTokens: warmup,
    },
    workers: settings.workers ?? availableParallelism(),
    signal: stop.signal,
    onProgress: ({ tokensDone, tokens, replays }) =>
      status.progress(`simulating ${replays} replays`, tokensDone, tokens, TOKENS),
  });
  status.clear();
  notes.push(...simulation.notes, ...cliffNotes(description, cacheBytes));
  if (simulation.rows.every(({ decodeTokens }) => decodeTokens === 0))
    notes.push("No decode step was counted: figures of decoding are missing. Use --as decode, or a smaller --warmup.");
  const elapsedMs = performance.now() - startMs;
  const conditions = { ...passes, start, warmupTokens: warmup };
  if (settings.json) {
    const document = simulationDocument(directory, description, simulation, machine, conditions);
    process.stdout.write(`${JSON.stringify({ ...document, profile, notes, elapsedMs })}\n`);
    return;
  }
  process.stdout.write(`${simulationText(description, simulation, machine, conditions)}\n`);
  if (!settings.quiet) for (const note of notes) process.stderr.write(`note: ${note}\n`);
}

/** @throws UsageError */
function wishesOf({ disk, diskLatency, compute }: Settings): MachineWishes {
  if (diskLatency !== undefined && disk === undefined) throw new UsageError("--disk-latency needs --disk.");
  const gigabytes = Number(disk);
  if (disk !== undefined && !(gigabytes > 0))
    throw new UsageError(`--disk ${disk}: give the drive's speed in GB/s, such as 1.5.`);
  if (compute === 0) throw new UsageError("--compute 0: no model computes in no time; give milliseconds, such as 30.");
  return {
    ...(disk === undefined ? {} : { diskBytesPerSecond: gigabytes * 1e9 }),
    ...(compute === undefined ? {} : { computeMsPerToken: compute }),
  };
}

async function chooseMachine(
  { model }: TraceDescription,
  settings: Settings,
  wishes: MachineWishes,
  notes: string[],
): Promise<{ readonly machine: ChosenMachine; readonly profile: string }> {
  if (settings.calibrate !== undefined) {
    const { model: _, ...others } = settings;
    const { calibration } = await calibrateAndKeep(modelPath(settings.calibrate, others), settings);
    const noise = noiseOf(calibration);
    if (noise !== undefined) notes.push(noise);
  }
  const profile = settings.profile ?? profilePath();
  return { machine: machineFor(model, readProfile(profile), wishes), profile };
}

function withLatency(chosen: ChosenMachine, { diskLatency }: Settings, { diskBytesPerSecond }: MachineWishes) {
  if (diskLatency === undefined || diskBytesPerSecond === undefined) return chosen;
  const disk = plainDisk({ bytesPerSecond: diskBytesPerSecond, latencyMs: diskLatency });
  return { ...chosen, machine: { ...chosen.machine, disk } };
}

/** Given text is computed in batches when it is recorded, which says nothing of how it would be generated. */
function passesOf({ recording }: TraceDescription, { as, promptTokens }: Settings): PassOptions {
  const how = as ?? (recording.tokensFrom.includes("generated") ? "recorded" : "decode");
  if (how === "recorded" && promptTokens !== undefined && promptTokens > 0)
    throw new UsageError("--prompt-tokens needs --as decode: recorded passes have their own prompts.");
  return { as: how, promptTokens: promptTokens ?? 0 };
}

/** One sentence for caches in which a global LRU finds nothing. */
function cliffNotes({ model }: TraceDescription, cacheBytes: readonly number[]): string[] {
  const shape = shapeOf(model);
  const cycle = tokenCycleBytes(shape);
  const below = cacheBytes.filter((bytes) => bytes < cycle);
  if (below.length === 0) return [];
  const sizes = below.map((bytes) => formatBytes(bytes)).join(", ");
  return [
    `A token uses ${formatBytes(cycle)} of experts, more than ${sizes}: a global LRU of that size gives up every expert just before it is needed again, and hits nothing.`,
  ];
}

interface Conditions {
  readonly as?: string;
  readonly promptTokens?: number;
  readonly start: string;
  readonly warmupTokens: number;
}

function simulationDocument(
  directory: string,
  { model }: TraceDescription,
  { rows, samples, tokens }: Simulation,
  { machine, disk, compute }: ChosenMachine,
  conditions: Conditions,
) {
  const shape = shapeOf(model);
  return {
    trace: directory,
    model: model.name,
    samples,
    tokens,
    /** Look-ups by layer, first uses are misses; see docs/simulator.md. */
    convention: "layer/miss",
    ...conditions,
    tokenCycleBytes: tokenCycleBytes(shape),
    expertBytesTotal: shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0),
    machine: {
      disk: { ...disk, bytesPerSecond: bestBytesPerSecond(machine.disk), ...machine.disk },
      compute,
      engine: machine.engine,
    },
    rows,
  };
}

function simulationText(
  { model }: TraceDescription,
  { rows, samples, tokens }: Simulation,
  { disk, compute }: ChosenMachine,
  { as, promptTokens, start }: Conditions,
): string {
  const prompts = promptTokens === 0 || promptTokens === undefined ? "" : `, prompts of ${promptTokens}`;
  const how = as === "recorded" ? "passes as recorded" : `every token a decode step${prompts}`;
  const head = `${model.name}: ${samples} samples, ${tokens} tokens, ${how}, each sample starts ${start}`;
  const columns = ["cache", "policy", "hits", "decode hits", "read/token", "waiting", "computing", "tokens/s"];
  const ahead = rows.some(({ bytesPrefetched }) => bytesPrefetched > 0);
  const table = rows.map((row, i) => [
    i > 0 && rows[i - 1].cacheBytes === row.cacheBytes
      ? ""
      : `${formatBytes(row.cacheBytes)} (${formatShare(row.cacheShare)})`,
    row.policy,
    formatShare(row.hitRate),
    orDash(row.decodeHitRate, formatShare),
    orDash(row.bytesPerToken, formatBytes),
    orDash(row.stallMs, formatMs),
    orDash(row.computeMs, formatMs),
    orDash(row.predictedTokensPerSecond, threeDigits),
    ...(ahead ? [formatShare(row.coverage), formatBytes(row.bytesWasted)] : []),
  ]);
  return [
    head,
    disk.text,
    compute.text,
    alignColumns([[...columns, ...(ahead ? ["foreseen", "wasted"] : [])], ...table]),
  ].join("\n");
}

function orDash(value: number | null, format: (value: number) => string): string {
  return value === null ? "-" : format(value);
}
