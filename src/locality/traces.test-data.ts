/** Small routing traces made by hand for tests: the routing is a function that the test gives. */
import * as fc from "fast-check";
import { memoryTrace } from "../trace/memory-trace.ts";
import { DECODE, NO_ID, type TraceDescription, type TraceSample, type TraceSource } from "../trace/trace.ts";
import type { ExpertSequence } from "./expert-sequence.ts";

export interface MadeTrace {
  readonly layers?: number;
  readonly experts: number;
  readonly expertsUsed: number;
  readonly samples: readonly MadeSample[];
  readonly samplesPerPart?: number;
  readonly expertBytes?: readonly number[];
}

export interface MadeSample {
  readonly domain?: string;
  readonly length: number;
  /** Best first; fewer than `expertsUsed` are allowed. */
  readonly route: (layer: number, position: number) => readonly number[];
  readonly tokens?: (position: number) => number;
  /** Default: all decode. */
  readonly phase?: (position: number) => number;
  /** Default: each token its own. */
  readonly batch?: (position: number) => number;
}

export function madeTrace(made: MadeTrace): TraceSource {
  return memoryTrace(madeDescription(made), madeSamples(made), {
    ...(made.samplesPerPart === undefined ? {} : { samplesPerPart: made.samplesPerPart }),
  });
}

export function madeDescription({
  layers = 1,
  experts,
  expertsUsed,
  samples,
  expertBytes,
}: MadeTrace): TraceDescription {
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: {
      name: "made",
      architecture: "made",
      hash: null,
      tokenizerHash: null,
      blocks: layers,
      moeBlocks: Array.from({ length: layers }, (_, layer) => layer),
      experts,
      expertsUsed,
      sharedExperts: 0,
      expertBytes: expertBytes ?? Array.from({ length: layers }, () => 1000),
      denseBytes: null,
      scoring: null,
    },
    recording: {
      recorder: "a test",
      date: "2026-01-01T00:00:00Z",
      tokensFrom: ["forced"],
      sampleLength: Math.max(1, ...samples.map(({ length }) => length)),
      start: null,
      notes: [],
    },
    columns: {
      weights: false,
      probs: false,
      hiddenWidth: 0,
      tokens: samples.some(({ tokens }) => tokens !== undefined),
      predictions: false,
    },
  };
}

export function madeSamples({ layers = 1, expertsUsed, samples }: MadeTrace): TraceSample[] {
  return samples.map(({ domain = "text", length, route, tokens, phase, batch }, sample) => {
    const positions = Array.from({ length }, (_, t) => t);
    return {
      sample,
      domain,
      length,
      phases: Uint8Array.from(positions, phase ?? (() => DECODE)),
      batches: Uint32Array.from(positions, batch ?? ((t) => t)),
      experts: Uint16Array.from(
        positions.flatMap((t) =>
          Array.from({ length: layers }, (_, layer) => {
            const chosen = route(layer, t);
            return Array.from({ length: expertsUsed }, (_, slot) => chosen[slot] ?? NO_ID);
          }).flat(),
        ),
      ),
      weights: undefined,
      probs: undefined,
      hidden: undefined,
      tokens: tokens === undefined ? undefined : Int32Array.from(positions, tokens),
      predicted: undefined,
      loss: undefined,
    };
  });
}

/** A sequence from lists of experts, one list per token. */
export function sequenceOf(experts: number, tokens: readonly (readonly number[])[]): ExpertSequence {
  const starts = [0];
  for (const list of tokens) starts.push(starts[starts.length - 1] + list.length);
  return { experts, tokens: tokens.length, ids: Uint16Array.from(tokens.flat()), starts: Int32Array.from(starts) };
}

/** Random sequences with skewed use, in which tokens may use fewer than k experts. */
export function sequences({
  mostExperts = 16,
  mostTokens = 40,
  alwaysFull = false,
} = {}): fc.Arbitrary<ExpertSequence> {
  return fc
    .record({
      experts: fc.integer({ min: 2, max: mostExperts }),
      used: fc.integer({ min: 1, max: 5 }),
      tokens: fc.integer({ min: 1, max: mostTokens }),
      skew: fc.integer({ min: 1, max: 3 }),
      seed: fc.integer(),
    })
    .map(({ experts, used, tokens, skew, seed }) => {
      const random = randomNumbers(seed);
      const most = Math.min(used, experts);
      return sequenceOf(
        experts,
        Array.from({ length: tokens }, () => {
          const count = alwaysFull || random() < 0.8 ? most : Math.floor(random() * (most + 1));
          return chooseExperts(experts, count, () => random() ** skew);
        }),
      );
    });
}

export function chooseExperts(experts: number, count: number, random: () => number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(Math.floor(experts * random()));
  return [...chosen];
}

/** Numbers in 0..1 that depend on the seed alone (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
