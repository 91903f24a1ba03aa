/**
 * Counts one sample after the other into sums: the one place that knows which metric is computed on what. It owns all
 * scratch memory, so nothing is allocated per token; one analyzer per thread.
 */
import type { TraceSample } from "../trace/trace.ts";
import type { AnalysisPlan, PlannedPolicy } from "./analysis-plan.ts";
import { drawWeights } from "./bootstrap.ts";
import { cacheBytesOf, cacheExpertsOf } from "./cache-sizes.ts";
import { type ExpertSequence, makeSequence, readAllLayers, readLayer } from "./expert-sequence.ts";
import { countUses } from "./layer-uses.ts";
import { lruCaches, makeLruScratch } from "./lru-caches.ts";
import { binsOf, type DomainSums, emptyDomainSums, emptyPhaseSums, type PhaseSums } from "./phase-sums.ts";
import { beladyKeys, lfuKeys, makeKeys, type PriorityKeys, schKeys } from "./priority-keys.ts";
import { makeRankedScratch, rankedCaches } from "./ranked-caches.ts";
import type { ReportedPhase } from "./report-data.ts";
import { makeRuntimeScratch, readBatches, runtimeHits } from "./runtime-caches.ts";
import { isChosen, type SamplePiece, samplePieces } from "./sample-pieces.ts";
import { countSegments, makeSegmentScratch } from "./srp-histograms.ts";
import { lruCurve, makeStackScratch, rankedCurve } from "./stack-curves.ts";
import { vocabularyPiece } from "./vocabulary-piece.ts";

/** A domain costs about as much memory as the model has experts; a trace with a label per document would fill it. */
export const MOST_DOMAINS = 128;

export class TooManyDomainsError extends Error {
  override readonly name = "TooManyDomainsError";

  constructor() {
    super(
      `The trace has more than ${MOST_DOMAINS} domains. Give files that belong together the same label when recording it.`,
    );
  }
}

export type SumsByPhase = Map<ReportedPhase, PhaseSums>;

export class SampleAnalyzer {
  readonly sums: SumsByPhase = new Map();
  readonly #plan: AnalysisPlan;
  readonly #layer: ExpertSequence;
  readonly #model: ExpertSequence;
  readonly #segmentScratch;
  readonly #stackScratch;
  readonly #lruScratch;
  readonly #rankedScratch;
  readonly #runtimeScratch;
  readonly #layerKeys: PriorityKeys;
  readonly #modelKeys: PriorityKeys;
  readonly #perExpert: Int32Array;
  readonly #batchOf: Int32Array;
  readonly #bytesOf: Float64Array;
  readonly #hitsAt: Int32Array;
  readonly #hitsByLevel: Float64Array;
  /** [L][all bins] of the sample at hand. */
  readonly #segments: Int32Array;
  readonly #weights: Uint8Array;
  readonly #bins: number;

  constructor(plan: AnalysisPlan) {
    const { layers, experts, expertsUsed } = plan.shape;
    const { sampleLength } = plan;
    const allExperts = layers * experts;
    this.#plan = plan;
    this.#bins = binsOf(plan);
    this.#layer = makeSequence(experts, sampleLength, expertsUsed);
    this.#model = makeSequence(allExperts, sampleLength * layers, expertsUsed);
    this.#segmentScratch = makeSegmentScratch(experts);
    this.#stackScratch = makeStackScratch(experts);
    this.#lruScratch = makeLruScratch(allExperts);
    this.#rankedScratch = makeRankedScratch(allExperts);
    this.#runtimeScratch = makeRuntimeScratch(allExperts);
    this.#layerKeys = makeKeys(sampleLength * expertsUsed);
    this.#modelKeys = makeKeys(sampleLength * layers * expertsUsed);
    this.#perExpert = new Int32Array(allExperts);
    this.#batchOf = new Int32Array(experts);
    this.#bytesOf = Float64Array.from({ length: allExperts }, (_, id) => plan.expertBytes[Math.floor(id / experts)]);
    this.#hitsAt = new Int32Array(experts + 1);
    this.#hitsByLevel = new Float64Array(plan.cacheSizes.length);
    this.#segments = new Int32Array(layers * this.#bins);
    this.#weights = new Uint8Array(plan.bootstrapReplicas);
  }

  /** @throws TraceError for rows that make no sense, TooManyDomainsError */
  add(sample: TraceSample): void {
    drawWeights(this.#weights, sample.sample);
    for (const piece of samplePieces(sample, this.#plan.sampleLength, this.#plan.phase)) this.#addPiece(piece);
  }

  #addPiece(piece: SamplePiece): void {
    const { shape, cacheSampleEvery, vocabularySampleEvery, columns, convention } = this.#plan;
    let phase = this.sums.get(piece.phase);
    if (phase === undefined) {
      phase = emptyPhaseSums(this.#plan);
      this.sums.set(piece.phase, phase);
    }
    const domain = this.#domain(phase, piece.sample.domain);
    const tokens = piece.end - piece.begin;
    domain.samples++;
    domain.tokens += tokens;
    phase.shortest = Math.min(phase.shortest, tokens);
    phase.longest = Math.max(phase.longest, tokens);
    addLoss(domain, piece);
    for (let layer = 0; layer < shape.layers; layer++) {
      readLayer(this.#layer, piece, layer, shape);
      this.#countUses(phase, domain, piece, layer);
      this.#countSegments(phase, domain, layer);
      if (convention === "layer/miss")
        readBatches(this.#layer, piece, shape, { from: layer, to: layer + 1 }, this.#plan.microBatches, this.#batchOf);
      this.#layerCurves(domain, layer);
    }
    this.#addReplicas(phase);
    if (isChosen(piece, cacheSampleEvery)) this.#modelCaches(domain, piece);
    if (columns.tokens && isChosen(piece, vocabularySampleEvery)) {
      const vocabulary = vocabularyPiece(piece, shape);
      if (vocabulary !== undefined) phase.vocabulary.push(vocabulary);
    }
  }

  #domain({ domains }: PhaseSums, name: string): DomainSums {
    let domain = domains.get(name);
    if (domain === undefined) {
      if (domains.size >= MOST_DOMAINS) throw new TooManyDomainsError();
      domain = emptyDomainSums(this.#plan);
      domains.set(name, domain);
    }
    return domain;
  }

  #countUses(phase: PhaseSums, domain: DomainSums, piece: SamplePiece, layer: number): void {
    const { experts } = this.#plan.shape;
    const { tokens, starts } = this.#layer;
    domain.overlap[layer] += countUses(
      this.#layer,
      {
        uses: domain.uses,
        usesAt: layer * experts,
        distances: phase.distances,
        distancesAt: layer * this.#plan.sampleLength,
      },
      this.#perExpert,
      piece,
      layer,
    );
    domain.overlapUses[layer] += starts[tokens] - starts[1];
  }

  #countSegments(phase: PhaseSums, domain: DomainSums, layer: number): void {
    const { shape, segmentLengths, headlineSegment } = this.#plan;
    const base = layer * this.#bins;
    this.#segments.fill(0, base, base + this.#bins);
    let totalAt = base;
    for (let i = 0; i < segmentLengths.length; i++) {
      const length = segmentLengths[i];
      const isHeadline = length === headlineSegment;
      countSegments(
        this.#layer,
        length,
        {
          byExpert: isHeadline ? domain.headline : phase.expertSegments[i],
          expertsAt: layer * shape.experts * (length + 1),
          total: this.#segments,
          totalAt,
          positions: phase.positions[i],
          positionsAt: 0,
        },
        this.#segmentScratch,
      );
      totalAt += length + 1;
    }
    for (let i = base; i < base + this.#bins; i++) domain.segments[i] += this.#segments[i];
  }

  #layerCurves(domain: DomainSums, layer: number): void {
    const { shape, policies, convention } = this.#plan;
    const warmUp = convention === "token/free" ? "free" : "miss";
    const hitsAt = this.#hitsAt;
    domain.stackLookups[layer] += this.#layer.starts[this.#layer.tokens];
    for (let i = 0; i < policies.length; i++) {
      hitsAt.fill(0);
      if (policies[i].policy === "lru") {
        lruCurve(this.#layer, hitsAt, warmUp, this.#stackScratch);
      } else {
        this.#fillKeys(this.#layerKeys, policies[i], this.#layer, 1);
        rankedCurve(this.#layer, this.#layerKeys, hitsAt, warmUp, this.#stackScratch);
      }
      const at = (i * shape.layers + layer) * shape.experts;
      for (let depth = 0; depth < shape.experts; depth++) domain.stackHits[at + depth] += hitsAt[depth];
    }
  }

  /** @param batchesPerToken what the sequence has for one token: with `layer/miss` over all layers one per layer */
  #fillKeys(
    keys: PriorityKeys,
    { policy, segmentLength }: PlannedPolicy,
    sequence: ExpertSequence,
    batchesPerToken: number,
  ): void {
    if (policy === "lfu") lfuKeys(keys, sequence, this.#perExpert);
    else if (policy === "belady") beladyKeys(keys, sequence, this.#perExpert);
    else schKeys(keys, sequence, (segmentLength ?? 1) * batchesPerToken, this.#perExpert);
  }

  #modelCaches(domain: DomainSums, piece: SamplePiece): void {
    const { shape, policies, cacheRatios, convention, microBatches } = this.#plan;
    const sequence = this.#model;
    if (convention === "token/free") readAllLayers(sequence, piece, shape);
    else readBatches(sequence, piece, shape, { from: 0, to: shape.layers }, microBatches, this.#batchOf);
    const lookups = sequence.starts[sequence.tokens];
    domain.cacheSamples++;
    domain.cacheTokens += piece.end - piece.begin;
    domain.modelLookups += lookups;
    const weights = this.#weights;
    for (let b = 0; b < weights.length; b++) domain.replicaLookups[b] += weights[b] * lookups;
    const columns = policies.length * cacheRatios.length;
    for (let i = 0; i < policies.length; i++) {
      const hits = convention === "token/free" ? this.#nestedHits(policies[i]) : this.#runtimeHits(policies[i]);
      for (let r = 0; r < cacheRatios.length; r++) {
        const at = i * cacheRatios.length + r;
        domain.modelHits[at] += hits[r];
        for (let b = 0; b < weights.length; b++) domain.replicaHits[b * columns + at] += weights[b] * hits[r];
      }
    }
  }

  /** Hits by cache ratio under `token/free`. */
  #nestedHits(planned: PlannedPolicy): number[] {
    const { shape, cacheRatios, cacheSizes } = this.#plan;
    const byLevel = this.#hitsByLevel.fill(0);
    if (planned.policy === "lru") {
      lruCaches(this.#model, cacheSizes, byLevel, this.#lruScratch);
    } else {
      this.#fillKeys(this.#modelKeys, planned, this.#model, 1);
      rankedCaches(this.#model, this.#modelKeys, cacheSizes, byLevel, this.#rankedScratch);
    }
    return cacheRatios.map((ratio) => {
      const size = cacheExpertsOf(ratio, shape.layers, shape.expertsUsed);
      return cacheSizes.reduce((sum, C, level) => (C <= size ? sum + byLevel[level] : sum), 0);
    });
  }

  /** Hits by cache ratio under `layer/miss`. */
  #runtimeHits(planned: PlannedPolicy): number[] {
    const { shape, cacheRatios, expertBytes } = this.#plan;
    const keys = planned.policy === "lru" ? undefined : this.#modelKeys;
    if (keys !== undefined) this.#fillKeys(keys, planned, this.#model, shape.layers);
    return cacheRatios.map((ratio) =>
      runtimeHits(
        this.#model,
        keys,
        cacheBytesOf(ratio, expertBytes, shape.expertsUsed),
        this.#bytesOf,
        this.#runtimeScratch,
      ),
    );
  }

  #addReplicas({ replicaSegments }: PhaseSums): void {
    const segments = this.#segments;
    for (let b = 0, at = 0; b < this.#weights.length; b++, at += segments.length) {
      const weight = this.#weights[b];
      if (weight === 0) continue;
      for (let i = 0; i < segments.length; i++) replicaSegments[at + i] += weight * segments[i];
    }
  }
}

/** 2^-20 nats are far below what the model's arithmetic resolves, and whole numbers add up the same in any order. */
export const LOSS_UNITS = 2 ** 20;

function addLoss(domain: DomainSums, { sample: { loss }, begin, end }: SamplePiece): void {
  if (loss === undefined) return;
  for (let t = begin; t < end; t++) {
    if (Number.isNaN(loss[t])) continue;
    domain.loss += Math.round(loss[t] * LOSS_UNITS);
    domain.lossTokens++;
  }
}
