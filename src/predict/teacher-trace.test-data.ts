/** Traces whose routing follows from the inputs by a rule that the test knows, so that what a predictor should learn is known. */
import { memoryTrace } from "../trace/memory-trace.ts";
import { DECODE, type TraceDescription, type TraceSample, type TraceSource } from "../trace/trace.ts";
import { bestExperts } from "./best-experts.ts";
import { Randomness } from "./randomness.ts";
import { headPlaces, type RouterPredictor } from "./router-predictor.ts";

export interface TeacherTrace {
  readonly layers?: number;
  readonly hiddenSize?: number;
  readonly experts?: number;
  readonly expertsUsed?: number;
  readonly samples?: number;
  readonly samplesPerPart?: number;
  readonly tokens?: number;
  readonly probs?: boolean;
  /** Adds a step that no single matrix imitates: inputs count by their size, whatever their sign. @default false */
  readonly bent?: boolean;
}

export const TEACHER_HASH = "a".repeat(64);

/** In each layer the router is a matrix, and the input of the next layer is a turned copy of this one's. */
export function teacherTrace(options: TeacherTrace = {}): TraceSource {
  const { layers = 3, hiddenSize = 16, experts = 12, expertsUsed = 2, samples = 40, tokens = 50 } = options;
  const { probs = true, bent = false, samplesPerPart = 7 } = options;
  const random = new Randomness(7);
  const routers = Array.from({ length: layers }, () =>
    Float64Array.from({ length: experts * hiddenSize }, () => random.normal()),
  );
  const made = Array.from({ length: samples }, (_, sample): TraceSample => {
    const hidden = new Float32Array(tokens * layers * hiddenSize);
    const distributions = new Float32Array(tokens * layers * experts);
    const chosen = new Uint16Array(tokens * layers * expertsUsed);
    const best = new Int32Array(expertsUsed);
    for (let token = 0; token < tokens; token++) {
      const state = Float64Array.from({ length: hiddenSize }, () => random.normal());
      for (let layer = 0; layer < layers; layer++) {
        const at = token * layers + layer;
        for (let i = 0; i < hiddenSize; i++)
          hidden[at * hiddenSize + i] = 3 * state[(i + layer) % hiddenSize] + (i % 4);
        const scores = new Float32Array(experts);
        for (let expert = 0; expert < experts; expert++)
          for (let i = 0; i < hiddenSize; i++)
            scores[expert] += routers[layer][expert * hiddenSize + i] * (bent ? Math.abs(state[i]) : state[i]);
        bestExperts(scores, expertsUsed, best);
        chosen.set(best, at * expertsUsed);
        const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
        for (let expert = 0; expert < experts; expert++)
          distributions[at * experts + expert] = Math.exp(scores[expert]) / sum;
      }
    }
    return {
      ...{ sample, domain: "made", length: tokens, experts: chosen, hidden },
      phases: new Uint8Array(tokens).fill(DECODE),
      batches: Uint32Array.from({ length: tokens }, (_, token) => token),
      ...{ weights: undefined, tokens: undefined, predicted: undefined, loss: undefined },
      probs: probs ? distributions : undefined,
    };
  });
  const description: TraceDescription = {
    format: "warmset-trace",
    schemaVersion: 1,
    model: {
      ...{ name: "teacher", architecture: "made", hash: TEACHER_HASH, tokenizerHash: null, blocks: layers },
      moeBlocks: Array.from({ length: layers }, (_, layer) => layer),
      ...{ experts, expertsUsed, sharedExperts: 0, denseBytes: 0, scoring: "softmax" },
      expertBytes: new Array<number>(layers).fill(1000),
    },
    recording: {
      ...{ recorder: "a test", date: "2026-01-01T00:00:00Z", tokensFrom: ["generated"], sampleLength: tokens },
      ...{ start: null, notes: [] },
    },
    columns: { weights: false, probs, hiddenWidth: hiddenSize, tokens: false, predictions: false },
  };
  return memoryTrace(description, made, { samplesPerPart });
}

/** Of random weights, for whatever only needs one of the right shape. */
export function untrainedPredictor(
  model: Partial<RouterPredictor["model"]> = {},
  reach: { readonly width?: number; readonly stride?: number; readonly window?: number } = {},
): RouterPredictor {
  const described = {
    ...{
      name: "teacher",
      hash: TEACHER_HASH,
      tokenizerHash: null,
      layers: 3,
      experts: 12,
      expertsUsed: 2,
      hiddenSize: 16,
    },
    ...model,
  };
  const { width = 0, stride = 0, window = 1 } = reach;
  const random = new Randomness(5);
  const weights = (floats: number) => Float32Array.from({ length: floats }, () => random.normal());
  const places = headPlaces(described.layers, { stride, window });
  return {
    model: described,
    ...{ kind: width === 0 ? "linear" : "mlp", width, stride, window, trainingMs: 12.5 },
    heads: places.map((place) => ({
      ...place,
      inner: width === 0 ? undefined : weights(width * (described.hiddenSize + 1)),
      outer: weights(described.experts * ((width === 0 ? described.hiddenSize : width) + 1)),
    })),
    recall: places.map((place, i) => ({
      ...place,
      ...{ tokens: 10 + i, predictor: 0.5, nextGate: Number.NaN, popularity: 0.25, previousToken: 0.125 },
    })),
  };
}
