/**
 * The convention `layer/miss`: one cache over all layers as a runtime has it. Layer by layer, one look-up per distinct expert
 * of a forward pass; hits are touched before the first miss is inserted; what the pass needs in this layer is not evicted;
 * first uses are misses; sizes are bytes. One size at a time, because caches in bytes do not contain each other.
 */
import type { ExpertSequence, RoutingShape, SampleRange } from "./expert-sequence.ts";
import { type ExpertHeaps, makeHeaps, settle, sink } from "./priority-heap.ts";
import type { PriorityKeys } from "./priority-keys.ts";
import type { MicroBatches } from "./report-data.ts";

/**
 * Fills `sequence` with batches instead of tokens: for each forward pass the distinct experts of each layer from `from` up to
 * `to`, in order of first use. Ids are (layer - from) * E + expert.
 */
export function readBatches(
  sequence: ExpertSequence,
  { sample, begin, end }: SampleRange,
  { layers, experts: perLayer, expertsUsed }: RoutingShape,
  { from, to }: { readonly from: number; readonly to: number },
  microBatches: MicroBatches,
  batchOf: Int32Array,
): void {
  const { ids, starts } = sequence;
  const { experts, batches } = sample;
  let count = 0;
  let batch = 0;
  batchOf.fill(-1);
  for (let t = begin; t < end; ) {
    let next = t + 1;
    if (microBatches === "recorded") while (next < end && batches[next] === batches[t]) next++;
    for (let layer = from; layer < to; layer++, batch++) {
      starts[batch] = count;
      for (let token = t; token < next; token++) {
        const row = (token * layers + layer) * expertsUsed;
        for (let slot = row; slot < row + expertsUsed; slot++) {
          const expert = experts[slot];
          if (expert >= perLayer) break;
          if (batchOf[expert] === batch) continue;
          batchOf[expert] = batch;
          ids[count++] = (layer - from) * perLayer + expert;
        }
      }
    }
    t = next;
  }
  starts[batch] = count;
  sequence.tokens = batch;
}

export interface RuntimeScratch extends ExpertHeaps {
  /** [experts] Batch that used the expert last; -1: none yet. */
  readonly usedBy: Int32Array;
  readonly setAside: number[];
}

export function makeRuntimeScratch(experts: number): RuntimeScratch {
  return { ...makeHeaps(experts, experts), usedBy: new Int32Array(experts), setAside: [] };
}

/**
 * Hits of one sample.
 * @param keys undefined: LRU
 * @param bytesOf size by id
 */
export function runtimeHits(
  { experts, tokens, ids, starts }: ExpertSequence,
  keys: PriorityKeys | undefined,
  capacityBytes: number,
  bytesOf: Float64Array,
  scratch: RuntimeScratch,
): number {
  const { items, place, key, usedBy, setAside } = scratch;
  place.fill(-1, 0, experts);
  usedBy.fill(-1, 0, experts);
  let size = 0;
  let bytes = 0;
  let hits = 0;
  let clock = 0;
  for (let batch = 0; batch < tokens; batch++) {
    const begin = starts[batch];
    const end = starts[batch + 1];
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      usedBy[expert] = batch;
      if (place[expert] < 0) continue;
      hits++;
      key[expert] = keys === undefined ? clock++ : keys.keyAt[i];
      settle(scratch, 0, size, place[expert], expert);
    }
    for (let i = begin; i < end; i++) {
      const expert = ids[i];
      if (place[expert] >= 0) continue;
      key[expert] = keys === undefined ? clock++ : keys.keyAt[i];
      while (size > 0 && bytes + bytesOf[expert] > capacityBytes) {
        const least = items[0];
        place[least] = -1;
        size--;
        if (size > 0) sink(scratch, 0, size, 0, items[size]);
        if (usedBy[least] === batch) setAside.push(least);
        else bytes -= bytesOf[least];
      }
      if (bytes + bytesOf[expert] > capacityBytes) continue;
      bytes += bytesOf[expert];
      settle(scratch, 0, size + 1, size, expert);
      size++;
    }
    for (const expert of setAside) {
      settle(scratch, 0, size + 1, size, expert);
      size++;
    }
    setAside.length = 0;
    if (keys === undefined || keys.ahead === 0 || batch + keys.ahead >= tokens) continue;
    for (let i = starts[batch + keys.ahead], stop = starts[batch + keys.ahead + 1]; i < stop; i++) {
      const expert = ids[i];
      if (usedBy[expert] < 0) continue;
      key[expert] += keys.step;
      if (place[expert] >= 0) sink(scratch, 0, size, place[expert], expert);
    }
  }
  return hits;
}
