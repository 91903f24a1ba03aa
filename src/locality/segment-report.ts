/** From summed histograms to SRP at every level, with what a memoryless router would score beside it. */
import type { AnalysisPlan } from "./analysis-plan.ts";
import { basicInterval, FEWEST_SAMPLES } from "./bootstrap.ts";
import { activationRates } from "./load-balance.ts";
import { binsOf, type DomainSums, type PhaseSums } from "./phase-sums.ts";
import type { BaselinedScore, DomainSegment, ExpertSegments, Interval, SegmentReport } from "./report-data.ts";
import { memorylessScore, segmentScore, srpGain } from "./srp.ts";

/** In the order of the plan's segment lengths. */
export function segmentReports(
  plan: AnalysisPlan,
  sums: PhaseSums,
  domains: readonly (readonly [name: string, sums: DomainSums])[],
): SegmentReport[] {
  let from = 0;
  return plan.segmentLengths.map((segmentLength, index) => {
    const report = segmentReport(plan, sums, domains, { segmentLength, index, from });
    from += segmentLength + 1;
    return report;
  });
}

/** Where the histograms of one segment length are among those of all. */
interface SegmentPlace {
  readonly segmentLength: number;
  readonly index: number;
  /** First of its bins among a layer's. */
  readonly from: number;
}

function segmentReport(
  plan: AnalysisPlan,
  sums: PhaseSums,
  domains: readonly (readonly [name: string, sums: DomainSums])[],
  place: SegmentPlace,
): SegmentReport {
  const { segmentLength, index } = place;
  const { shape } = plan;
  const counts = domains.map(([, domain]) => layerCounts(plan, domain.segments, place));
  const layers = addAll(counts);
  const windows = total(layers[0]) / shape.experts;
  if (windows === 0)
    return {
      segmentLength,
      windows,
      model: null,
      layers: [],
      domains: domains.map(() => null),
      experts: null,
      positions: [],
    };
  const uses = Float64Array.from(domains[0][1].uses, (_, i) =>
    domains.reduce((sum, [, domain]) => sum + domain.uses[i], 0),
  );
  const tokens = domains.reduce((sum, [, domain]) => sum + domain.tokens, 0);
  const rates = activationRates(uses, tokens, shape);
  const samples = domains.reduce((sum, [, domain]) => sum + domain.samples, 0);
  const intervals = samples < FEWEST_SAMPLES ? undefined : replicaIntervals(plan, sums.replicaSegments, place, layers);
  const model = baselined(addRows(layers), segmentLength, rates.flat(), intervals?.model ?? null);
  return {
    segmentLength,
    windows,
    model,
    layers: layers.map((row, layer) => baselined(row, segmentLength, rates[layer], intervals?.layers[layer] ?? null)),
    domains: domains.map(([name, domain], d) => domainSegment(name, domain, counts[d], plan, segmentLength, model.srp)),
    experts: expertSegments(plan, sums, domains, segmentLength, index),
    positions: positionScores(sums.positions[index], segmentLength, sums.longest),
  };
}

/** [layer][m + 1] out of [layer][all bins], from the block of a replica if need be. */
function layerCounts(
  plan: AnalysisPlan,
  segments: Float64Array,
  { segmentLength, from }: SegmentPlace,
  base = 0,
): Float64Array[] {
  const bins = binsOf(plan);
  return Array.from({ length: plan.shape.layers }, (_, layer) => {
    const at = base + layer * bins + from;
    return segments.subarray(at, at + segmentLength + 1);
  });
}

function domainSegment(
  name: string,
  { uses, tokens }: DomainSums,
  layers: readonly Float64Array[],
  { shape }: AnalysisPlan,
  segmentLength: number,
  modelSrp: number,
): DomainSegment | null {
  if (total(layers[0]) === 0) return null;
  const rates = activationRates(uses, tokens, shape).flat();
  const model = baselined(addRows(layers), segmentLength, rates, null);
  return {
    domain: name,
    model,
    layers: layers.map((row) => segmentScore(row, segmentLength)),
    relative: modelSrp === 0 ? 0 : (model.srp - modelSrp) / modelSrp,
  };
}

function baselined(
  counts: Float64Array,
  segmentLength: number,
  rates: readonly number[],
  interval: Interval | null,
): BaselinedScore {
  const score = segmentScore(counts, segmentLength);
  const srpIid = memorylessScore(rates, segmentLength).srp;
  return { ...score, srpIid, srpGain: srpGain(score.srp, srpIid), interval };
}

interface SegmentIntervals {
  readonly model: Interval | null;
  readonly layers: readonly (Interval | null)[];
}

function replicaIntervals(
  plan: AnalysisPlan,
  replicaSegments: Float64Array,
  place: SegmentPlace,
  layers: readonly Float64Array[],
): SegmentIntervals {
  const { segmentLength } = place;
  const size = plan.shape.layers * binsOf(plan);
  const replicas = Array.from({ length: plan.bootstrapReplicas }, (_, b) =>
    layerCounts(plan, replicaSegments, place, b * size),
  );
  const srp = (counts: Float64Array) => segmentScore(counts, segmentLength).srp;
  return {
    model: basicInterval(
      srp(addRows(layers)),
      replicas.map((rows) => srp(addRows(rows))),
    ),
    layers: layers.map((row, layer) =>
      basicInterval(
        srp(row),
        replicas.map((rows) => srp(rows[layer])),
      ),
    ),
  };
}

function expertSegments(
  plan: AnalysisPlan,
  sums: PhaseSums,
  domains: readonly (readonly [name: string, sums: DomainSums])[],
  segmentLength: number,
  index: number,
): ExpertSegments {
  const counts =
    segmentLength === plan.headlineSegment
      ? addRows(domains.map(([, { headline }]) => headline))
      : sums.expertSegments[index];
  const scores = expertScores(counts, plan, segmentLength);
  return {
    srp: scores.map((row) => row.map(({ srp }) => srp)),
    threshold: scores.map((row) => row.map(({ threshold }) => threshold)),
    idealCacheRatio: scores.map((row) => row.map(({ idealCacheRatio }) => idealCacheRatio)),
  };
}

/**
 * Of each expert by itself, [layer][expert].
 * @param counts [L][E][m + 1]
 */
export function expertScores(counts: ArrayLike<number>, { shape }: AnalysisPlan, segmentLength: number) {
  return Array.from({ length: shape.layers }, (_, layer) =>
    Array.from({ length: shape.experts }, (_, expert) =>
      segmentScore(counts, segmentLength, (layer * shape.experts + expert) * (segmentLength + 1)),
    ),
  );
}

/** SRP of the windows that start at 0, 1, 2, ... */
function positionScores(differences: Float64Array, segmentLength: number, longest: number): number[] {
  const bins = segmentLength + 1;
  const counts = new Float64Array(bins);
  return Array.from({ length: Math.max(0, longest - segmentLength + 1) }, (_, start) => {
    for (let c = 0; c < bins; c++) counts[c] += differences[start * bins + c];
    return segmentScore(counts, segmentLength).srp;
  });
}

function addAll(matrices: readonly (readonly Float64Array[])[]): Float64Array[] {
  return matrices[0].map((_, row) => addRows(matrices.map((matrix) => matrix[row])));
}

function addRows(rows: readonly (Float64Array | Uint32Array)[]): Float64Array {
  const sum = Float64Array.from(rows[0]);
  for (const row of rows.slice(1)) for (let i = 0; i < row.length; i++) sum[i] += row[i];
  return sum;
}

function total(counts: Float64Array): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
