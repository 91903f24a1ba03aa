/**
 * Which samples of a trace train a predictor and which only test it. Whole samples go to one side, so that no token of a
 * tested prompt was ever trained on. The choice depends on the seed and the number of samples alone.
 */
import { PredictorError } from "./errors.ts";
import { Randomness } from "./randomness.ts";

export interface SampleSplit {
  /** Places of samples in the trace, ascending. */
  readonly training: readonly number[];
  readonly heldOut: readonly number[];
}

export interface SplitOptions {
  readonly seed: number;
  /** Tokens of all samples together at most; samples are left out as they come, but never below two. */
  readonly maxTokens: number;
}

/** ProMoE's split is 9:1. */
const HELD_OUT_SHARE = 0.1;

/**
 * @param lengths tokens of each sample, in the order of the trace
 * @throws PredictorError `untrainable` for fewer than two samples
 */
export function splitSamples(lengths: readonly number[], { seed, maxTokens }: SplitOptions): SampleSplit {
  if (lengths.length < 2)
    throw new PredictorError(
      "untrainable",
      `A predictor is tested on prompts that it was not trained on, and the trace has ${lengths.length} sample${lengths.length === 1 ? "" : "s"}. Record at least two, better hundreds.`,
    );
  const order = new Randomness(seed).shuffle(Int32Array.from(lengths, (_, i) => i));
  let tokens = 0;
  let kept = 0;
  while (kept < order.length && (kept < 2 || tokens + lengths[order[kept]] <= maxTokens))
    tokens += lengths[order[kept++]];
  const heldOutCount = Math.max(1, Math.round(kept * HELD_OUT_SHARE));
  const ascending = (part: Int32Array) => [...part].sort((a, b) => a - b);
  return {
    heldOut: ascending(order.subarray(0, heldOutCount)),
    training: ascending(order.subarray(heldOutCount, kept)),
  };
}
