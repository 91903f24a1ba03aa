/**
 * The figures of one variant: locality, cache hits, balance, and, where text was given, how far its predictions lie from the
 * base's. Names and meanings here; sums in `document-sums.ts`, judgement in `ship-gates.ts`.
 */
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import { variationOf } from "../gate-metrics.ts";
import type { CacheCell } from "./cache-cells.ts";
import { MOST_LAGS, type SumColumns } from "./document-sums.ts";
import { compare, type Measured, measure, totalsOf } from "./measured.ts";

export interface CacheFigure extends CacheCell {
  readonly hitRate: Measured;
  /** Experts that are read per token, over all layers. */
  readonly missesPerToken: Measured;
  /** The same times the bytes of an expert. */
  readonly bytesPerToken: number;
  /** Misses per token over the base's, less 1; null of the base itself. */
  readonly missesChange: Measured | null;
}

export interface LocalityFigures {
  readonly documents: number;
  readonly tokens: number;
  /** Mean over layers of the share of a token's experts that the token before used too. */
  readonly eor: Measured;
  /** Over the base's, less 1; null of the base itself. */
  readonly eorChange: Measured | null;
  readonly layerEor: readonly number[];
  /** [lag - 1]: probability that an expert in use was in use so many tokens before. */
  readonly reuseAtLag: readonly Measured[];
  readonly caches: readonly CacheFigure[];
  /** Mean over layers of the standard deviation over the mean of the experts' uses. */
  readonly loadCv: number;
  /** Mean over layers of the entropy of the experts' uses, over that of even use. */
  readonly usageEntropy: number;
  /** Of segments of 16 tokens, over all layers; null where documents are shorter. */
  readonly srp: number | null;
  /** Uses of the least used expert over an even share, in the layer where it is smallest. */
  readonly leastUse: number;
  /** Mean of the experts of a layer that are used in 2,048 tokens, or in all where there are fewer. */
  readonly distinctExperts: number;
  /** Share of the text's runs of four tokens that were there before. */
  readonly repetition: number;
}

/** Of given text, against the base on the same tokens. */
export interface DriftFigures {
  /** Tokens with a next one. */
  readonly predictions: number;
  readonly perplexity: Measured;
  /** Over the base's, less 1. */
  readonly perplexityChange: Measured;
  /** KL(base || variant) of the next token's distribution, nats a token. */
  readonly meanKl: Measured;
  readonly p99Kl: number;
  readonly maxKl: number;
  /** Share of tokens whose likeliest next one is the base's. */
  readonly topAgreement: Measured;
  /** KL of the gate from the frozen one on the same input, nats a token and layer; null where the graph does not show it. */
  readonly trustKl: Measured | null;
  readonly keptMass: Measured | null;
  readonly choiceAgreement: Measured | null;
}

/** Documents' sums of one variant. */
export interface VariantSums {
  readonly columns: SumColumns;
  readonly rows: readonly Float64Array[];
  /** `[layers][experts]` */
  readonly uses: Float64Array;
  /** Mean over layers and pieces of 2,048 tokens (or all, where there are fewer) of the experts that are used. */
  readonly distinctExperts: number;
  /** SRP of 16 tokens; null where documents are shorter. */
  readonly srp: number | null;
}

export interface FiguresContext {
  readonly shape: RoutingShape;
  readonly cells: readonly CacheCell[];
  /** Mean bytes of an expert. */
  readonly expertBytes: number;
}

export function localityFigures(
  own: VariantSums,
  base: VariantSums | undefined,
  { shape, cells, expertBytes }: FiguresContext,
): LocalityFigures {
  const { columns: at } = own;
  const totals = totalsOf(own.rows, at.width);
  const baseTotals = base && totalsOf(base.rows, at.width);
  const { layers } = shape;
  const eor = (sums: Float64Array) => {
    let sum = 0;
    for (let layer = 0; layer < layers; layer++) sum += sums[at.overlap + layer] / sums[at.overlapUses + layer];
    return sum / layers;
  };
  const change = (figure: (sums: Float64Array) => number) =>
    baseTotals === undefined ? null : compare(totals, baseTotals, (a, b) => figure(a) / figure(b) - 1);
  return {
    documents: own.rows.length,
    tokens: totals.all[at.tokens],
    eor: measure(totals, eor),
    eorChange: change(eor),
    layerEor: Array.from(
      { length: layers },
      (_, layer) => totals.all[at.overlap + layer] / totals.all[at.overlapUses + layer],
    ),
    reuseAtLag: Array.from({ length: MOST_LAGS }, (_, i) =>
      measure(totals, (sums) => sums[at.reused + i] / sums[at.reusable + i]),
    ),
    caches: cells.map((cell, i) => {
      const misses = (sums: Float64Array) => (sums[at.uses] - sums[at.hits + i]) / sums[at.tokens];
      const missesPerToken = measure(totals, misses);
      return {
        ...cell,
        hitRate: measure(totals, (sums) => sums[at.hits + i] / sums[at.uses]),
        missesPerToken,
        bytesPerToken: missesPerToken.value * expertBytes,
        missesChange: change(misses),
      };
    }),
    loadCv: meanLoadCv(own.uses, shape),
    usageEntropy: meanUsageEntropy(own.uses, shape),
    srp: own.srp,
    leastUse: leastUse(own.uses, shape),
    distinctExperts: own.distinctExperts,
    repetition: totals.all[at.repetition] / totals.all[at.documents],
  };
}

/** @param kls of all predictions, in any order */
export function driftFigures(own: VariantSums, base: VariantSums, kls: Float32Array): DriftFigures {
  const { columns: at } = own;
  const totals = totalsOf(own.rows, at.width);
  const baseTotals = totalsOf(base.rows, at.width);
  const perplexity = (sums: Float64Array) => Math.exp(sums[at.loss] / sums[at.predictions]);
  const perDecision = (column: number) =>
    totals.all[at.decisions] === 0 ? null : measure(totals, (sums) => sums[column] / sums[at.decisions]);
  const sorted = Float32Array.from(kls).sort();
  return {
    predictions: totals.all[at.predictions],
    perplexity: measure(totals, perplexity),
    perplexityChange: compare(totals, baseTotals, (a, b) => perplexity(a) / perplexity(b) - 1),
    meanKl: measure(totals, (sums) => sums[at.kl] / sums[at.predictions]),
    p99Kl: sorted[Math.floor(0.99 * (sorted.length - 1))] ?? 0,
    maxKl: sorted.at(-1) ?? 0,
    topAgreement: measure(totals, (sums) => sums[at.sameTop] / sums[at.predictions]),
    trustKl: perDecision(at.trustKl),
    keptMass: perDecision(at.keptMass),
    choiceAgreement: perDecision(at.agreement),
  };
}

function leastUse(uses: Float64Array, { layers, experts }: RoutingShape): number {
  let least = Number.POSITIVE_INFINITY;
  for (let layer = 0; layer < layers; layer++) {
    const own = uses.subarray(layer * experts, (layer + 1) * experts);
    const mean = own.reduce((sum, count) => sum + count, 0) / experts;
    if (mean > 0) least = Math.min(least, Math.min(...own) / mean);
  }
  return least;
}

function meanUsageEntropy(uses: Float64Array, { layers, experts }: RoutingShape): number {
  let sum = 0;
  for (let layer = 0; layer < layers; layer++) {
    const own = uses.subarray(layer * experts, (layer + 1) * experts);
    const all = own.reduce((total, count) => total + count, 0);
    for (const count of own) if (count > 0) sum -= (count / all) * Math.log(count / all);
  }
  return sum / layers / Math.log(experts);
}

function meanLoadCv(uses: Float64Array, { layers, experts }: RoutingShape): number {
  let sum = 0;
  for (let layer = 0; layer < layers; layer++)
    sum += variationOf(uses.subarray(layer * experts, (layer + 1) * experts));
  return sum / layers;
}
