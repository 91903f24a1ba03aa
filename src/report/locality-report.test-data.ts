/**
 * Made-up locality reports for tests and for looking at pages: figures of a published model, with experts, layers and domains
 * around them by a small generator with a fixed seed. Plausible, not measured.
 */
import { publishedRows } from "../locality/published.ts";
import type {
  BaselinedScore,
  CachePolicyName,
  CacheSeries,
  LocalityReport,
  PhaseReport,
  PublishedRow,
  ReportedPhase,
  TokenKind,
} from "../locality/report-data.ts";

export interface MadeUpReport {
  /** Key of the published model to start from. Default: "olmoe". */
  readonly key?: string;
  readonly domains?: readonly string[];
  readonly phases?: readonly ReportedPhase[];
  readonly vocabulary?: boolean;
  /** Text of the vocabulary's example tokens. */
  readonly tokenTexts?: readonly string[];
  readonly sampleLength?: number;
  /** Default: the published model's. */
  readonly layers?: number;
}

const DOMAINS = ["web", "books", "wikipedia", "arxiv", "code", "maths", "chat"];
const TOKEN_TEXTS = [" the", " of", "\n", " return", "ing", " =", " theorem", "<eos>", " Zürich", "のは"];
const RATIOS = [0.5, 1, 1.5, 2, 2.5, 3, 3.5];
const SEGMENTS = [4, 16, 64, 256];

export function madeUpReport(options: MadeUpReport = {}): LocalityReport {
  const key = options.key ?? "olmoe";
  const row = publishedRows(64, 8).find((row) => row.key === key)!;
  const self = { ...row, moeLayers: options.layers ?? row.moeLayers };
  const shape = { experts: self.experts, expertsUsed: self.expertsUsed, layers: self.moeLayers };
  const sampleLength = options.sampleLength ?? 512;
  return {
    format: "warmset-locality",
    schemaVersion: 1,
    model: {
      name: `${self.name} Q4_K_M`,
      architecture: "olmoe",
      hash: "3f1c6a0b7d2e4859a1b0c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718",
      tokenizerHash: null,
      experts: shape.experts,
      expertsUsed: shape.expertsUsed,
      sharedExperts: self.sharedExperts,
      moeBlocks: Array.from({ length: shape.layers }, (_, i) => i),
      blocks: shape.layers,
      expertBytes: Array.from({ length: shape.layers }, () => 3_932_160),
      scoring: "softmax",
    },
    recording: {
      recorder: "warmset 0.2.0",
      date: "2026-11-22T03:00:00Z",
      tokensFrom: ["forced"],
      start: "BOS added",
      notes: ["Weights are quantised to Q4_K_M."],
    },
    settings: {
      sampleLength,
      segmentLengths: SEGMENTS,
      headlineSegment: 16,
      cacheRatios: RATIOS,
      headlineRatio: 2,
      convention: "token/free",
      microBatches: "token",
      bootstrapReplicas: 200,
      confidence: 0.95,
    },
    phases: (options.phases ?? ["all"]).map((phase) => madeUpPhase(self, phase, options, sampleLength)),
    published: publishedRows(shape.experts, shape.expertsUsed),
    notes: [
      "Text is teacher-forced; generated text is more repetitive.",
      "Locality alone does not predict speed: disk, compute and overlap decide as well.",
    ],
  };
}

function madeUpPhase(self: PublishedRow, phase: ReportedPhase, options: MadeUpReport, length: number): PhaseReport {
  const random = randomNumbers(7);
  const names = options.domains ?? DOMAINS;
  const { experts: E, expertsUsed: k, moeLayers: L } = self;
  const rate = k / E;
  const jitter = (size: number) => size * (random() + random() + random() - 1.5);
  const matrix = <T>(cell: (layer: number, expert: number) => T) =>
    Array.from({ length: L }, (_, l) => Array.from({ length: E }, (_, e) => cell(l, e)));
  const raw = matrix(() => Math.exp(jitter(0.9)));
  const activationRate = raw.map((row) => row.map((x) => Math.min(0.98, (x * k) / row.reduce((a, b) => a + b, 0))));
  const cv = matrix(() => Math.max(0.02, 0.6 + jitter(0.5)));
  const srpOf = matrix((l, e) => Math.min(0.98, Math.max(0.1, 0.25 + 0.3 * cv[l][e] + jitter(0.12))));
  const several = names.length > 1;
  const samples = 64 * names.length;
  const score = (srp: number, iid: number, width = 0.006): BaselinedScore => ({
    srp,
    threshold: 5,
    idealCacheRatio: 1.06,
    activationRate: rate,
    srpIid: iid,
    srpGain: (srp - iid) / (1 - iid),
    interval: [srp - width, srp + width],
  });
  const caches = (policy: CachePolicyName, segmentLength: number | null): CacheSeries => {
    const points =
      policy === "sch"
        ? self.sch.find((sch) => sch.segmentLength === segmentLength)!.points
        : self.chr.find((chr) => chr.policy === policy)!.points;
    const hitRate = (ratio: number) => points.find(({ cacheRatio }) => cacheRatio === ratio)?.hitRate;
    const steepness = Math.log(1 - hitRate(2)!) / Math.log(1 - (2 * k) / E);
    const curve = (power: number) => Array.from({ length: E }, (_, c) => 1 - (1 - (c + 1) / E) ** power);
    return {
      policy,
      segmentLength,
      model: RATIOS.map((cacheRatio) => {
        const rate = (hitRate(cacheRatio) ?? curve(steepness)[cacheRatio * k - 1]) * 0.985;
        return {
          cacheRatio,
          cacheExperts: cacheRatio * k * L,
          cacheBytes: cacheRatio * k * L * 3_932_160,
          hitRate: rate,
          interval: [rate - 0.008, rate + 0.008] as const,
        };
      }),
      layerMean: curve(steepness),
      layers: Array.from({ length: L }, () => curve(steepness * (1 + jitter(0.1)))),
      domains: names.map((domain) => {
        const shift = 1 + jitter(0.12);
        return {
          domain,
          model: RATIOS.map((r) => curve(steepness * shift)[r * k - 1]),
          layerMean: curve(steepness * shift),
        };
      }),
    };
  };
  const transfer = (base: number) =>
    several ? names.map((_, a) => names.map((_, b) => (a === b ? 1 : base + 0.3 * Math.cos(a * 3 + b * 3)))) : [];
  const kind = (kind: TokenKind, mean: number) => ({
    kind,
    vocabulary: 4211,
    specialisation: mean,
    expertVs: matrix(() => (random() < 0.1 ? null : Math.max(0.05, mean + jitter(0.3)))),
    examples: Array.from({ length: 8 }, (_, i) => ({
      layer: i % L,
      expert: (i * 13) % E,
      specialisation: 0.96 - i * 0.03,
      assigned: 40 - i,
      tokens: (options.tokenTexts ?? TOKEN_TEXTS).map((text, t) => ({
        token: 200 + t,
        text,
        share: 0.99 - t * 0.02,
        occurrences: 900 - t * 50,
      })),
    })),
  });
  const weights = Array.from({ length: length - 1 }, (_, d) => 0.43 * 0.62 ** d + 0.9 / (d + 3) ** 2);
  const totalWeight = weights.reduce((a, b) => a + b, 0) * 1.06;
  const uses = samples * length * L * k;
  const at16 = self.srp.find(({ segmentLength }) => segmentLength === 16)!;
  return {
    phase,
    samples: {
      samples,
      tokens: samples * length,
      activations: uses,
      shortest: length,
      longest: length,
      byDomain: names.map((domain) => ({ domain, samples: 64, tokens: 64 * length, logPerplexity: 1.9 + jitter(0.5) })),
      logPerplexity: 1.86,
      cacheSampleEvery: 4,
      cacheSamples: samples / 4,
      cacheTokens: (samples / 4) * length,
    },
    verdict: {
      suits: at16.srpGain > 0.2 ? "well" : at16.srpGain > 0.1 ? "partly" : "poorly",
      headline: `${self.name} suits offloading as far as made-up figures tell: keep ${2 * k} of ${E} experts per layer.`,
      sentences: ["Routing stays with the same experts.", "A better policy than LRU is worth having."],
      knee: {
        cacheExperts: 2 * k,
        cacheRatio: 2,
        share: (2 * k) / E,
        cacheBytes: 2 * k * L * 3_932_160,
        lru: caches("lru", null).layerMean[2 * k - 1],
        belady: caches("belady", null).layerMean[2 * k - 1],
        sch: caches("sch", 16).layerMean[2 * k - 1],
        chance: (2 * k) / E,
      },
      nearestPublished: [self.key],
    },
    srp: self.srp.map(({ segmentLength, srp, srpIid }) => {
      const windows = Math.max(0, length - segmentLength + 1) * samples;
      if (windows === 0)
        return {
          segmentLength,
          windows,
          model: null,
          layers: [],
          domains: names.map(() => null),
          experts: null,
          positions: [],
        };
      return {
        segmentLength,
        windows,
        model: score(srp * 0.99, srpIid * 1.03),
        layers: Array.from({ length: L }, (_, l) =>
          score(srp + (self.srpByLayer[l] ?? at16.srp) - at16.srp, srpIid * (1.03 + jitter(0.02)), 0.012),
        ),
        domains: names.map((domain, d) => {
          const relative = several ? 0.11 * Math.sin(d * 2.1 + 1) : 0;
          return { domain, model: score(srp * (1 + relative), srpIid), layers: [], relative };
        }),
        experts: { srp: srpOf, threshold: matrix(() => 5), idealCacheRatio: matrix(() => 1) },
        positions: Array.from(
          { length: length - segmentLength + 1 },
          (_, p) => srp * (1 + (p === 0 ? 0.06 : 0) + jitter(0.01) - 0.02 * Math.exp(-p / 20)),
        ),
      };
    }),
    sch: SEGMENTS.map((m) => caches("sch", m)),
    chr: [caches("lru", null), caches("lfu", null), caches("belady", null)],
    load: {
      loadBalanceSd: self.loadBalanceSd ?? 0.05,
      layerSd: activationRate.map((row) => Math.sqrt(row.reduce((s, x) => s + (x - rate) ** 2, 0) / (E - 1))),
      activationRate,
      unusedExperts: 0,
    },
    domains: {
      names,
      specialisation: several ? 0.566 : null,
      expertCv: several ? cv : [],
      largestCv: Math.sqrt(names.length),
      activationTransfer: transfer(0.55),
      srpTransfer: transfer(0.62),
    },
    vocabulary:
      (options.vocabulary ?? true)
        ? {
            sampleEvery: 1,
            tokens: samples * length,
            smallestCount: 20,
            kinds: [kind("input", 0.417), kind("predicted", 0.32), kind("next", 0.285)],
          }
        : null,
    reuse: {
      overlap: 0.43,
      layerOverlap: Array.from({ length: L }, () => 0.43 + jitter(0.08)),
      domainOverlap: names.map(() => 0.43 + jitter(0.08)),
      distances: weights.map((w) => Math.round((w / totalWeight) * uses)),
      firstUses: Math.round(uses * 0.0566),
      medianDistance: 2,
      layerMedianDistance: Array.from({ length: L }, () => 2),
    },
    correlations: {
      srpDomainCv: several ? 0.676 : null,
      srpVocabulary: [
        { kind: "input", r: 0.187 },
        { kind: "predicted", r: 0.418 },
        { kind: "next", r: 0.428 },
      ],
      srpSch: RATIOS.map((cacheRatio) => ({ segmentLength: 16, cacheRatio, r: several ? 0.95 : null })),
      schChr: (["lru", "lfu", "belady"] as const).map((policy) => ({
        segmentLength: 16,
        policy,
        r: several ? 0.97 : null,
      })),
    },
  };
}

/** mulberry32 */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
