/**
 * Which experts consecutive tokens of one sample used, as one flat list: of one layer (ids are experts), or of all layers
 * (ids are layer * E + expert). The metrics work on nothing else. The arrays are reused from sample to sample.
 */
import { NO_ID, type TraceSample } from "../trace/trace.ts";

export interface ExpertSequence {
  /** How many different ids there can be. */
  readonly experts: number;
  /** Tokens, or batches of tokens: what is looked up at once. */
  tokens: number;
  /** [starts[tokens]] Best first; no id twice in a token. */
  readonly ids: Uint16Array;
  /** [tokens + 1] Token t used ids[starts[t]] up to ids[starts[t + 1]]. */
  readonly starts: Int32Array;
}

export function makeSequence(experts: number, mostTokens: number, mostPerToken: number): ExpertSequence {
  return {
    experts,
    tokens: 0,
    ids: new Uint16Array(mostTokens * mostPerToken),
    starts: new Int32Array(mostTokens + 1),
  };
}

/** Tokens `begin` to `end` of a sample. */
export interface SampleRange {
  readonly sample: TraceSample;
  readonly begin: number;
  readonly end: number;
}

/** A model's shape as far as the routing goes. */
export interface RoutingShape {
  /** L, MoE layers. */
  readonly layers: number;
  /** E */
  readonly experts: number;
  /** k, at most. */
  readonly expertsUsed: number;
}

/** Fills `sequence` with what one layer used. */
export function readLayer(
  sequence: ExpertSequence,
  { sample, begin, end }: SampleRange,
  layer: number,
  { layers, expertsUsed }: RoutingShape,
): void {
  const { ids, starts } = sequence;
  const { experts } = sample;
  const row = layers * expertsUsed;
  let count = 0;
  let from = begin * row + layer * expertsUsed;
  for (let t = begin; t < end; t++, from += row) {
    starts[t - begin] = count;
    for (let slot = 0; slot < expertsUsed; slot++) {
      const expert = experts[from + slot];
      if (expert === NO_ID) break;
      ids[count++] = expert;
    }
  }
  starts[end - begin] = count;
  sequence.tokens = end - begin;
}

/** Fills `sequence` with what all layers used, layer after layer within a token. */
export function readAllLayers(
  sequence: ExpertSequence,
  { sample, begin, end }: SampleRange,
  { layers, experts: perLayer, expertsUsed }: RoutingShape,
): void {
  const { ids, starts } = sequence;
  const { experts } = sample;
  let count = 0;
  let from = begin * layers * expertsUsed;
  for (let t = begin; t < end; t++) {
    starts[t - begin] = count;
    for (let layer = 0; layer < layers; layer++, from += expertsUsed) {
      for (let slot = 0; slot < expertsUsed; slot++) {
        const expert = experts[from + slot];
        if (expert === NO_ID) break;
        ids[count++] = layer * perLayer + expert;
      }
    }
  }
  starts[end - begin] = count;
  sequence.tokens = end - begin;
}
