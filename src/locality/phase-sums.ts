/**
 * Everything that is counted of a trace's phase, in whole numbers: sums of parts added together are those of the whole, in
 * any order. Memory depends on the model and the domains, not on the trace's length (the vocabulary's sample is capped).
 */
import type { AnalysisPlan } from "./analysis-plan.ts";

/** Of one domain. L layers, E experts, P policies, R cache ratios, B replicas. */
export interface DomainSums {
  samples: number;
  tokens: number;
  /** In units of 2^-20 nats, so that sums are exact; and the tokens that have one. */
  loss: number;
  lossTokens: number;
  /** [L][E] Expert uses. */
  readonly uses: Uint32Array;
  /** [L][all bins] Histograms of activations per window, the segment lengths one after another. */
  readonly segments: Float64Array;
  /** [L][E][m + 1] The same by expert, for the headline segment. */
  readonly headline: Uint32Array;
  /** [P][L][E] Look-ups of layer caches that hit from C > d on. */
  readonly stackHits: Float64Array;
  /** [L] Their look-ups; with micro-batches fewer than uses. */
  readonly stackLookups: Float64Array;
  cacheSamples: number;
  cacheTokens: number;
  /** [P][R] */
  readonly modelHits: Float64Array;
  modelLookups: number;
  /** [L] Experts that the token before used too, and the uses of tokens that have one before. */
  readonly overlap: Float64Array;
  readonly overlapUses: Float64Array;
  /** [B][P][R] and [B] */
  readonly replicaHits: Float64Array;
  readonly replicaLookups: Float64Array;
}

export interface PhaseSums {
  readonly domains: Map<string, DomainSums>;
  shortest: number;
  longest: number;
  /** By segment length: [L][E][m + 1]; empty for the headline segment, which domains keep. */
  readonly expertSegments: readonly Uint32Array[];
  /** By segment length: [window start][m + 1] as differences, see `srp-histograms.ts`. */
  readonly positions: readonly Float64Array[];
  /** [L][sampleLength] Uses by distance to the last use, in tokens; index 0: first uses. */
  readonly distances: Float64Array;
  /** [B][L][all bins] */
  readonly replicaSegments: Float64Array;
  readonly vocabulary: VocabularyPiece[];
}

/** Tokens of a piece with the best expert of each layer. */
export interface VocabularyPiece {
  /** [T] */
  readonly tokens: Int32Array;
  /** [T] Negative: none. */
  readonly next: Int32Array;
  readonly predicted: Int32Array | undefined;
  /** [T][L]; NO_ID: none */
  readonly best: Uint16Array;
}

/** Bins of all segment lengths together. */
export function binsOf({ segmentLengths }: AnalysisPlan): number {
  return segmentLengths.reduce((sum, length) => sum + length + 1, 0);
}

export function emptyPhaseSums(plan: AnalysisPlan): PhaseSums {
  const { shape, segmentLengths, headlineSegment, sampleLength, bootstrapReplicas } = plan;
  const { layers, experts } = shape;
  return {
    domains: new Map(),
    shortest: Number.POSITIVE_INFINITY,
    longest: 0,
    expertSegments: segmentLengths.map(
      (length) => new Uint32Array(length === headlineSegment ? 0 : layers * experts * (length + 1)),
    ),
    positions: segmentLengths.map((length) => new Float64Array((sampleLength - length + 2) * (length + 1))),
    distances: new Float64Array(layers * sampleLength),
    replicaSegments: new Float64Array(bootstrapReplicas * layers * binsOf(plan)),
    vocabulary: [],
  };
}

export function emptyDomainSums(plan: AnalysisPlan): DomainSums {
  const { shape, headlineSegment, policies, cacheRatios, bootstrapReplicas } = plan;
  const { layers, experts } = shape;
  return {
    samples: 0,
    tokens: 0,
    loss: 0,
    lossTokens: 0,
    uses: new Uint32Array(layers * experts),
    segments: new Float64Array(layers * binsOf(plan)),
    headline: new Uint32Array(layers * experts * (headlineSegment + 1)),
    stackHits: new Float64Array(policies.length * layers * experts),
    stackLookups: new Float64Array(layers),
    cacheSamples: 0,
    cacheTokens: 0,
    modelHits: new Float64Array(policies.length * cacheRatios.length),
    modelLookups: 0,
    overlap: new Float64Array(layers),
    overlapUses: new Float64Array(layers),
    replicaHits: new Float64Array(bootstrapReplicas * policies.length * cacheRatios.length),
    replicaLookups: new Float64Array(bootstrapReplicas),
  };
}

/** Adds the sums of another part of the same trace. */
export function addPhaseSums(target: PhaseSums, other: PhaseSums): void {
  for (const [name, sums] of other.domains) {
    const own = target.domains.get(name);
    if (own === undefined) target.domains.set(name, sums);
    else addFields(own, sums);
  }
  target.shortest = Math.min(target.shortest, other.shortest);
  target.longest = Math.max(target.longest, other.longest);
  other.expertSegments.forEach((counts, i) => void addArray(target.expertSegments[i], counts));
  other.positions.forEach((counts, i) => void addArray(target.positions[i], counts));
  addArray(target.distances, other.distances);
  addArray(target.replicaSegments, other.replicaSegments);
  target.vocabulary.push(...other.vocabulary);
}

function addFields(target: DomainSums, other: DomainSums): void {
  for (const name of Object.keys(target) as (keyof DomainSums)[]) {
    const own = target[name];
    const more = other[name];
    if (typeof own === "number") Object.assign(target, { [name]: own + (more as number) });
    else addArray(own, more as typeof own);
  }
}

function addArray(target: Uint32Array | Float64Array, other: Uint32Array | Float64Array): void {
  for (let i = 0; i < other.length; i++) target[i] += other[i];
}

/** All buffers of the sums, to hand them to another thread without a copy. */
export function buffersOf({ domains, expertSegments, positions, distances, replicaSegments, vocabulary }: PhaseSums) {
  const arrays: (ArrayBufferView | number | undefined)[] = [
    ...[...domains.values()].flatMap((sums) => Object.values(sums) as (ArrayBufferView | number)[]),
    ...expertSegments,
    ...positions,
    distances,
    replicaSegments,
    ...vocabulary.flatMap(({ tokens, next, predicted, best }) => [tokens, next, predicted, best]),
  ];
  return arrays.flatMap((array) => (typeof array === "object" ? [array.buffer as ArrayBuffer] : []));
}
