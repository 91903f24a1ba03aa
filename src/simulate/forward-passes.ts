/**
 * Cuts a sample into the forward passes in which the engine would compute it: a prompt in micro-batches, then token by
 * token; or just as it was recorded. Pure arithmetic on positions.
 */
import type { Phase } from "../cache/policy.ts";
import { PREFILL, type TraceSample } from "../trace/trace.ts";

/**
 * "decode": every token is a step of its own, as when text is generated, whatever the passes were in which it was recorded
 * (a trace of given text is recorded in batches). "recorded": the recorded passes and phases.
 */
export type PassOrder = "decode" | "recorded";

export interface PassOptions {
  /** @default "decode" */
  readonly as?: PassOrder;
  /** Tokens at the start of each sample that are a prompt, computed in micro-batches; only with "decode". @default 0 */
  readonly promptTokens?: number;
  /** Tokens of a micro-batch at most. @default 512 with "decode", as recorded with "recorded" */
  readonly microBatchTokens?: number;
}

const ENGINE_MICRO_BATCH = 512;

export class ForwardPasses {
  /** Largest pass that can come. */
  readonly microBatchTokens: number;
  readonly #as: PassOrder;
  readonly #promptTokens: number;

  /** `sampleLength`: tokens of a sample at most. `fitting`: the largest micro-batch that the cache allows, see `cache/layer-budget.ts`. */
  constructor(options: PassOptions, sampleLength: number, fitting: number) {
    this.#as = options.as ?? "decode";
    this.#promptTokens = this.#as === "decode" ? (options.promptTokens ?? 0) : 0;
    const wanted = options.microBatchTokens ?? (this.#as === "decode" ? ENGINE_MICRO_BATCH : sampleLength);
    const longest = this.#as === "decode" ? Math.max(1, this.#promptTokens) : sampleLength;
    this.microBatchTokens = Math.max(1, Math.min(wanted, fitting, longest));
  }

  /** The position after the pass that begins at `from`. */
  end(sample: TraceSample, from: number): number {
    if (this.#as === "decode")
      return from < this.#promptTokens
        ? Math.min(from + this.microBatchTokens, this.#promptTokens, sample.length)
        : from + 1;
    const { batches } = sample;
    const last = Math.min(from + this.microBatchTokens, sample.length);
    let to = from + 1;
    while (to < last && batches[to] === batches[from]) to++;
    return to;
  }

  /** As the engine has it: a prompt of one token is decoded. */
  phase(sample: TraceSample, from: number): Phase {
    if (this.#as === "decode") return from < this.#promptTokens && this.#promptTokens > 1 ? "prefill" : "decode";
    return sample.phases[from] === PREFILL ? "prefill" : "decode";
  }
}
