/** Traces of any shape, with everything that the format allows: for tests that write and read them. */
import fc from "fast-check";
import { DECODE, NO_ID, PREFILL, type TraceDescription, type TracePiece, type TraceSample } from "./trace.ts";
import type { TraceWriter } from "./trace-writer.ts";

export interface TraceShape {
  readonly layers: number;
  readonly experts: number;
  readonly expertsUsed: number;
  readonly weights: boolean;
  readonly probs: boolean;
  readonly hiddenWidth: number;
  readonly tokens: boolean;
  readonly predictions: boolean;
  /** Some rows have fewer than k experts, or none. */
  readonly ragged: boolean;
  readonly lengths: readonly number[];
  readonly seed: number;
}

export const traceShapes: fc.Arbitrary<TraceShape> = fc
  .record({
    layers: fc.integer({ min: 1, max: 6 }),
    experts: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 250, max: 600 })),
    expertsUsed: fc.integer({ min: 1, max: 9 }),
    weights: fc.boolean(),
    probs: fc.boolean(),
    hiddenWidth: fc.constantFrom(0, 0, 1, 5),
    tokens: fc.boolean(),
    predictions: fc.boolean(),
    ragged: fc.boolean(),
    lengths: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 }),
    seed: fc.nat(),
  })
  .map((shape) => ({ ...shape, expertsUsed: Math.min(shape.expertsUsed, shape.experts) }));

export const PLAIN_SHAPE: TraceShape = {
  layers: 3,
  experts: 16,
  expertsUsed: 2,
  weights: true,
  probs: false,
  hiddenWidth: 0,
  tokens: true,
  predictions: true,
  ragged: false,
  lengths: [6, 9, 4, 7],
  seed: 1,
};

export function describeShape(shape: TraceShape): TraceDescription {
  const { layers, experts, expertsUsed, lengths } = shape;
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: {
      name: 'a "model" of tests',
      architecture: "test",
      hash: null,
      tokenizerHash: "abc",
      blocks: layers + 2,
      moeBlocks: Array.from({ length: layers }, (_, i) => i + 1),
      experts,
      expertsUsed,
      sharedExperts: 0,
      expertBytes: Array.from({ length: layers }, (_, i) => 1000 + i),
      denseBytes: 12_345,
      scoring: null,
    },
    recording: {
      recorder: "test",
      date: "2026-01-01T00:00:00.000Z",
      tokensFrom: ["forced"],
      sampleLength: Math.max(1, ...lengths),
      start: null,
      notes: [],
    },
    columns: {
      weights: shape.weights,
      probs: shape.probs,
      hiddenWidth: shape.hiddenWidth,
      tokens: shape.tokens,
      predictions: shape.predictions,
    },
  };
}

export function samplesOf(shape: TraceShape): TraceSample[] {
  const random = randomNumbers(shape.seed);
  return shape.lengths.map((length, sample) => sampleOf(shape, sample, length, random));
}

function sampleOf(shape: TraceShape, sample: number, length: number, random: () => number): TraceSample {
  const { layers, experts: E, expertsUsed: k } = shape;
  const experts = new Uint16Array(length * layers * k).fill(NO_ID);
  const weights = new Float32Array(experts.length);
  const floats = (width: number) => Float32Array.from({ length: length * layers * width }, () => random() - 0.5);
  const probs = floats(E);
  const hidden = floats(shape.hiddenWidth);
  for (let row = 0; row < length * layers; row++) {
    const used = shape.ragged && random() < 0.3 ? Math.floor(random() * (k + 1)) : k;
    const chosen = new Set<number>();
    while (chosen.size < used) chosen.add(Math.floor(random() * E));
    for (const [slot, id] of [...chosen].entries()) {
      experts[row * k + slot] = id;
      weights[row * k + slot] = random();
    }
    // Where nothing was computed, there is nothing to keep.
    if (used === 0) {
      probs.fill(0, row * E, (row + 1) * E);
      hidden.fill(0, row * shape.hiddenWidth, (row + 1) * shape.hiddenWidth);
    }
  }
  const prompt = Math.floor(random() * (length + 1));
  let batch = Math.floor(random() * 3);
  const ids = () => Int32Array.from({ length }, () => Math.floor(random() * 2 ** 31));
  return {
    sample,
    domain: ["code", "prose", "日本語", ""][Math.floor(random() * 4)],
    length,
    phases: Uint8Array.from({ length }, (_, i) => (i < prompt ? PREFILL : DECODE)),
    batches: Uint32Array.from({ length }, () => (random() < 0.5 ? batch++ : batch)),
    experts,
    weights: shape.weights ? weights : undefined,
    probs: shape.probs ? probs : undefined,
    hidden: shape.hiddenWidth > 0 ? hidden : undefined,
    tokens: shape.tokens ? ids() : undefined,
    predicted: shape.predictions ? ids().map((id) => (random() < 0.2 ? -1 : id)) : undefined,
    loss: shape.predictions
      ? Float32Array.from({ length }, () => (random() < 0.2 ? Number.NaN : random() * 9))
      : undefined,
  };
}

/** The sample cut into pieces of at most `most` tokens, as micro-batches bring it. */
export function piecesOf(sample: TraceSample, most: number): TracePiece[] {
  const pieces: TracePiece[] = [];
  for (let from = 0; from < sample.length; from += most) {
    const to = Math.min(from + most, sample.length);
    const cut = <A extends Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array | undefined>(
      values: A,
    ): A => {
      const perToken = (values?.length ?? 0) / sample.length;
      return values?.slice(from * perToken, to * perToken) as A;
    };
    pieces.push({
      length: to - from,
      phases: cut(sample.phases),
      batches: cut(sample.batches),
      experts: cut(sample.experts),
      weights: cut(sample.weights),
      probs: cut(sample.probs),
      hidden: cut(sample.hidden),
      tokens: cut(sample.tokens),
      predicted: cut(sample.predicted),
      loss: cut(sample.loss),
    });
  }
  return pieces;
}

export async function writeSamples(
  writer: TraceWriter,
  samples: readonly TraceSample[],
  pieceTokens = Number.POSITIVE_INFINITY,
): Promise<void> {
  for (const sample of samples) {
    writer.beginSample(sample.domain);
    for (const piece of piecesOf(sample, Math.min(pieceTokens, sample.length))) await writer.append(piece);
    await writer.endSample();
  }
}

/** Wants all columns that a shape has. */
export function everything(shape: TraceShape) {
  return {
    weights: shape.weights,
    probs: shape.probs,
    hidden: shape.hiddenWidth > 0,
    tokens: shape.tokens,
    predictions: shape.predictions,
  };
}

function randomNumbers(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
