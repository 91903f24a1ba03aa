/**
 * Where a training run stands, as one safetensors file: gates, Adam's averages, and the few numbers beside them. Written
 * atomically, so that there is always a whole one. What is trained and on what, it only recognises by a fingerprint.
 */
import { readSafetensors, writeSafetensors } from "../../adapter/safetensors.ts";
import { TuneError } from "../errors.ts";
import type { AdamWState } from "./adamw.ts";
import type { Gates } from "./layered-model.ts";

export interface TrainingState {
  /** Steps done, skipped ones included. Which data comes next follows from it. */
  step: number;
  skipped: number;
  readonly gates: readonly Float32Array[];
  readonly adamw: AdamWState;
  /** lambdaKl, and the sum and number of what it will next be adapted by. */
  trustWeight: number;
  trustSum: number;
  trustSteps: number;
}

/** In the file's metadata; a run with another fingerprint has another model, other data or other settings. */
const FINGERPRINT = "fingerprint";
const NUMBERS = ["step", "skipped", "updates", "trustWeight", "trustSum", "trustSteps"] as const;

/** @throws GgufError `unwritable` */
export async function writeCheckpoint(path: string, state: TrainingState, fingerprint: string): Promise<void> {
  const numbers = { ...state, updates: state.adamw.updates };
  const tensors = (kind: string, arrays: Gates) =>
    arrays.map((values, layer) => ({ name: `${kind}.${layer}`, shape: [values.length], values }));
  await writeSafetensors(
    path,
    { [FINGERPRINT]: fingerprint, ...Object.fromEntries(NUMBERS.map((name) => [name, String(numbers[name])])) },
    [
      ...tensors("gate", state.gates),
      ...tensors("mean", state.adamw.means),
      ...tensors("variance", state.adamw.variances),
    ],
  );
}

/** @throws TuneError `bad-checkpoint`, AdapterError for a damaged file */
export function readCheckpoint(path: string, like: Gates, fingerprint: string): TrainingState {
  const { metadata, tensors } = readSafetensors(path);
  const bad = (sentence: string) =>
    new TuneError("bad-checkpoint", `${path} ${sentence}. Start again without it, or give it another name.`);
  if (metadata[FINGERPRINT] !== fingerprint)
    throw bad("is a checkpoint of a run with another model, other texts or other settings");
  const number = (name: (typeof NUMBERS)[number]): number => {
    const value = Number(metadata[name]);
    if (!Number.isFinite(value)) throw bad(`has no ${name}`);
    return value;
  };
  const arrays = (kind: string) =>
    like.map(({ length }, layer) => {
      const values = tensors.get(`${kind}.${layer}`)?.values;
      if (values?.length !== length) throw bad(`has no ${kind} for layer ${layer}`);
      return values;
    });
  return {
    step: number("step"),
    skipped: number("skipped"),
    gates: arrays("gate"),
    adamw: { updates: number("updates"), means: arrays("mean"), variances: arrays("variance") },
    trustWeight: number("trustWeight"),
    trustSum: number("trustSum"),
    trustSteps: number("trustSteps"),
  };
}
