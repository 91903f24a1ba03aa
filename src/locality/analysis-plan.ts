/** What is computed of a trace: the options with their defaults filled in and checked. Plain data, so that workers get it too. */
import type { TraceColumns, TraceDescription, TracePart } from "../trace/trace.ts";
import { type CacheSizes, cacheSizesOf } from "./cache-sizes.ts";
import type { RoutingShape } from "./expert-sequence.ts";
import type { CacheConvention, CachePolicyName, MicroBatches } from "./report-data.ts";
import type { PhaseSelection } from "./sample-pieces.ts";

export interface LocalityOptions {
  /** m, segment lengths of SRP in tokens. Default: 4, 16, 64, 256. */
  readonly segmentLengths?: readonly number[];
  /** m of SCH. Default: the same. */
  readonly schSegmentLengths?: readonly number[];
  /** Sizes of the caches over all layers, in multiples of L*k experts. Default: 0.5, 1, 1.5, 2, 2.5, 3, 3.5. */
  readonly cacheRatios?: readonly number[];
  /** Longer samples are cut into pieces of this many tokens. Default: 512, the paper's. */
  readonly sampleLength?: number;
  /** Default: "apart". */
  readonly phase?: PhaseSelection;
  /** Default: "token/free", the paper's. */
  readonly convention?: CacheConvention;
  /** What one forward pass is to `layer/miss`. Default: "token". */
  readonly microBatches?: MicroBatches;
  /** Replicas for the confidence intervals; 0: none. Default: 200. */
  readonly bootstrapReplicas?: number;
  /** The caches over all layers are simulated on as many samples as have about this many expert uses; 0: none. Default: 8 Mi. */
  readonly cacheActivations?: number;
  /** Vocabulary specialisation is counted on about this many tokens; 0: not at all. Default: 512 Ki, which take up to 50 MB. */
  readonly vocabularyTokens?: number;
}

export class LocalityOptionError extends Error {
  override readonly name = "LocalityOptionError";
  readonly option: keyof LocalityOptions;

  constructor(option: keyof LocalityOptions, message: string) {
    super(message);
    this.option = option;
  }
}

/** A policy whose caches are simulated. */
export interface PlannedPolicy {
  readonly policy: CachePolicyName;
  /** m of `sch`, else null. */
  readonly segmentLength: number | null;
}

export interface AnalysisPlan {
  readonly shape: RoutingShape;
  /** Bytes of one expert by layer. */
  readonly expertBytes: readonly number[];
  readonly segmentLengths: readonly number[];
  /** The m whose histograms are kept by domain and expert. */
  readonly headlineSegment: number;
  readonly policies: readonly PlannedPolicy[];
  readonly cacheRatios: readonly number[];
  /** Of `token/free`. */
  readonly cacheSizes: CacheSizes;
  readonly sampleLength: number;
  readonly phase: PhaseSelection;
  readonly convention: CacheConvention;
  readonly microBatches: MicroBatches;
  readonly bootstrapReplicas: number;
  readonly cacheSampleEvery: number;
  readonly vocabularySampleEvery: number;
  readonly columns: Pick<TraceColumns, "tokens" | "predictions">;
}

/** The paper's segment length for all comparisons, and its cache ratio. */
export const HEADLINE_SEGMENT = 16;
export const HEADLINE_RATIO = 2;

/** Scratch memory grows with it: 50 bytes per expert use of a sample. */
const LONGEST_SAMPLE = 65_536;

const DEFAULT_SEGMENTS = [4, 16, 64, 256];
/** Those that the paper prints. */
const DEFAULT_RATIOS = [0.5, 1, 1.5, 2, 2.5, 3, 3.5];

/** @throws LocalityOptionError */
export function planAnalysis(
  description: TraceDescription,
  parts: readonly TracePart[],
  options: LocalityOptions = {},
): AnalysisPlan {
  const { model, columns } = description;
  const shape = { layers: model.moeBlocks.length, experts: model.experts, expertsUsed: model.expertsUsed };
  const sampleLength = options.sampleLength ?? 512;
  if (!Number.isInteger(sampleLength) || sampleLength < 2 || sampleLength > LONGEST_SAMPLE)
    throw new LocalityOptionError(
      "sampleLength",
      `A sample can have 2 to ${LONGEST_SAMPLE} tokens, not ${sampleLength}.`,
    );
  const segmentLengths = lengths(
    "segmentLengths",
    options.segmentLengths ?? DEFAULT_SEGMENTS.filter((length) => length <= sampleLength),
    sampleLength,
  );
  const schLengths = lengths("schSegmentLengths", options.schSegmentLengths ?? segmentLengths, sampleLength);
  const most = shape.experts / shape.expertsUsed;
  const cacheRatios = ratios(options.cacheRatios ?? DEFAULT_RATIOS.filter((ratio) => ratio <= most), most);
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
  const activations = tokens * shape.layers * shape.expertsUsed;
  return {
    shape,
    expertBytes: model.expertBytes.some((bytes) => !(bytes > 0)) ? model.moeBlocks.map(() => 1) : model.expertBytes,
    segmentLengths,
    headlineSegment: nearest(segmentLengths, HEADLINE_SEGMENT),
    policies: [
      ...(["lru", "lfu", "belady"] as const).map((policy) => ({ policy, segmentLength: null })),
      ...schLengths.map((segmentLength) => ({ policy: "sch" as const, segmentLength })),
    ],
    cacheRatios,
    cacheSizes: cacheSizesOf(cacheRatios, shape.layers, shape.expertsUsed),
    sampleLength,
    phase: options.phase ?? "apart",
    convention: options.convention ?? "token/free",
    microBatches: options.microBatches ?? "token",
    bootstrapReplicas: options.bootstrapReplicas ?? 200,
    cacheSampleEvery: oneOf(activations, options.cacheActivations ?? 2 ** 23),
    vocabularySampleEvery: oneOf(tokens, options.vocabularyTokens ?? 2 ** 19),
    columns: { tokens: columns.tokens, predictions: columns.predictions },
  };
}

/** One of how many samples makes about `wanted` of `all`; 0: none. */
function oneOf(all: number, wanted: number): number {
  return wanted === 0 ? 0 : Math.max(1, Math.ceil(all / wanted));
}

export function nearest(values: readonly number[], wanted: number): number {
  return values.reduce((best, value) => (Math.abs(value - wanted) < Math.abs(best - wanted) ? value : best));
}

function lengths(option: keyof LocalityOptions, values: readonly number[], sampleLength: number): number[] {
  if (values.length === 0) throw new LocalityOptionError(option, "Give at least one segment length.");
  for (const length of values)
    if (!Number.isInteger(length) || length < 1 || length > sampleLength)
      throw new LocalityOptionError(
        option,
        `A segment can have 1 to ${sampleLength} tokens (a sample's length), not ${length}.`,
      );
  return [...new Set(values)].sort((a, b) => a - b);
}

function ratios(values: readonly number[], most: number): number[] {
  if (values.length === 0) throw new LocalityOptionError("cacheRatios", "Give at least one cache ratio.");
  for (const ratio of values)
    if (!(ratio > 0) || ratio > most + 1e-9)
      throw new LocalityOptionError(
        "cacheRatios",
        `A cache ratio is above 0 and at most ${Number(most.toFixed(3))} here, where all experts fit; not ${ratio}.`,
      );
  return [...new Set(values)].sort((a, b) => a - b);
}
