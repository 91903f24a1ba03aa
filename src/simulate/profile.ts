/**
 * What is kept of a machine after measuring it (`warmset calibrate`), and the choice of what of it fits a trace. Plain
 * data and arithmetic; measuring is in `calibrate/`, the file in `profile-file.ts`.
 */
import type { ModelShape } from "../cache/shape.ts";
import type { TracedModel } from "../trace/trace.ts";
import { type ComputeModel, computeByBytes, computeMsOf, type EngineCost } from "./compute-model.ts";
import { bestBytesPerSecond, type DiskModel, plainDisk } from "./disk-model.ts";
import type { MachineModel } from "./machine-model.ts";
import { shapeOf } from "./replay.ts";

export interface MachineProfile {
  readonly format: "warmset-profile";
  readonly schemaVersion: 1;
  /** The newest first; at most one for a model, and one without. */
  readonly calibrations: readonly Calibration[];
}

/** One run of `warmset calibrate`. */
export interface Calibration {
  /** ISO 8601. */
  readonly date: string;
  readonly warmset: string;
  /** Such as "AMD EPYC 7763, 2 cores". */
  readonly machine: string;
  readonly disk: MeasuredDisk;
  /** Null when no model was given. */
  readonly compute: MeasuredCompute | null;
}

export interface MeasuredDisk {
  /** Where was read. */
  readonly file: string;
  /** As the engine got it where a model was given, else as a probe found it. */
  readonly model: DiskModel;
  /** By itself, while nothing computed. */
  readonly probedBytesPerSecond: number;
}

export interface MeasuredCompute {
  readonly modelPath: string;
  readonly modelName: string;
  readonly shape: ModelShape;
  readonly denseBytes: number;
  readonly threads: number;
  /** A decode step's computing, ms; mean. */
  readonly msPerToken: number;
  /** Half of the steps lay within this share of the middle one: above 0.2 something else used the processor. */
  readonly spread: number;
  readonly model: ComputeModel;
  readonly engine: EngineCost;
  /** Tokens that were computed for it. */
  readonly decodeTokens: number;
  readonly promptTokens: number;
}

export const EMPTY_PROFILE: MachineProfile = { format: "warmset-profile", schemaVersion: 1, calibrations: [] };

/** The profile with a calibration added, in place of an older one of the same model. */
export function withCalibration(profile: MachineProfile, added: Calibration): MachineProfile {
  const others = profile.calibrations.filter(({ compute }) => compute?.modelPath !== added.compute?.modelPath);
  return { ...profile, calibrations: [added, ...others] };
}

/** Where figures of a machine come from, for people. */
export interface MachineSource {
  readonly kind: "given" | "calibrated" | "scaled" | "assumed";
  /** One sentence. */
  readonly text: string;
  /** Of the calibration that it is from; null when from none. */
  readonly date: string | null;
}

export interface ChosenMachine {
  readonly machine: MachineModel;
  readonly disk: MachineSource;
  readonly compute: MachineSource;
}

export interface MachineWishes {
  /** Instead of what was measured. */
  readonly diskBytesPerSecond?: number;
  /** Instead of what was measured: of one token with everything in memory. */
  readonly computeMsPerToken?: number;
}

/** A middling NVMe drive. */
const ASSUMED_BYTES_PER_SECOND = 2e9;
/** What a few cores take from memory while they multiply with quantised weights. */
const ASSUMED_WEIGHT_BYTES_PER_MS = 20e6;
/** Measured with the demo model inflated to 6.9 GB, two cores, pages of 2 MiB (`warmset calibrate`). */
const ASSUMED_ENGINE: EngineCost = { msPerStop: 0.05, msPerHandover: 0.4, msPerRequest: 0.02 };

/**
 * A machine for a traced model: what is wished, else what was measured with a model of the same shape, else what was
 * measured with another one in proportion to the weights that a token goes through, else a stated guess.
 */
export function machineFor(model: TracedModel, profile: MachineProfile, wishes: MachineWishes = {}): ChosenMachine {
  const shape = shapeOf(model);
  const { calibrations } = profile;
  const same = calibrations.find(({ compute }) => compute !== null && equalShapes(compute.shape, shape));
  const withCompute = same ?? calibrations.find(({ compute }) => compute !== null);
  const { compute, engine, source } = chooseCompute(model, shape, withCompute, same !== undefined, wishes);
  const disk = chooseDisk(same ?? calibrations[0], wishes);
  return { machine: { disk: disk.model, compute, engine }, disk: disk.source, compute: source };
}

function chooseDisk(from: Calibration | undefined, { diskBytesPerSecond }: MachineWishes) {
  if (diskBytesPerSecond !== undefined) {
    const source = sourceOf("given", `Drive: ${gigabytes(diskBytesPerSecond)}, as given.`);
    return { model: plainDisk({ bytesPerSecond: diskBytesPerSecond }), source };
  }
  if (from === undefined) {
    const text = `Drive: ${gigabytes(ASSUMED_BYTES_PER_SECOND)}, a guess; measure it: warmset calibrate MODEL`;
    return { model: plainDisk({ bytesPerSecond: ASSUMED_BYTES_PER_SECOND }), source: sourceOf("assumed", text) };
  }
  const { disk, date } = from;
  const text = `Drive: up to ${gigabytes(bestBytesPerSecond(disk.model))}, measured ${day(date)} on ${disk.file}.`;
  return { model: disk.model, source: sourceOf("calibrated", text, date) };
}

function chooseCompute(
  model: TracedModel,
  shape: ModelShape,
  from: Calibration | undefined,
  same: boolean,
  { computeMsPerToken }: MachineWishes,
): { compute: ComputeModel; engine: EngineCost; source: MachineSource } {
  const measured = from?.compute ?? undefined;
  const engine = measured?.engine ?? ASSUMED_ENGINE;
  const denseBytes = model.denseBytes ?? 0;
  const products = measured?.model.layers[0].products.length ?? 3;
  const weights = { shape, denseBytes, products };
  const counted = model.denseBytes === null ? "experts' bytes (the trace knows no others)" : "weights' bytes";
  if (computeMsPerToken !== undefined) {
    const compute = computeByBytes(weights, computeMsPerToken);
    return { compute, engine, source: sourceOf("given", `Computing: ${ms(computeMsPerToken)} a token, as given.`) };
  }
  if (from === undefined || measured === undefined) {
    const guess = weightBytesPerToken(shape, denseBytes) / ASSUMED_WEIGHT_BYTES_PER_MS;
    const text = `Computing: ${ms(guess)} a token, a guess from the ${counted}; measure it: warmset calibrate MODEL`;
    return { compute: computeByBytes(weights, guess), engine, source: sourceOf("assumed", text) };
  }
  const when = `measured ${day(from.date)} with ${measured.modelName}, ${measured.threads} threads`;
  if (same) {
    const text = `Computing: ${ms(computeMsOf(measured.model, shape, 1))} a token, ${when}.`;
    return { compute: measured.model, engine, source: sourceOf("calibrated", text, from.date) };
  }
  const bytes = weightBytesPerToken(shape, denseBytes);
  const scaled = (measured.msPerToken * bytes) / weightBytesPerToken(measured.shape, measured.denseBytes);
  const text = `Computing: ${ms(scaled)} a token, scaled by the ${counted} from what was ${when}.`;
  return { compute: computeByBytes(weights, scaled), engine, source: sourceOf("scaled", text, from.date) };
}

function weightBytesPerToken({ expertBytes, expertsUsed }: ModelShape, denseBytes: number): number {
  return expertBytes.reduce((sum, bytes) => sum + bytes * expertsUsed, denseBytes);
}

function equalShapes(a: ModelShape, b: ModelShape): boolean {
  return (
    a.layers === b.layers &&
    a.experts === b.experts &&
    a.expertsUsed === b.expertsUsed &&
    a.expertBytes.every((bytes, layer) => bytes === b.expertBytes[layer])
  );
}

function sourceOf(kind: MachineSource["kind"], text: string, date: string | null = null): MachineSource {
  return { kind, text, date };
}

const gigabytes = (bytesPerSecond: number) => `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`;
const ms = (value: number) => `${value.toFixed(1)} ms`;
const day = (date: string) => date.slice(0, 10);
