/**
 * Routing that no model made, for measuring what works on traces at any size: experts as popular as Zipf's law has words,
 * and a token that keeps some of the experts of the token before. Says nothing about policies or models.
 */
import { DECODE, type TraceDescription, type TraceSample } from "../trace/trace.ts";

export interface SyntheticTraceOptions {
  /** MoE layers. Default: 16. */
  readonly layers?: number;
  /** Experts per layer. Default: 64. */
  readonly experts?: number;
  /** Experts of a token in a layer. Default: 8. */
  readonly expertsUsed?: number;
  /** Tokens of a sample. Default: 512. */
  readonly sampleLength?: number;
  /** Chance that an expert of the token before is used again. Default: 0.35, which gives about OLMoE's SRP. */
  readonly reuse?: number;
  /** Exponent of the popularity; 0: all alike. Default: 0.5. */
  readonly skew?: number;
  /** Texts come from this many domains in turn, each with popularities of its own. Default: 4. */
  readonly domains?: number;
  /** Default: 1. */
  readonly seed?: number;
}

type Shape = Required<SyntheticTraceOptions>;

const DEFAULTS: Shape = {
  layers: 16,
  experts: 64,
  expertsUsed: 8,
  sampleLength: 512,
  reuse: 0.35,
  skew: 0.5,
  domains: 4,
  seed: 1,
};
const VOCABULARY = 50_000;
/** Entries of the table that a random number picks a popular expert from; a power of two. */
const TABLE = 4096;

export function describeSyntheticTrace(options: SyntheticTraceOptions = {}): TraceDescription {
  const { layers, experts, expertsUsed, sampleLength } = { ...DEFAULTS, ...options };
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: {
      name: `synthetic ${layers}x${experts} top-${expertsUsed}`,
      architecture: "synthetic",
      hash: null,
      tokenizerHash: null,
      blocks: layers,
      moeBlocks: Array.from({ length: layers }, (_, i) => i),
      experts,
      expertsUsed,
      sharedExperts: 0,
      expertBytes: new Array(layers).fill(4 * 1024 * 1024),
      denseBytes: null,
      scoring: null,
    },
    recording: {
      recorder: "warmset synthetic trace",
      date: new Date(0).toISOString(),
      tokensFrom: ["forced"],
      sampleLength,
      start: null,
      notes: ["Made by a random generator: no model was run."],
    },
    columns: { weights: true, probs: false, hiddenWidth: 0, tokens: true, predictions: true },
  };
}

/** `tokens` tokens as samples, the last one shorter if need be. Equal options give equal samples. */
export function* syntheticSamples(tokens: number, options: SyntheticTraceOptions = {}): Generator<TraceSample, void> {
  const shape = { ...DEFAULTS, ...options };
  const random = xorshift(shape.seed);
  const popular = Array.from({ length: shape.domains }, () =>
    Array.from({ length: shape.layers }, () => popularExperts(shape, random)),
  );
  for (let sample = 0, left = tokens; left > 0; sample++) {
    const length = Math.min(left, shape.sampleLength);
    const domain = sample % shape.domains;
    const { experts, weights } = routing(shape, length, popular[domain], random);
    const ids = Int32Array.from({ length }, () => random() % VOCABULARY);
    yield {
      sample,
      domain: `domain ${domain}`,
      length,
      phases: new Uint8Array(length).fill(DECODE),
      batches: Uint32Array.from({ length }, (_, i) => i),
      experts,
      weights,
      probs: undefined,
      hidden: undefined,
      tokens: ids,
      predicted: ids.map((id, i) => ((random() & 3) === 0 ? id : (ids[i + 1] ?? id))),
      loss: Float32Array.from({ length }, (_, i) => (i + 1 < length ? (random() % 8192) / 1024 : Number.NaN)),
    };
    left -= length;
  }
}

function routing(
  { layers, experts, expertsUsed, reuse }: Shape,
  length: number,
  popular: Uint16Array[],
  random: Random,
) {
  const ids = new Uint16Array(length * layers * expertsUsed);
  const weights = new Float32Array(ids.length);
  const keepBelow = reuse * 2 ** 32;
  const usedIn = new Int32Array(experts);
  const rowValues = layers * expertsUsed;
  for (let row = 0, at = 0; row < length * layers; row++) {
    const table = popular[row % layers];
    const end = at + expertsUsed;
    let weight = 0.5;
    for (let slot = at; slot < end; slot++) {
      let id = slot >= rowValues && random() < keepBelow ? ids[slot - rowValues] : -1;
      while (id < 0 || usedIn[id] === row + 1) id = table[random() & (TABLE - 1)];
      usedIn[id] = row + 1;
      ids[slot] = id;
      // Like a router's: falling, summing to about one, and not the same in every row.
      weights[slot] = weight * (1 + (id & 7) / 64);
      weight *= 0.5;
    }
    at = end;
  }
  return { experts: ids, weights };
}

/** Experts, each as often as it is popular, but at least once. */
function popularExperts({ experts, skew }: Shape, random: Random): Uint16Array {
  const order = Uint16Array.from({ length: experts }, (_, i) => i);
  for (let i = experts - 1; i > 0; i--) {
    const j = random() % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  const shares = Array.from(order, (_, rank) => (rank + 1) ** -skew);
  const total = shares.reduce((sum, share) => sum + share, 0);
  const table = new Uint16Array(TABLE);
  let at = 0;
  let sum = 0;
  for (const [rank, share] of shares.entries()) {
    sum += share;
    const end = Math.max(at + 1, Math.round((sum / total) * (TABLE - experts + rank + 1)));
    table.fill(order[rank], at, end);
    at = end;
  }
  table.fill(order[0], at);
  return table;
}

/** Whole numbers from 0 to 2^32 - 1. */
type Random = () => number;

/** Marsaglia's xorshift: quick, and good enough for experts. */
function xorshift(seed: number): Random {
  let state = (seed * 0x9e3779b9) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
