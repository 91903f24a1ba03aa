/**
 * Where a training run stands, as one safetensors file: gates, Adam's averages, and the few numbers beside them. Written
 * atomically, so that there is always a whole one. What is trained and on what, it only recognises by a fingerprint.
 */
import { readSafetensors, writeSafetensors } from "../../adapter/safetensors.ts";
import { TuneError } from "../errors.ts";
import type { AdamWState } from "./adamw.ts";
import type { BudgetTrack } from "./budget-track.ts";
import type { Gates } from "./layered-model.ts";

export interface TrainingState {
  /** Steps done, skipped ones included. Which data comes next follows from it. */
  step: number;
  skipped: number;
  readonly gates: readonly Float32Array[];
  readonly adamw: AdamWState;
  /** lambdaKl. */
  trustWeight: number;
  /** What the weights of the other terms are multiplied with. */
  localityScale: number;
  /** By layer, `[experts]`: share of recent tokens that chose each. */
  readonly popularity: readonly Float32Array[];
  readonly trust: BudgetTrack;
  readonly divergence: BudgetTrack;
}

/** In the file's metadata; a run with another fingerprint has another model, other data or other settings. */
const FINGERPRINT = "fingerprint";
const NUMBERS = [
  "step",
  "skipped",
  "updates",
  "trustWeight",
  "localityScale",
  "trustSoon",
  "trustLong",
  "divergenceSoon",
  "divergenceLong",
] as const;

/** @throws GgufError `unwritable` */
export async function writeCheckpoint(path: string, state: TrainingState, fingerprint: string): Promise<void> {
  const { step, skipped, adamw, trustWeight, localityScale, trust, divergence } = state;
  const numbers: Record<(typeof NUMBERS)[number], number> = {
    ...{ step, skipped, updates: adamw.updates, trustWeight, localityScale },
    ...{ trustSoon: trust.soon, trustLong: trust.long },
    ...{ divergenceSoon: divergence.soon, divergenceLong: divergence.long },
  };
  const tensors = (kind: string, arrays: Gates) =>
    arrays.map((values, layer) => ({ name: `${kind}.${layer}`, shape: [values.length], values }));
  await writeSafetensors(
    path,
    { [FINGERPRINT]: fingerprint, ...Object.fromEntries(NUMBERS.map((name) => [name, String(numbers[name])])) },
    [
      ...tensors("gate", state.gates),
      ...tensors("popularity", state.popularity),
      ...tensors("mean", state.adamw.means),
      ...tensors("variance", state.adamw.variances),
    ],
  );
}

/** @throws TuneError `bad-checkpoint`, AdapterError for a damaged file */
export function readCheckpoint(path: string, like: Gates, experts: number, fingerprint: string): TrainingState {
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
  const arrays = (kind: string, lengths = like.map(({ length }) => length)) =>
    lengths.map((length, layer) => {
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
    localityScale: number("localityScale"),
    popularity: arrays(
      "popularity",
      like.map(() => experts),
    ),
    trust: { soon: number("trustSoon"), long: number("trustLong") },
    divergence: { soon: number("divergenceSoon"), long: number("divergenceLong") },
  };
}
