/** The run to come, for policies that know it: what each router stop of a replay will demand, in a replay's own order. */

import { FutureRecorder, type RecordedFuture } from "../policy/recorded-future.ts";
import type { TracedModel, TraceSample, TraceSource } from "../trace/trace.ts";
import type { ForwardPasses } from "./forward-passes.ts";
import { TracedStop } from "./traced-stop.ts";

/** Of one sample alone, for replays that start each sample cold. */
export function futureOfSample(model: TracedModel, sample: TraceSample, passes: ForwardPasses): RecordedFuture {
  const demands = new DemandRecorder(model, passes);
  demands.sample(sample);
  return demands.finish();
}

/** Of the whole trace, which is read once for it: 8 bytes for each expert that a stop demands. */
export async function futureOfTrace(
  source: TraceSource,
  passes: ForwardPasses,
  signal?: AbortSignal,
): Promise<RecordedFuture> {
  const demands = new DemandRecorder(source.description.model, passes);
  for (const part of source.parts)
    for await (const sample of source.samples(part.index)) {
      signal?.throwIfAborted();
      demands.sample(sample);
    }
  return demands.finish();
}

class DemandRecorder {
  readonly #passes: ForwardPasses;
  readonly #recorder = new FutureRecorder();
  readonly #stop: TracedStop;
  readonly #layers: number;
  readonly #experts: number;
  readonly #distinct: Int32Array;
  /** Per expert, the number of the stop at which it was last seen. */
  readonly #seenAt: Float64Array;
  #stops = 0;

  constructor(model: TracedModel, passes: ForwardPasses) {
    this.#passes = passes;
    this.#layers = model.moeBlocks.length;
    this.#experts = model.experts;
    this.#stop = new TracedStop(model, passes.microBatchTokens);
    this.#distinct = new Int32Array(model.experts);
    this.#seenAt = new Float64Array(model.experts);
  }

  sample(sample: TraceSample): void {
    this.#stop.open(sample);
    for (let from = 0; from < sample.length; ) {
      const to = this.#passes.end(sample, from);
      for (let layer = 0; layer < this.#layers; layer++) this.#record(layer, from, to);
      from = to;
    }
  }

  finish(): RecordedFuture {
    return this.#recorder.finish();
  }

  #record(layer: number, from: number, to: number): void {
    const stop = this.#stop;
    stop.at(layer, from, to);
    if (stop.tokens === 0) return;
    const stamp = ++this.#stops;
    let count = 0;
    for (let token = 0; token < stop.tokens; token++)
      for (let rank = 0; rank < stop.expertsUsed; rank++) {
        const expert = stop.expert(token, rank);
        if (this.#seenAt[expert] === stamp) continue;
        this.#seenAt[expert] = stamp;
        this.#distinct[count++] = layer * this.#experts + expert;
      }
    this.#recorder.stop(layer, this.#distinct, count);
  }
}
