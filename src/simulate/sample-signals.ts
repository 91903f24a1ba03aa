/**
 * What policies are told of a sample that a trace alone does not hold: computed once per sample from the traced model's own
 * weights, in shared memory, and read by all replays on all threads. Where those weights come from is the caller's business.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { EmbeddingSource } from "../cache/embedding-source.ts";
import type { PolicyNeeds } from "../cache/policy.ts";
import type { RouterWeights } from "../gguf/router-tensors.ts";
import type { TraceSample } from "../trace/trace.ts";
import { RecordedNextGate } from "./recorded-next-gate.ts";

/** Weights of the traced model, for policies that need what is computed from them. */
export interface TracedWeights {
  /** @default none: policies that need embedding rows are refused */
  readonly embeddings?: EmbeddingSource | undefined;
  /** @default none: policies that need the next layer's gate are refused */
  readonly routers?: RouterWeights | undefined;
}

export interface SampleSignals {
  /** `[tokens][embeddingWidth]` */
  readonly embeddings: Float32Array | undefined;
  readonly embeddingWidth: number;
  /** `[tokens][layers - 1][experts]`: what the router of layer + 1 says to the state in a layer. */
  readonly nextGate: Float32Array | undefined;
}

/** A layer of 512 tokens of a large model takes about this long; in between other work of the thread gets its turn. */
const TURN_MS = 100;

export class SignalReader {
  readonly #embeddings: EmbeddingSource | undefined;
  readonly #nextGate: RecordedNextGate | undefined;
  readonly #routers: RouterWeights | undefined;
  #turnStart = performance.now();

  /** What of `needs` the weights can serve is read, nothing else. */
  constructor({ embeddings, routers }: TracedWeights, needs: Pick<PolicyNeeds, "embeddings" | "nextGate">) {
    this.#embeddings = needs.embeddings ? embeddings : undefined;
    this.#routers = needs.nextGate ? routers : undefined;
    this.#nextGate = this.#routers === undefined ? undefined : new RecordedNextGate(this.#routers);
  }

  async of(sample: TraceSample, signal?: AbortSignal): Promise<SampleSignals> {
    return {
      embeddings: this.#rows(sample),
      embeddingWidth: this.#embeddings?.width ?? 0,
      nextGate: await this.#scores(sample, signal),
    };
  }

  #rows({ tokens, length }: TraceSample): Float32Array | undefined {
    if (this.#embeddings === undefined || tokens === undefined) return undefined;
    const rows = sharedFloats(length * this.#embeddings.width);
    this.#embeddings.rows(tokens, rows);
    return rows;
  }

  async #scores(sample: TraceSample, signal: AbortSignal | undefined): Promise<Float32Array | undefined> {
    const gate = this.#nextGate;
    if (gate === undefined || this.#routers === undefined || sample.hidden === undefined) return undefined;
    const scores = sharedFloats(sample.length * gate.predicted * this.#routers.experts);
    for (let layer = 0; layer < gate.predicted; layer++) {
      gate.layer(sample, layer, scores);
      if (performance.now() - this.#turnStart < TURN_MS) continue;
      await nextTurn();
      this.#turnStart = performance.now();
      signal?.throwIfAborted();
    }
    return scores;
  }
}

/** Memory that threads share instead of copying. */
export function sharedFloats(values: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(values * Float32Array.BYTES_PER_ELEMENT));
}
