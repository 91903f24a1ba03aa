/** From summed hits to hit rates: a cache over all layers at some sizes, and a cache per layer at every size. */
import type { AnalysisPlan, PlannedPolicy } from "./analysis-plan.ts";
import { basicInterval, FEWEST_SAMPLES } from "./bootstrap.ts";
import { cacheBytesOf, cacheExpertsOf } from "./cache-sizes.ts";
import { mean, meanOfKnown } from "./correlation.ts";
import type { DomainSums } from "./phase-sums.ts";
import type { CachePoint, CacheSeries, Interval } from "./report-data.ts";

type NamedDomains = readonly (readonly [name: string, sums: DomainSums])[];

/** In the order of the plan's policies. */
export function cacheSeries(plan: AnalysisPlan, domains: NamedDomains, hasSizes: boolean): CacheSeries[] {
  return plan.policies.map((planned, index) => oneSeries(plan, domains, hasSizes, planned, index));
}

function oneSeries(
  plan: AnalysisPlan,
  domains: NamedDomains,
  hasSizes: boolean,
  { policy, segmentLength }: PlannedPolicy,
  index: number,
): CacheSeries {
  const { shape, cacheRatios } = plan;
  const curves = domains.map(([, sums]) => layerCurves(plan, sums, index));
  const layers = Array.from({ length: shape.layers }, (_, layer) => meanCurve(curves.map((domain) => domain[layer])));
  const byDomain = domains.map(([, sums]) => cacheRatios.map((_, r) => modelRate(plan, sums, index, r)));
  return {
    policy,
    segmentLength,
    model: cacheRatios.flatMap((ratio, r): CachePoint[] => {
      const hitRate = meanOfKnown(byDomain.map((rates) => rates[r]));
      if (hitRate === null) return [];
      return [{ ...sizeOf(plan, ratio, hasSizes), hitRate, interval: rateInterval(plan, domains, index, r, hitRate) }];
    }),
    layerMean: meanCurve(layers),
    layers,
    domains: domains.map(([domain], d) => ({
      domain,
      model: byDomain[d],
      layerMean: meanCurve(curves[d]),
    })),
  };
}

function sizeOf({ shape, convention, expertBytes }: AnalysisPlan, cacheRatio: number, hasSizes: boolean) {
  const { layers, expertsUsed } = shape;
  const bytes = cacheBytesOf(cacheRatio, expertBytes, expertsUsed);
  const meanBytes = mean(expertBytes);
  const cacheExperts =
    convention === "token/free"
      ? cacheExpertsOf(cacheRatio, layers, expertsUsed)
      : Math.min(layers * shape.experts, Math.floor(bytes / meanBytes + 1e-9));
  const used = convention === "token/free" ? Math.round(cacheExperts * meanBytes) : Math.floor(bytes);
  return { cacheRatio, cacheExperts, cacheBytes: hasSizes ? used : null };
}

function modelRate(
  { cacheRatios }: AnalysisPlan,
  { modelHits, modelLookups }: DomainSums,
  policy: number,
  ratio: number,
): number | null {
  return modelLookups === 0 ? null : modelHits[policy * cacheRatios.length + ratio] / modelLookups;
}

function rateInterval(
  { policies, cacheRatios, bootstrapReplicas }: AnalysisPlan,
  domains: NamedDomains,
  policy: number,
  ratio: number,
  rate: number,
): Interval | null {
  if (domains.reduce((sum, [, { cacheSamples }]) => sum + cacheSamples, 0) < FEWEST_SAMPLES) return null;
  const at = policy * cacheRatios.length + ratio;
  const replicas = Array.from({ length: bootstrapReplicas }, (_, b) =>
    meanOfKnown(
      domains.map(([, { replicaHits, replicaLookups }]) =>
        replicaLookups[b] === 0 ? null : replicaHits[b * policies.length * cacheRatios.length + at] / replicaLookups[b],
      ),
    ),
  );
  return basicInterval(
    rate,
    replicas.filter((value) => value !== null),
  );
}

/** [layer][C - 1]; null for a layer that no token used. */
export function layerCurves({ shape }: AnalysisPlan, { stackHits, stackLookups }: DomainSums, policy: number) {
  return Array.from({ length: shape.layers }, (_, layer) => {
    const lookups = stackLookups[layer];
    if (lookups === 0) return null;
    const at = (policy * shape.layers + layer) * shape.experts;
    let hits = 0;
    return Array.from({ length: shape.experts }, (_, d) => {
      hits += stackHits[at + d];
      return hits / lookups;
    });
  });
}

function meanCurve(curves: readonly (readonly number[] | null)[]): number[] {
  const known = curves.filter((curve) => curve !== null);
  return (known[0] ?? []).map((_, i) => mean(known.map((curve) => curve[i])));
}
