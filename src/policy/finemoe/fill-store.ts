/**
 * A store of expert maps out of a recorded trace, for `finemoe` to begin with: what serving would have stored, offline. It
 * records only; nothing is searched, and which prompts the trace holds (none that are tested) is up to who recorded it.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { EmbeddingSource } from "../../cache/embedding-source.ts";
import { ExpertMapStore, type MapEncoding, MapRecorder, NO_TOKEN, type RecordMode } from "../../maps/index.ts";
import { NO_ID, PREFILL, type TraceSample, type TraceSource } from "../../trace/trace.ts";

export interface FillStoreOptions {
  /** Rows at most. @default 1000 */
  readonly capacity?: number;
  /** @default "f32" */
  readonly encoding?: MapEncoding;
  /** What of a forward pass of several tokens becomes a row. @default "token" */
  readonly record?: RecordMode;
  /** d of the policy that is to use it: how much embeddings count when the store is full. @default 6 */
  readonly distance?: number;
  /** The traced model's table. @default none: the store knows token ids only */
  readonly embeddings?: EmbeddingSource | undefined;
  readonly signal?: AbortSignal;
  /** Told after each sample. */
  readonly onProgress?: (tokensDone: number, tokens: number) => void;
}

export interface FilledStore {
  readonly store: ExpertMapStore;
  readonly samples: number;
  readonly tokens: number;
  /** Maps that were offered: stored, stored and replaced since, or refused. */
  readonly maps: number;
}

/** @throws TraceError, also when the trace has neither probabilities nor weights; the signal's reason */
export async function fillStore(source: TraceSource, options: FillStoreOptions = {}): Promise<FilledStore> {
  const { embeddings, signal, onProgress, record = "token", distance = 6, capacity, encoding } = options;
  const { model, columns } = source.description;
  const layers = model.moeBlocks.length;
  const shape = { layers, experts: model.experts, hiddenSize: columns.tokens ? (embeddings?.width ?? 0) : 0 };
  const store = new ExpertMapStore({
    ...{ shape, prefetchDistance: Math.min(distance, layers), modelHash: model.hash ?? undefined },
    ...(capacity === undefined ? {} : { capacity }),
    ...(encoding === undefined ? {} : { encoding }),
  });
  let maps = 0;
  const recorder = new MapRecorder({
    ...{ shape, mode: record },
    onMap: (embedding, map, tokenId) => {
      maps++;
      store.insert(embedding, map, tokenId);
    },
  });
  const batches = new SampleBatches(
    model.experts,
    layers,
    model.expertsUsed,
    shape.hiddenSize > 0 ? embeddings : undefined,
  );
  const wanted = { probs: columns.probs, weights: !columns.probs, tokens: columns.tokens };
  const all = source.parts.reduce((sum, part) => sum + part.tokens, 0);
  let samples = 0;
  let tokens = 0;
  for (const part of source.parts)
    for await (const sample of source.samples(part.index, wanted)) {
      signal?.throwIfAborted();
      batches.record(sample, recorder);
      samples++;
      tokens += sample.length;
      onProgress?.(tokens, all);
      await nextTurn();
    }
  recorder.finish();
  return { store, samples, tokens, maps };
}

/** Hands a sample to a recorder in the forward passes in which it was recorded. */
class SampleBatches {
  readonly #experts: number;
  readonly #layers: number;
  readonly #slots: number;
  readonly #source: EmbeddingSource | undefined;
  #probabilities = new Float32Array(0);
  #embeddings = new Float32Array(0);

  constructor(experts: number, layers: number, slots: number, source: EmbeddingSource | undefined) {
    this.#experts = experts;
    this.#layers = layers;
    this.#slots = slots;
    this.#source = source;
  }

  record(sample: TraceSample, recorder: MapRecorder): void {
    for (let from = 0; from < sample.length; ) {
      let to = from + 1;
      while (to < sample.length && sample.batches[to] === sample.batches[from]) to++;
      const tokens = to - from;
      const tokenIds = sample.tokens?.subarray(from, to) ?? new Int32Array(tokens).fill(NO_TOKEN);
      recorder.batch({
        ...{ tokens, tokenIds, request: sample.sample, embeddings: this.#rows(tokenIds) },
        phase: sample.phases[from] === PREFILL ? "prefill" : "decode",
      });
      for (let layer = 0; layer < this.#layers; layer++) {
        const computed = this.#gather(sample, layer, from, to);
        if (computed > 0) recorder.observe(layer, this.#probabilities, computed);
      }
      from = to;
    }
  }

  #rows(tokenIds: Int32Array): Float32Array | undefined {
    const source = this.#source;
    if (source === undefined) return undefined;
    if (this.#embeddings.length < tokenIds.length * source.width)
      this.#embeddings = new Float32Array(tokenIds.length * source.width);
    source.rows(tokenIds, this.#embeddings);
    return this.#embeddings;
  }

  /** The distributions of a layer's tokens that were computed in it. @returns how many those are */
  #gather({ probs, weights, experts }: TraceSample, layer: number, from: number, to: number): number {
    const all = this.#experts;
    if (this.#probabilities.length < (to - from) * all) this.#probabilities = new Float32Array((to - from) * all);
    const into = this.#probabilities;
    let computed = 0;
    for (let position = from; position < to; position++) {
      const row = position * this.#layers + layer;
      const chosen = row * this.#slots;
      if (experts[chosen] === NO_ID) continue;
      const at = computed++ * all;
      if (probs !== undefined) {
        for (let expert = 0; expert < all; expert++) into[at + expert] = probs[row * all + expert];
        continue;
      }
      into.fill(0, at, at + all);
      for (let rank = 0; rank < this.#slots && experts[chosen + rank] !== NO_ID; rank++)
        into[at + experts[chosen + rank]] = weights?.[chosen + rank] ?? 0;
    }
    return computed;
  }
}
