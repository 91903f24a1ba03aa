/**
 * Measures this machine for the simulator: the drive, and with a model also what it computes. In a process of its own
 * with the engine's flags, because what else Node does would be measured too.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { describeMachine, warmsetVersion } from "../bench/machine.ts";
import { runBenchChild } from "../bench/run-child.ts";
import { smallestBudgetBytes } from "../cache/layer-budget.ts";
import { automaticBudget } from "../engine/byte-size.ts";
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import { openGguf, readMoeLayout, toModelShape } from "../gguf/index.ts";
import { bestBytesPerSecond, type DiskModel } from "../simulate/disk-model.ts";
import type { Calibration, MeasuredCompute } from "../simulate/profile.ts";
import type { ComputeProbeJob } from "./compute-probe.ts";
import { CalibrationError } from "./errors.ts";
import { ProbeFile } from "./probe-file.ts";

export interface CalibrateOptions {
  /** Its drive is measured, and computing with it. @default only the drive that `folder` lies on */
  readonly modelPath?: string;
  /** Where a file is written and removed again when there is no model. @default the user's cache folder */
  readonly folder: string;
  /** @default as many as the process may use */
  readonly threads?: number;
  /** Experts held while computing is measured. @default half of them, less where memory is short */
  readonly expertBytes?: number;
  readonly signal?: AbortSignal;
}

export interface CalibrationJob {
  readonly disk: { readonly file: string; readonly sliceBytes: number };
  readonly compute: ComputeProbeJob | undefined;
}

export interface CalibrationFigures {
  /** By itself, and as the engine got it; the same without a model. */
  readonly disk: DiskModel;
  readonly fitted: DiskModel;
  readonly compute: MeasuredCompute | null;
}

const TEXT = fileURLToPath(new URL("../../models/text/prose.txt", import.meta.url));
/** What reads lie side by side when there is no model: a matrix of 4,096 x 2,048 weights in Q8_0. */
const SLICE_BYTES = 8.5 * 2 ** 20;
/** Share of free memory that measuring may take for experts. */
const MEMORY_SHARE = 0.6;

/** @throws CalibrationError; GgufError, UnsupportedModelError for the model */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const { modelPath, signal } = options;
  using written = modelPath === undefined ? await ProbeFile.write(options.folder, signal) : undefined;
  const job = modelPath === undefined ? diskJob(written!.path) : modelJob(modelPath, options);
  const outcome = await runBenchChild("../calibrate/calibrate-process.js", job, { nodeFlags: HOST_NODE_FLAGS, signal });
  if (outcome.status === "failed") throw new CalibrationError(outcome.reason);
  const { disk, fitted, compute } = outcome.result as CalibrationFigures;
  const { cpu, cores } = describeMachine();
  return {
    date: new Date().toISOString(),
    warmset: warmsetVersion(),
    machine: `${cpu}, ${cores} cores`,
    disk: { file: modelPath ?? options.folder, model: fitted, probedBytesPerSecond: bestBytesPerSecond(disk) },
    compute,
  };
}

function diskJob(file: string): CalibrationJob {
  return { disk: { file, sliceBytes: SLICE_BYTES }, compute: undefined };
}

function modelJob(modelPath: string, { threads, expertBytes }: CalibrateOptions): CalibrationJob {
  const gguf = openGguf(modelPath);
  const layout = readMoeLayout(gguf);
  const available = automaticBudget() * MEMORY_SHARE;
  const half = Math.min(layout.expertBytesTotal / 2, Math.max(0, available - layout.denseBytes));
  const smallest = smallestBudgetBytes(toModelShape(layout), 1);
  return {
    disk: { file: gguf.shards[0].path, sliceBytes: layout.moeLayers[0].slices[0].strideBytes },
    compute: {
      modelPath,
      expertBytes: Math.floor(expertBytes ?? Math.max(smallest, half)),
      threads: threads ?? availableParallelism(),
      textFile: TEXT,
    },
  };
}
