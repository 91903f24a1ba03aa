/** `warmset calibrate`: measures this machine and keeps the figures, for `simulate` and whoever else wants them. */
import os from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { calibrate } from "../calibrate/calibrate.ts";
import { parseByteSize } from "../engine/byte-size.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { computeMsOf } from "../simulate/compute-model.ts";
import type { Calibration, MeasuredCompute } from "../simulate/profile.ts";
import { withCalibration } from "../simulate/profile.ts";
import { profilePath, readProfile, writeProfile } from "../simulate/profile-file.ts";
import { addOptions, refuseOptions, type Settings, settingsOf } from "./config.ts";
import { alignColumns, formatBytes, formatMs, formatRate, formatShare } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath } from "./model-options.ts";
import { StatusLine } from "./status-line.ts";

export function addCalibrateCommand(program: Command): void {
  const command = program
    .command("calibrate [MODEL]")
    .description("measure the drive, and with a model how fast it computes; simulate predicts with it");
  command.option(
    "--expert-memory <size>",
    "experts held while computing is measured: 4GiB, 50% (default: half of them)",
  );
  addOptions(command, ["threads", "profile", "model", "json", "quiet", "verbose"]);
  command.action((argument: string | undefined) => {
    const settings = settingsOf(command);
    if (argument === undefined && settings.model === undefined)
      refuseOptions(command, ["expertMemory", "threads"], "is for measuring how fast a model computes: name one.");
    return run(argument, settings);
  });
}

async function run(argument: string | undefined, settings: Settings): Promise<void> {
  const given = argument ?? settings.model;
  const { calibration, file } = await calibrateAndKeep(
    given === undefined ? undefined : modelPath(argument, settings),
    settings,
  );
  const document = { profile: file, ...calibration };
  process.stdout.write(`${settings.json ? JSON.stringify(document) : calibrationText(calibration, file)}\n`);
  const noise = noiseOf(calibration);
  if (noise !== undefined && !settings.quiet) process.stderr.write(`note: ${noise}\n`);
}

/** Measures, and puts the figures into the profile. Shared with `simulate --calibrate`. */
export async function calibrateAndKeep(
  model: string | undefined,
  settings: Settings,
): Promise<{ readonly calibration: Calibration; readonly file: string }> {
  const file = settings.profile ?? profilePath();
  // Before minutes are spent.
  const profile = readProfile(file);
  const { threads, expertMemory } = settings;
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  status.waiting(model === undefined ? "measuring the drive" : `measuring the drive, and ${path.basename(model)}`);
  const calibration = await calibrate({
    ...(model === undefined ? {} : { modelPath: model }),
    folder: path.dirname(file),
    ...(threads === undefined ? {} : { threads }),
    ...(model === undefined || expertMemory === undefined ? {} : { expertBytes: expertBytes(model, expertMemory) }),
    signal: stop.signal,
  });
  writeProfile(file, withCalibration(profile, calibration));
  return { calibration, file };
}

function expertBytes(model: string, text: string): number {
  return parseByteSize(text, readMoeLayout(openGguf(model)).expertBytesTotal);
}

/** Above this, half of the steps were not near the middle one. */
const NOISY_SPREAD = 0.2;

/** What to say when something else used the processor, or undefined. */
export function noiseOf({ compute }: Calibration): string | undefined {
  if (compute === null || compute.spread <= NOISY_SPREAD) return undefined;
  return `Steps took very different times (half of them were ${formatShare(compute.spread)} or more off the middle): something else used the processor. Measure again when nothing else runs.`;
}

function calibrationText({ disk, compute, machine }: Calibration, file: string): string {
  const { bursts, requestBytes, latencyMs, reportsEvery } = disk.model;
  const speeds = bursts.map(({ requests, ms }) => [
    `${requests} together`,
    formatMs(ms),
    formatRate((1000 * requests * requestBytes) / ms),
  ]);
  return [
    `${machine}`,
    `Drive of ${shortened(disk.file)}, reads of ${formatBytes(requestBytes)}${compute === null ? "" : ", as the engine got it"}:`,
    alignColumns([...speeds, ["a small read", formatMs(latencyMs)]]),
    ...(compute === null ? [] : [`  By itself, while nothing computed: ${formatRate(disk.probedBytesPerSecond)}`]),
    ...(reportsEvery > 1
      ? [`  It tells of finished reads only when about ${reportsEvery} are done, or all: no product can start early.`]
      : []),
    ...(compute === null ? ["Computing was not measured; name a model for that."] : computeLines(compute)),
    `Kept in ${shortened(file)}`,
  ].join("\n");
}

function computeLines({ modelName, threads, shape, model, engine }: MeasuredCompute): string[] {
  const sum = (of: (layer: (typeof model.layers)[number]) => number) =>
    model.layers.reduce((total, layer) => total + of(layer), 0);
  const k = shape.expertsUsed;
  const product = (stage: number) =>
    sum(({ products }) => k * (products[stage].msPerExpert + products[stage].msPerUse));
  const names = model.layers[0].products.length === 2 ? ["gate and up", "down"] : ["gate", "up", "down"];
  return [
    `Computing with ${modelName}, ${threads} threads, a decode step:`,
    alignColumns([
      ["all", formatMs(computeMsOf(model, shape, 1))],
      ["before routers", formatMs(sum(({ beforeRouter }) => beforeRouter.ms + beforeRouter.msPerToken)), "attention"],
      ...names.map((name, stage) => [name, formatMs(product(stage)), "products with expert weights"]),
      ["outside layers", formatMs(model.outside.ms + model.outside.msPerToken), "embedding, output"],
      ["a stop", `${(1000 * engine.msPerStop).toFixed(0)} us`, "at each router, and at products that wait"],
      ["a handover", `${(1000 * engine.msPerHandover).toFixed(0)} us`, "of reads, of the model's thread"],
      ["a read", `${(1000 * engine.msPerRequest).toFixed(0)} us`, "besides, for each 1 MiB or less"],
    ]),
  ];
}

function shortened(file: string): string {
  const home = os.homedir();
  return file.startsWith(`${home}/`) ? `~${file.slice(home.length)}` : file;
}
