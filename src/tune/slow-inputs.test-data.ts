/** Router inputs of which half is what a text is about and half which token it is: what tuning for reuse can tell apart. */
import { Randomness } from "../predict/randomness.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import { DECODE, PREFILL, type TraceDescription, type TraceSample, type TraceSource } from "../trace/trace.ts";
import type { BaseGate } from "./router-delta.ts";
import { gateHash } from "./router-delta.ts";
import { chooseExperts, type RouterRule } from "./router-forward.ts";

export const SLOW_WIDTH = 20;
export const SLOW_RULE: RouterRule = {
  ...{ experts: 12, used: 3, scoring: "softmax", selectionBias: undefined, groups: undefined },
  ...{ normalizeWeights: true, weightScale: 1 },
};

export interface SlowInputs {
  readonly layers?: number;
  readonly documents?: number;
  readonly tokens?: number;
  readonly seed?: number;
}

/** Gates of random weights, by layer; with a bias where wanted. */
export function randomGates(layers: number, bias = false): BaseGate[] {
  const random = new Randomness(11);
  return Array.from({ length: layers }, (_, block) => {
    const weights = Float32Array.from({ length: SLOW_RULE.experts * SLOW_WIDTH }, () => 0.4 * random.normal());
    const own = bias ? Float32Array.from({ length: SLOW_RULE.experts }, () => 0.2 * random.normal()) : undefined;
    return { block, weights, bias: own, sha256: gateHash(weights, own) };
  });
}

/** The first half of the inputs walks slowly, the rest is new with each token; all lie about a mean that is not 0. */
export function slowTrace({ layers = 2, documents = 24, tokens = 64, seed = 3 }: SlowInputs = {}): TraceSource {
  const random = new Randomness(seed);
  const gates = randomGates(layers);
  const { experts, used } = SLOW_RULE;
  const samples = Array.from({ length: documents }, (_, sample): TraceSample => {
    const hidden = new Float32Array(tokens * layers * SLOW_WIDTH);
    const chosen = new Uint16Array(tokens * layers * used);
    const topic = Float64Array.from({ length: layers * SLOW_WIDTH }, () => random.normal());
    for (let t = 0; t < tokens; t++)
      for (let layer = 0; layer < layers; layer++) {
        const at = (t * layers + layer) * SLOW_WIDTH;
        for (let i = 0; i < SLOW_WIDTH; i++) {
          const place = layer * SLOW_WIDTH + i;
          topic[place] = 0.95 * topic[place] + Math.sqrt(1 - 0.95 ** 2) * random.normal();
          hidden[at + i] = (i < SLOW_WIDTH / 2 ? topic[place] : random.normal()) + (i % 3) / 8;
        }
        const z = new Float32Array(experts);
        for (let e = 0; e < experts; e++)
          for (let i = 0; i < SLOW_WIDTH; i++) z[e] += gates[layer].weights[e * SLOW_WIDTH + i] * hidden[at + i];
        chosen.set(chooseExperts(z, 1, SLOW_RULE), (t * layers + layer) * used);
      }
    return {
      ...{ sample, domain: "made", length: tokens, experts: chosen, hidden },
      phases: Uint8Array.from({ length: tokens }, (_, t) => (t < tokens / 4 ? PREFILL : DECODE)),
      batches: Uint32Array.from({ length: tokens }, (_, t) => t),
      ...{ weights: undefined, probs: undefined, tokens: undefined, predicted: undefined, loss: undefined },
    };
  });
  const description: TraceDescription = {
    ...{ format: "warmset-trace", schemaVersion: 1 },
    model: {
      ...{ name: "slow", architecture: "made", hash: "b".repeat(64), tokenizerHash: null, blocks: layers },
      moeBlocks: Array.from({ length: layers }, (_, layer) => layer),
      ...{ experts, expertsUsed: used, sharedExperts: 0, denseBytes: 0, scoring: "softmax" },
      expertBytes: new Array<number>(layers).fill(1000),
    },
    recording: {
      ...{ recorder: "a test", date: "2026-01-01T00:00:00Z", tokensFrom: ["generated"], sampleLength: tokens },
      ...{ start: null, notes: [] },
    },
    columns: { weights: false, probs: false, hiddenWidth: SLOW_WIDTH, tokens: false, predictions: false },
  };
  return memoryTrace(description, samples, { samplesPerPart: 5 });
}
