/** Text with routing to be foreseen: every token id has its own distributions, and every occurrence a little noise. */
import type { EmbeddingSource } from "../../cache/embedding-source.ts";
import { randomNumbers } from "../../cache/replay.test-data.ts";
import type { ModelShape } from "../../cache/shape.ts";
import { describedTrace, sampleOf } from "../../simulate/traces.test-data.ts";
import { memoryTrace } from "../../trace/memory-trace.ts";
import type { TracedModel, TraceSample, TraceSource } from "../../trace/trace.ts";

export interface SyntheticText {
  readonly shape: ModelShape;
  readonly source: TraceSource;
  readonly samples: readonly TraceSample[];
  readonly embeddings: EmbeddingSource;
  /** Distributions of a token id, `[layers][experts]`, before noise. */
  map(token: number): Float32Array;
}

export interface SyntheticOptions {
  readonly layers?: number;
  readonly experts?: number;
  readonly used?: number;
  readonly samples?: number;
  readonly tokens?: number;
  readonly vocabulary?: number;
  /** Of a logit's own spread; 0: a token id decides alone. */
  readonly noise?: number;
  readonly seed?: number;
  readonly model?: Partial<TracedModel>;
  readonly probabilities?: boolean;
}

const EXPERT_BYTES = 1 << 20;
const HIDDEN = 4;

export function syntheticText(options: SyntheticOptions = {}): SyntheticText {
  const {
    layers = 6,
    experts = 8,
    used = 2,
    samples = 2,
    tokens = 40,
    vocabulary = 6,
    noise = 0.3,
    seed = 1,
  } = options;
  const random = randomNumbers(seed);
  const perToken = Array.from({ length: vocabulary }, () =>
    Float64Array.from({ length: layers * experts }, () => 4 * random()),
  );
  const vectors = Array.from({ length: vocabulary }, () => Float32Array.from({ length: HIDDEN }, () => random() - 0.5));
  const mapOf = (token: number, spread: number) => {
    const map = new Float32Array(layers * experts);
    for (let layer = 0; layer < layers; layer++) {
      const weights = Array.from({ length: experts }, (_, expert) =>
        Math.exp(perToken[token][layer * experts + expert] + spread * 4 * (random() - 0.5)),
      );
      const sum = weights.reduce((total, weight) => total + weight, 0);
      for (let expert = 0; expert < experts; expert++) map[layer * experts + expert] = weights[expert] / sum;
    }
    return map;
  };
  const made = Array.from({ length: samples }, (_, sample) => {
    const ids = Int32Array.from({ length: tokens }, () => Math.floor(vocabulary * random() ** 1.5));
    const maps = Array.from(ids, (id) => mapOf(id, noise));
    const chosen = maps.map((map) =>
      Array.from({ length: layers }, (_, layer) => topOf(map.subarray(layer * experts, (layer + 1) * experts), used)),
    );
    const probs = Float32Array.from(maps.flatMap((map) => [...map]));
    return sampleOf(chosen, {
      sample,
      tokens: ids,
      ...(options.probabilities === false
        ? { weights: new Float32Array(tokens * layers * used).fill(1 / used) }
        : { probs }),
    });
  });
  const model = {
    experts,
    expertsUsed: used,
    expertBytes: new Array<number>(layers).fill(EXPERT_BYTES),
    ...options.model,
  };
  const description = describedTrace(model, made);
  return {
    shape: { layers, experts, expertsUsed: used, expertBytes: model.expertBytes, hiddenSize: HIDDEN },
    source: memoryTrace({ ...description, columns: { ...description.columns, tokens: true } }, made),
    samples: made,
    embeddings: {
      width: HIDDEN,
      rows: (ids, into) => {
        for (const [i, id] of ids.entries()) into.set(vectors[id], i * HIDDEN);
      },
    },
    map: (token) => mapOf(token, 0),
  };
}

/** The likeliest experts, best first. */
export function topOf(row: ArrayLike<number>, count: number): number[] {
  return Array.from({ length: row.length }, (_, expert) => expert)
    .sort((a, b) => row[b] - row[a] || a - b)
    .slice(0, count);
}
