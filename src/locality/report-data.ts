/**
 * What an analysis of a routing trace comes to, as plain data: the document that `warmset locality --json` prints and that
 * the HTML report and its figures are made of. Types only; the metrics are defined in `docs/locality.md`.
 *
 * Shares and rates are 0..1, ratios are multiples of k experts, lengths are tokens. null: not defined for this trace (no
 * window of that length, one domain only, no token ids). Matrices are [layer][expert]; a layer is an index into `moeBlocks`.
 */

export interface LocalityReport {
  readonly format: "warmset-locality";
  readonly schemaVersion: 1;
  readonly model: ReportedModel;
  readonly recording: ReportedRecording;
  readonly settings: ReportedSettings;
  /** One entry, or prefill and decode apart. Never empty. */
  readonly phases: readonly PhaseReport[];
  /** Published models, most alike first: those of the same k/E, then by nearness of k/E. */
  readonly published: readonly PublishedRow[];
  /** What a reader of any figure here has to know, one sentence each. */
  readonly notes: readonly string[];
}

export interface ReportedModel {
  readonly name: string;
  readonly architecture: string;
  readonly hash: string | null;
  readonly tokenizerHash: string | null;
  /** E, routed experts per layer. */
  readonly experts: number;
  /** k, experts that a token uses per layer. */
  readonly expertsUsed: number;
  readonly sharedExperts: number | null;
  /** Block number of each MoE layer, from 0. */
  readonly moeBlocks: readonly number[];
  /** Blocks of the whole model. */
  readonly blocks: number | null;
  /** Bytes of one expert by MoE layer. */
  readonly expertBytes: readonly number[];
  readonly scoring: string | null;
}

export interface ReportedRecording {
  readonly recorder: string;
  /** ISO 8601. */
  readonly date: string;
  readonly tokensFrom: readonly ("forced" | "generated")[];
  readonly start: string | null;
  readonly notes: readonly string[];
}

/**
 * `token/free`: the paper's; all experts of a token are looked up before any is inserted, first uses are hits while the cache
 * has room. `layer/miss`: what a runtime sees; layer by layer, first uses are misses, sizes in bytes.
 */
export type CacheConvention = "token/free" | "layer/miss";

/**
 * Of `layer/miss`. "token": each token is a forward pass of its own, as in decoding. "recorded": the trace's micro-batches,
 * one look-up per distinct expert.
 */
export type MicroBatches = "token" | "recorded";

export type ReportedPhase = "all" | "prefill" | "decode";

export interface ReportedSettings {
  /** T: longer samples are cut into pieces of this many tokens. */
  readonly sampleLength: number;
  /** m, ascending. */
  readonly segmentLengths: readonly number[];
  /** The m that per-expert comparisons use: 16, or the nearest to it. */
  readonly headlineSegment: number;
  /** Cache sizes of the model level, as multiples of L*k experts, ascending. */
  readonly cacheRatios: readonly number[];
  /** The ratio that comparisons use: 2, or the nearest to it. */
  readonly headlineRatio: number;
  readonly convention: CacheConvention;
  readonly microBatches: MicroBatches;
  /** Replicas of the Poisson bootstrap; 0: no intervals. */
  readonly bootstrapReplicas: number;
  /** 0.95 */
  readonly confidence: number;
}

export interface PhaseReport {
  /** "all": prefill and decode of a sample together. */
  readonly phase: ReportedPhase;
  readonly samples: SampleCounts;
  readonly verdict: Verdict;
  /** By segment length, in the order of `settings.segmentLengths`. */
  readonly srp: readonly SegmentReport[];
  /** Segment caches: one entry per segment length. */
  readonly sch: readonly CacheSeries[];
  /** LRU, LFU, Belady. */
  readonly chr: readonly CacheSeries[];
  readonly load: LoadReport;
  readonly domains: DomainReport;
  /** null when the trace has no token ids, or too few of each. */
  readonly vocabulary: VocabularyReport | null;
  readonly reuse: ReuseReport;
  readonly correlations: CorrelationReport;
}

export interface SampleCounts {
  /** Samples after cutting. */
  readonly samples: number;
  readonly tokens: number;
  /** Expert uses: tokens x layers x k where every layer uses k. */
  readonly activations: number;
  /** T of the samples. */
  readonly shortest: number;
  readonly longest: number;
  readonly byDomain: readonly DomainCounts[];
  /** Mean natural log loss of the true next token; null when the trace has none. Not comparable between tokenizers. */
  readonly logPerplexity: number | null;
  /** The caches over all layers are simulated on one of n samples, spread evenly over the trace; 0: not at all. */
  readonly cacheSampleEvery: number;
  readonly cacheSamples: number;
  readonly cacheTokens: number;
}

export interface DomainCounts {
  readonly domain: string;
  readonly samples: number;
  readonly tokens: number;
  readonly logPerplexity: number | null;
}

/** Lower and upper bound of the basic bootstrap. */
export type Interval = readonly [low: number, high: number];

export interface SegmentScore {
  /** SRP: the best F1 of a router that decides for a whole segment. */
  readonly srp: number;
  /** alpha: an expert belongs to the segment's group from this many activations on. */
  readonly threshold: number;
  /** Experts that this router holds, as a multiple of k. */
  readonly idealCacheRatio: number;
  readonly activationRate: number;
}

export interface BaselinedScore extends SegmentScore {
  /** SRP of a memoryless router with the same activation rate of each expert (ours). */
  readonly srpIid: number;
  /** (srp - srpIid) / (1 - srpIid) (ours). */
  readonly srpGain: number;
  readonly interval: Interval | null;
}

export interface SegmentReport {
  /** m */
  readonly segmentLength: number;
  /** Windows per layer and expert; 0: no sample is long enough, and everything below is null or empty. */
  readonly windows: number;
  readonly model: BaselinedScore | null;
  /** [layer] */
  readonly layers: readonly BaselinedScore[];
  /** By domain, in the order of `samples.byDomain`; null: no window. */
  readonly domains: readonly (DomainSegment | null)[];
  readonly experts: ExpertSegments | null;
  /** Model SRP of the windows that start at position 0, 1, 2, ... of a sample. */
  readonly positions: readonly number[];
}

export interface DomainSegment {
  readonly domain: string;
  readonly model: BaselinedScore;
  /** [layer] */
  readonly layers: readonly SegmentScore[];
  /** (SRP of the domain - SRP of all) / SRP of all. */
  readonly relative: number;
}

/** Each matrix [layer][expert]; an unused expert has SRP 0 and ratio 0. */
export interface ExpertSegments {
  readonly srp: readonly (readonly number[])[];
  readonly threshold: readonly (readonly number[])[];
  readonly idealCacheRatio: readonly (readonly number[])[];
}

export type CachePolicyName = "lru" | "lfu" | "belady" | "sch";

export interface CacheSeries {
  readonly policy: CachePolicyName;
  /** m of `sch`; null for the others. */
  readonly segmentLength: number | null;
  /** One cache for all layers, at `settings.cacheRatios`; mean over domains. Empty when these were not simulated. */
  readonly model: readonly CachePoint[];
  /** A cache per layer of C = 1..E experts ([C-1]), mean over domains and layers: the whole curve. */
  readonly layerMean: readonly number[];
  /** [layer][C-1], mean over domains. */
  readonly layers: readonly (readonly number[])[];
  readonly domains: readonly DomainCaches[];
}

export interface CachePoint {
  /** C / (L*k) */
  readonly cacheRatio: number;
  /** C, rounded down; with `layer/miss`, where sizes are bytes, the experts of mean size that fit. */
  readonly cacheExperts: number;
  /** null when the experts' sizes are unknown. */
  readonly cacheBytes: number | null;
  readonly hitRate: number;
  readonly interval: Interval | null;
}

export interface DomainCaches {
  readonly domain: string;
  /** Model-level hit rate by `settings.cacheRatios`; null: no sample of the domain was simulated. */
  readonly model: readonly (number | null)[];
  /** [C-1], mean over layers. */
  readonly layerMean: readonly number[];
}

export interface LoadReport {
  /** LB: standard deviation of the activation rates of all experts of the model (a share). 0: uniform. */
  readonly loadBalanceSd: number;
  /** [layer] */
  readonly layerSd: readonly number[];
  /** The heat map: share of tokens that use an expert, [layer][expert]. */
  readonly activationRate: readonly (readonly number[])[];
  /** Experts that no token used. */
  readonly unusedExperts: number;
}

export interface DomainReport {
  readonly names: readonly string[];
  /** CV of an expert's activation rate over domains, mean over experts; null with one domain. */
  readonly specialisation: number | null;
  /** [layer][expert]; null where the expert is not used. Empty with one domain. */
  readonly expertCv: readonly (readonly (number | null)[])[];
  /** Largest CV that this number of domains allows: the square root of it. */
  readonly largestCv: number;
  /** Pearson over experts between two domains, of activation rates: [domain][domain]; null where undefined. Empty with one domain. */
  readonly activationTransfer: readonly (readonly (number | null)[])[];
  /** The same of the experts' SRP at the headline segment. */
  readonly srpTransfer: readonly (readonly (number | null)[])[];
}

export type TokenKind = "input" | "predicted" | "next";

export interface VocabularyReport {
  /** Counted on one of n samples, so that memory stays bounded. */
  readonly sampleEvery: number;
  readonly tokens: number;
  /** Occurrences that a token id needs to count. */
  readonly smallestCount: number;
  /** "predicted" is missing where the trace has no predictions. */
  readonly kinds: readonly VocabularyKind[];
}

export interface VocabularyKind {
  readonly kind: TokenKind;
  /** Token ids with enough occurrences. */
  readonly vocabulary: number;
  /** VS, mean over the experts that have tokens. */
  readonly specialisation: number;
  /** [layer][expert]; null: no token is assigned to the expert. */
  readonly expertVs: readonly (readonly (number | null)[])[];
  /** The most specialised experts first. */
  readonly examples: readonly ExpertVocabulary[];
}

export interface ExpertVocabulary {
  readonly layer: number;
  readonly expert: number;
  readonly specialisation: number;
  /** Token ids that are assigned to the expert. */
  readonly assigned: number;
  /** Highest share first, 15 at most. */
  readonly tokens: readonly ExpertToken[];
}

export interface ExpertToken {
  readonly token: number;
  /** Its text, where a vocabulary was given. */
  readonly text: string | null;
  /** Share of its occurrences whose best expert in that layer is this one. */
  readonly share: number;
  readonly occurrences: number;
}

export interface ReuseReport {
  /** Expert overlap ratio: mean share of a token's experts that the token before used too; mean over layers. */
  readonly overlap: number | null;
  /** [layer] */
  readonly layerOverlap: readonly (number | null)[];
  /** By domain, in the order of `samples.byDomain`; mean over layers. */
  readonly domainOverlap: readonly (number | null)[];
  /** [d-1]: expert uses whose expert was last used d tokens before, all layers. */
  readonly distances: readonly number[];
  /** Uses of an expert for the first time in a sample. */
  readonly firstUses: number;
  /** Median distance of the uses that are not first ones. */
  readonly medianDistance: number | null;
  /** [layer] */
  readonly layerMedianDistance: readonly (number | null)[];
}

export interface CorrelationReport {
  /** Pearson over experts of SRP at the headline segment and domain CV. */
  readonly srpDomainCv: number | null;
  /** Pearson over experts of SRP at the headline segment and VS. */
  readonly srpVocabulary: readonly { readonly kind: TokenKind; readonly r: number | null }[];
  /** Pearson over (layer, domain) of SRP and SCH of a layer's cache, by m and cache ratio. */
  readonly srpSch: readonly {
    readonly segmentLength: number;
    readonly cacheRatio: number;
    readonly r: number | null;
  }[];
  /** Pearson over (domain, cache ratio) at model level, by m and policy; pooling over sizes inflates it. */
  readonly schChr: readonly {
    readonly segmentLength: number;
    readonly policy: "lru" | "lfu" | "belady";
    readonly r: number | null;
  }[];
}

export interface Verdict {
  /** "unknown": too little was measured, or there is nothing to offload; the headline says which. */
  readonly suits: "well" | "partly" | "poorly" | "unknown";
  /** One sentence: does it suit offloading, how big should the cache be. */
  readonly headline: string;
  /** The reasons and limits, one plain sentence each. */
  readonly sentences: readonly string[];
  /** The cache that gains most over one that holds experts by chance. */
  readonly knee: Knee;
  /** Keys of the published models of the same k/E whose SRP is nearest, nearest first. */
  readonly nearestPublished: readonly string[];
}

/** A size on the layer-level curves. */
export interface Knee {
  /** C, experts per layer. */
  readonly cacheExperts: number;
  /** C / k */
  readonly cacheRatio: number;
  /** C / E */
  readonly share: number;
  /** C experts in each layer; null when the experts' sizes are unknown. */
  readonly cacheBytes: number | null;
  readonly lru: number;
  readonly belady: number;
  /** At the headline segment. */
  readonly sch: number | null;
  /** What a memoryless router would hit: C / E. */
  readonly chance: number;
}

/** A published model's figures (arXiv 2505.16056): 512 given tokens, convention `token/free`, mean over eleven domains. */
export interface PublishedRow {
  readonly key: string;
  readonly name: string;
  readonly experts: number;
  readonly expertsUsed: number;
  readonly sharedExperts: number;
  readonly moeLayers: number;
  /** The paper's group, 1 (most consistent) to 4. */
  readonly group: number | null;
  /** Same k/E as the traced model. */
  readonly sameShare: boolean;
  readonly loadBalanceSd: number | null;
  readonly srp: readonly {
    readonly segmentLength: number;
    readonly srp: number;
    readonly idealCacheRatio: number;
    readonly srpIid: number;
    /** Over a memoryless router with k/E for all experts. */
    readonly srpGain: number;
  }[];
  readonly sch: readonly { readonly segmentLength: number; readonly points: readonly PublishedPoint[] }[];
  readonly chr: readonly { readonly policy: "lru" | "lfu" | "belady"; readonly points: readonly PublishedPoint[] }[];
  /** At m = 16 by MoE layer. */
  readonly srpByLayer: readonly number[];
  /** Model means and their correlation with the experts' SRP. */
  readonly domainCv: { readonly mean: number; readonly r: number } | null;
  readonly vocabulary: readonly { readonly kind: TokenKind; readonly mean: number; readonly r: number }[];
}

export interface PublishedPoint {
  readonly cacheRatio: number;
  readonly hitRate: number;
}
