/**
 * What heads are trained from: the routers' inputs of some layers and the decisions of those they predict, token by
 * token, read from a trace into memory that worker threads share. A trace of a large model does not fit at once, so it
 * is read once for each group of layers.
 */
import { NO_ID, type TraceDescription, type TraceSample, type TraceSource } from "../trace/trace.ts";
import type { SampleSplit } from "./sample-split.ts";

/** One layer's columns; rows are tokens. What a group does not need is undefined. */
export interface LayerColumns {
  /** `[tokens][hiddenSize]` */
  readonly hidden: Float32Array<SharedArrayBuffer> | undefined;
  /** `[tokens][experts]`: the distribution to imitate, rows summing to 1. */
  readonly targets: Float32Array<SharedArrayBuffer> | undefined;
  /** `[tokens][expertsUsed]`, best first; NO_ID where fewer or none were chosen. */
  readonly chosen: Uint16Array<SharedArrayBuffer>;
}

/** Plain data on shared buffers: posting it to a worker copies nothing large. */
export interface TrainingSet {
  readonly hiddenSize: number;
  readonly experts: number;
  readonly expertsUsed: number;
  /** By MoE layer; undefined for layers that no head of the group touches. */
  readonly layers: readonly (LayerColumns | undefined)[];
  /** Rows to train on, and rows to test on. */
  readonly training: Int32Array<SharedArrayBuffer>;
  readonly heldOut: Int32Array<SharedArrayBuffer>;
  /** By row: the row of the token before it in its sample, or -1. */
  readonly before: Int32Array<SharedArrayBuffer>;
}

/** Where the targets come from, in words for the user; see `targetsOf`. */
export type TargetSource = "probabilities" | "weights" | "choices";

/**
 * The gate's distribution where ranking it gives the chosen experts; the chosen ones' weights, or just who they were,
 * where it was not recorded or where a bias or groups decide apart from it (DeepSeek's routers).
 */
export function targetsOf({ columns, model }: TraceDescription): TargetSource {
  if (columns.probs && !/bias|groups/.test(model.scoring ?? "")) return "probabilities";
  return columns.weights ? "weights" : "choices";
}

/** Which layers are read for their inputs: `from` up to `to`, without it; and how far they predict. */
export interface LayerGroup {
  readonly from: number;
  readonly to: number;
  readonly nearest: number;
  readonly farthest: number;
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the samples read so far. */
  readonly onProgress?: ((samples: number) => void) | undefined;
}

/** Tokens of each sample, in the order of the trace. */
export async function sampleLengths(source: TraceSource, signal?: AbortSignal): Promise<number[]> {
  const lengths: number[] = [];
  for (const { index } of source.parts)
    for await (const { length } of source.samples(index)) {
      signal?.throwIfAborted();
      lengths.push(length);
    }
  return lengths;
}

/** @throws TraceError, also when the trace has no router inputs */
export async function readTrainingSet(
  source: TraceSource,
  lengths: readonly number[],
  split: SampleSplit,
  group: LayerGroup,
  { signal, onProgress }: ReadOptions = {},
): Promise<TrainingSet> {
  const { model, columns } = source.description;
  const layers = model.moeBlocks.length;
  const targets = targetsOf(source.description);
  const wanted = { hidden: true, probs: targets === "probabilities", weights: targets === "weights" };
  const rowsOf = (samples: readonly number[]) => samples.reduce((sum, sample) => sum + lengths[sample], 0);
  const rows = rowsOf(split.training) + rowsOf(split.heldOut);
  const set: TrainingSet = {
    hiddenSize: columns.hiddenWidth,
    experts: model.experts,
    expertsUsed: model.expertsUsed,
    layers: Array.from({ length: layers }, (_, layer) => {
      const input = layer >= group.from && layer < group.to;
      const target = layer >= group.from + group.nearest && layer < group.to + group.farthest;
      if (!input && !target) return undefined;
      return {
        hidden: input ? new Float32Array(new SharedArrayBuffer(4 * rows * columns.hiddenWidth)) : undefined,
        targets: target ? new Float32Array(new SharedArrayBuffer(4 * rows * model.experts)) : undefined,
        chosen: new Uint16Array(new SharedArrayBuffer(2 * rows * model.expertsUsed)),
      };
    }),
    training: new Int32Array(new SharedArrayBuffer(4 * rowsOf(split.training))),
    heldOut: new Int32Array(new SharedArrayBuffer(4 * rowsOf(split.heldOut))),
    before: new Int32Array(new SharedArrayBuffer(4 * rows)),
  };
  const training = new Set(split.training);
  const heldOut = new Set(split.heldOut);
  const filled = { training: 0, heldOut: 0, rows: 0 };
  let place = 0;
  for (const { index } of source.parts)
    for await (const sample of source.samples(index, wanted)) {
      signal?.throwIfAborted();
      const side = training.has(place) ? "training" : heldOut.has(place) ? "heldOut" : undefined;
      place++;
      onProgress?.(place);
      if (side === undefined) continue;
      copySample(sample, set, filled.rows);
      for (let i = 0; i < sample.length; i++) {
        set.before[filled.rows] = i === 0 ? -1 : filled.rows - 1;
        set[side][filled[side]++] = filled.rows++;
      }
    }
  return set;
}

/** Bytes of a set of one group for so many tokens. */
export function trainingSetBytes(description: TraceDescription, tokens: number, group: LayerGroup): number {
  const { experts, expertsUsed } = description.model;
  const inputs = group.to - group.from;
  const targets = inputs + group.farthest - group.nearest;
  const { hiddenWidth } = description.columns;
  return tokens * (4 * inputs * hiddenWidth + 4 * targets * experts + 2 * (inputs + targets) * expertsUsed + 8);
}

function copySample(sample: TraceSample, set: TrainingSet, firstRow: number): void {
  const { hiddenSize, experts, expertsUsed, layers } = set;
  const { length, probs, weights } = sample;
  const hidden = sample.hidden as Float32Array;
  for (const [layer, columns] of layers.entries()) {
    if (columns === undefined) continue;
    for (let token = 0; token < length; token++) {
      const at = token * layers.length + layer;
      const row = firstRow + token;
      const chosen = sample.experts.subarray(at * expertsUsed, (at + 1) * expertsUsed);
      columns.chosen.set(chosen, row * expertsUsed);
      columns.hidden?.set(hidden.subarray(at * hiddenSize, (at + 1) * hiddenSize), row * hiddenSize);
      if (columns.targets === undefined) continue;
      if (probs !== undefined) columns.targets.set(probs.subarray(at * experts, (at + 1) * experts), row * experts);
      else spread(chosen, weights?.subarray(at * expertsUsed, (at + 1) * expertsUsed), columns.targets, row * experts);
    }
  }
}

/** The chosen experts' weights as a distribution; equal shares without weights, or where they are all 0. */
function spread(chosen: Uint16Array, weights: Float32Array | undefined, targets: Float32Array, offset: number): void {
  let count = 0;
  let sum = 0;
  for (; count < chosen.length && chosen[count] !== NO_ID; count++) sum += weights?.[count] ?? 0;
  for (let rank = 0; rank < count; rank++)
    targets[offset + chosen[rank]] = weights !== undefined && sum > 0 ? weights[rank] / sum : 1 / count;
}
