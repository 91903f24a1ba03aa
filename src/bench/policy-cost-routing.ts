/**
 * Routing with every signal that a policy can ask for, at any model's shape, for measuring what policies cost. A token's
 * experts follow from its id, from what the layer prefers, from a slow drift and from noise, so that caches hit and
 * predictions come true about as often as on real models. No model was run: says nothing about how good a policy is.
 */
import type { ModelShape } from "../cache/shape.ts";
import { bestExperts } from "../predict/best-experts.ts";
import { Randomness } from "../predict/randomness.ts";
import { headPlaces, type RouterPredictor } from "../predict/router-predictor.ts";
import { TRAINING_DEFAULTS } from "../predict/training-defaults.ts";

export interface GeneratedRouting {
  readonly shape: ModelShape & { readonly hiddenSize: number };
  readonly tokens: number;
  /** `[tokens]` */
  readonly tokenIds: Int32Array;
  /** `[vocabulary][hiddenSize]` */
  readonly embeddings: Float32Array;
  /** `[tokens][layers][experts]`, each layer summing to 1. */
  readonly probabilities: Float32Array;
  /** `[tokens][layers][experts]`: what the next layer's router says; of the last layer 0. */
  readonly nextGate: Float32Array;
  /** `[tokens][layers][expertsUsed]`, best first. */
  readonly experts: Int32Array;
}

const VOCABULARY = 256;
/** Spreads of a logit's parts. With these an LRU of a quarter of the experts hits about half, as on the recorded models. */
const PREFERENCE = 0.8;
const BY_TOKEN = 1.2;
const DRIFT = 1;
const NOISE = 0.7;
/** Share of the drift that is left a token later. */
const DRIFT_KEPT = 0.9;
/** What a layer's state does not know yet of the next layer's decision. */
const NEXT_GATE_NOISE = 0.6;

/** Equal arguments give equal routing. */
export function generateRouting(shape: GeneratedRouting["shape"], tokens: number, seed = 1): GeneratedRouting {
  const { layers, experts, expertsUsed, hiddenSize } = shape;
  const random = new Randomness(seed);
  const normals = (count: number, spread: number) =>
    Float32Array.from({ length: count }, () => spread * random.normal());
  const width = layers * experts;
  const preference = normals(width, PREFERENCE);
  const byToken = normals(VOCABULARY * width, BY_TOKEN);
  const drift = normals(width, DRIFT);
  const driftStep = DRIFT * Math.sqrt(1 - DRIFT_KEPT ** 2);
  const tokenIds = new Int32Array(tokens);
  const probabilities = new Float32Array(tokens * width);
  const nextGate = new Float32Array(tokens * width);
  const chosen = new Int32Array(tokens * layers * expertsUsed);
  const logits = new Float32Array(width);
  for (let token = 0; token < tokens; token++) {
    // Few ids make most of a text.
    const id = Math.floor(VOCABULARY * random.next() ** 3);
    tokenIds[token] = id;
    for (let key = 0; key < width; key++) {
      drift[key] = DRIFT_KEPT * drift[key] + driftStep * random.normal();
      logits[key] = preference[key] + byToken[id * width + key] + drift[key] + NOISE * random.normal();
    }
    for (let layer = 0; layer < layers; layer++) {
      const row = logits.subarray(layer * experts, (layer + 1) * experts);
      const at = token * width + layer * experts;
      const sum = row.reduce((total, logit) => total + Math.exp(logit), 0);
      for (let expert = 0; expert < experts; expert++) probabilities[at + expert] = Math.exp(row[expert]) / sum;
      bestExperts(row, expertsUsed, chosen, (token * layers + layer) * expertsUsed);
      for (let expert = 0; layer > 0 && expert < experts; expert++)
        nextGate[at - experts + expert] = row[expert] + NEXT_GATE_NOISE * random.normal();
    }
  }
  const embeddings = normals(VOCABULARY * hiddenSize, 1);
  return { shape, tokens, tokenIds, embeddings, probabilities, nextGate, experts: chosen };
}

/** A state's first numbers are what the next layer's router says to it, raised so that a ReLU lets them pass. */
export const RAISED_BY = 100;

/** A predictor as large as those that are trained, which reads from a state what was put there (see `RAISED_BY`). */
export function readingPredictor(shape: GeneratedRouting["shape"]): RouterPredictor {
  const { layers, experts, expertsUsed, hiddenSize } = shape;
  const { width, stride, window } = TRAINING_DEFAULTS;
  const read = Math.min(width, experts, hiddenSize);
  const inner = new Float32Array(width * (hiddenSize + 1));
  const outer = new Float32Array(experts * (width + 1));
  for (let i = 0; i < read; i++) {
    inner[i * (hiddenSize + 1) + i] = 1;
    outer[i * (width + 1) + i] = 1;
  }
  return {
    model: { name: "generated", hash: "", tokenizerHash: null, layers, experts, expertsUsed, hiddenSize },
    ...{ kind: "mlp", width, stride, window, trainingMs: 0, recall: [] },
    heads: headPlaces(layers, { stride, window }).map((place) => ({ ...place, inner, outer })),
  };
}
