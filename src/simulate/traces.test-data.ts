/** Traces for tests: the recorded ones of real models, and small random ones. */
import * as fc from "fast-check";
import { type RouteTrace, readRouteTrace } from "../../test/traces/route-trace.ts";
import { randomNumbers } from "../cache/replay.test-data.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import {
  DECODE,
  NO_ID,
  PREFILL,
  type TraceDescription,
  type TracedModel,
  type TraceSample,
  type TraceSource,
} from "../trace/trace.ts";

/** Policies that read nothing ahead, bring in nothing that no token chose, and need nothing but the trace. */
export const DEMAND_ONLY = ["on-demand", "lru", "lfu", "lfu-decayed", "lfu-per-layer", "next-use", "belady"] as const;

export function describedTrace(model: Partial<TracedModel>, samples: readonly TraceSample[]): TraceDescription {
  const layers = model.expertBytes?.length ?? 0;
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: {
      name: "test",
      architecture: "test",
      hash: null,
      tokenizerHash: null,
      blocks: layers,
      moeBlocks: Array.from({ length: layers }, (_, block) => block),
      experts: 1,
      expertsUsed: 1,
      sharedExperts: 0,
      expertBytes: [],
      denseBytes: 0,
      scoring: null,
      ...model,
    },
    recording: {
      recorder: "test",
      date: "2026-01-01T00:00:00Z",
      tokensFrom: ["generated"],
      sampleLength: Math.max(...samples.map(({ length }) => length)),
      start: null,
      notes: [],
    },
    columns: {
      weights: samples.every(({ weights }) => weights !== undefined),
      probs: samples.every(({ probs }) => probs !== undefined),
      hiddenWidth: 0,
      tokens: false,
      predictions: false,
    },
  };
}

/** A sample from lists of experts, [token][layer]. Tokens are decode steps, each a batch of its own, unless said. */
export function sampleOf(
  experts: readonly (readonly (readonly number[])[])[],
  more: Partial<TraceSample> = {},
): TraceSample {
  return {
    sample: 0,
    domain: "test",
    length: experts.length,
    phases: new Uint8Array(experts.length).fill(DECODE),
    batches: Uint32Array.from(experts, (_, position) => position),
    experts: Uint16Array.from(experts.flat(2)),
    weights: undefined,
    probs: undefined,
    hidden: undefined,
    tokens: undefined,
    predicted: undefined,
    loss: undefined,
    ...more,
  };
}

/** A recorded run of a real model: one sample, the prompt one batch. */
export function realTrace(name: "qwen" | "gemma" | "gptoss"): {
  readonly source: TraceSource;
  readonly samples: readonly TraceSample[];
  readonly route: RouteTrace;
} {
  const route = readRouteTrace(name);
  const { layers, expertsUsed } = route.shape;
  const length = route.iterations.reduce((sum, { stops }) => sum + stops[0].tokens, 0);
  const phases = new Uint8Array(length);
  const batches = new Uint32Array(length);
  const experts = new Uint16Array(length * layers * expertsUsed);
  const weights = new Float32Array(length * layers * expertsUsed);
  let position = 0;
  route.iterations.forEach(({ phase, stops }, batch) => {
    const { tokens } = stops[0];
    for (let token = 0; token < tokens; token++) {
      phases[position + token] = phase === "prefill" ? PREFILL : DECODE;
      batches[position + token] = batch;
      for (const stop of stops) {
        // The last layer of a prompt was run for its last tokens only.
        const row = token - (tokens - stop.tokens);
        const to = ((position + token) * layers + stop.layer) * expertsUsed;
        const from = row * expertsUsed;
        if (row < 0) {
          experts.fill(NO_ID, to, to + expertsUsed);
          continue;
        }
        experts.set(stop.experts.subarray(from, from + expertsUsed), to);
        weights.set(stop.weights.subarray(from, from + expertsUsed), to);
      }
    }
    position += tokens;
  });
  const sample = { ...sampleOf([]), length, phases, batches, experts, weights };
  const { experts: perLayer, expertBytes } = route.shape;
  const description = describedTrace({ name, experts: perLayer, expertsUsed, expertBytes }, [sample]);
  return { source: memoryTrace(description, [sample]), samples: [sample], route };
}

/** Only what was decoded of a sample, as a trace of its own. */
export function decodeStepsOf(description: TraceDescription, sample: TraceSample): TraceSource {
  const prompt = sample.phases.lastIndexOf(PREFILL) + 1;
  const row = description.model.moeBlocks.length * description.model.expertsUsed;
  const steps: TraceSample = {
    ...sample,
    length: sample.length - prompt,
    phases: sample.phases.subarray(prompt),
    batches: sample.batches.subarray(prompt),
    experts: sample.experts.subarray(prompt * row),
    weights: sample.weights?.subarray(prompt * row),
  };
  return memoryTrace(description, [steps]);
}

export interface GeneratedTrace {
  readonly source: TraceSource;
  readonly samples: readonly TraceSample[];
  /** From the smallest that holds any batch of a layer to everything. */
  readonly cacheBytes: number;
}

/** Small models with skewed random routing; a prompt of up to three tokens, then decoding. */
export function generatedTraces({ equalSizes = false }: { readonly equalSizes?: boolean } = {}) {
  return fc
    .record({
      layers: fc.integer({ min: 1, max: 4 }),
      experts: fc.integer({ min: 2, max: 8 }),
      used: fc.integer({ min: 1, max: 3 }),
      mib: fc.array(fc.double({ min: 0.3, max: 4, noNaN: true }), { minLength: 4, maxLength: 4 }),
      lengths: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 3 }),
      prompt: fc.integer({ min: 1, max: 3 }),
      fraction: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.integer(),
    })
    .map(({ layers, experts, used, mib, lengths, prompt, fraction, seed }): GeneratedTrace => {
      const expertsUsed = Math.min(used, experts);
      const expertBytes = mib.slice(0, layers).map((size) => Math.round((equalSizes ? 1 : size) * 2 ** 20));
      const random = randomNumbers(seed);
      const choose = () => {
        const chosen = new Set<number>();
        while (chosen.size < expertsUsed) chosen.add(Math.floor(experts * random() ** 2));
        return [...chosen];
      };
      const samples = lengths.map((length, sample) =>
        sampleOf(
          Array.from({ length }, () => Array.from({ length: layers }, choose)),
          {
            sample,
            phases: Uint8Array.from({ length }, (_, position) => (position < prompt ? PREFILL : DECODE)),
            batches: Uint32Array.from({ length }, (_, position) => Math.max(0, position - prompt + 1)),
          },
        ),
      );
      // What the prompt's batch uses at most, so that no cache makes its micro-batches smaller.
      const smallest = Math.max(...expertBytes) * Math.min(experts, prompt * expertsUsed);
      const all = expertBytes.reduce((sum, bytes) => sum + bytes * experts, 0);
      const description = describedTrace({ experts, expertsUsed, expertBytes }, samples);
      const cacheBytes = Math.floor(smallest + fraction * (all - smallest));
      return { source: memoryTrace(description, samples), samples, cacheBytes };
    });
}
