/** Which of the metrics go together: over experts, over layers and domains, over cache sizes. */
import type { AnalysisPlan } from "./analysis-plan.ts";
import { layerCurves } from "./cache-report.ts";
import { pearson } from "./correlation.ts";
import type { DomainSums } from "./phase-sums.ts";
import type { CacheSeries, CorrelationReport, DomainReport, SegmentReport, VocabularyReport } from "./report-data.ts";

export interface Correlated {
  readonly srp: readonly SegmentReport[];
  readonly sch: readonly CacheSeries[];
  readonly chr: readonly CacheSeries[];
  readonly domains: DomainReport;
  readonly vocabulary: VocabularyReport | null;
}

export function correlationReport(
  plan: AnalysisPlan,
  { srp, sch, chr, domains, vocabulary }: Correlated,
  named: readonly (readonly [name: string, sums: DomainSums])[],
): CorrelationReport {
  const headline = srp.find(({ segmentLength }) => segmentLength === plan.headlineSegment);
  const expertSrp = headline?.experts?.srp.flat() ?? [];
  return {
    srpDomainCv: pearson(expertSrp, domains.expertCv.flat()),
    srpVocabulary: (vocabulary?.kinds ?? []).map(({ kind, expertVs }) => ({
      kind,
      r: pearson(expertSrp, expertVs.flat()),
    })),
    srpSch: plan.policies.flatMap(({ segmentLength }, policy) => {
      const segment = srp.find((one) => one.segmentLength === segmentLength);
      if (segmentLength === null || segment === undefined) return [];
      const curves = named.map(([, sums]) => layerCurves(plan, sums, policy));
      return plan.cacheRatios.map((cacheRatio) => ({
        segmentLength,
        cacheRatio,
        r: srpWithSch(segment, curves, Math.floor(cacheRatio * plan.shape.expertsUsed + 1e-9)),
      }));
    }),
    schChr: sch.flatMap(({ segmentLength, domains: segmentCaches }) =>
      chr.flatMap(({ policy, domains: caches }) =>
        segmentLength === null || policy === "sch"
          ? []
          : [{ segmentLength, policy, r: pearson(allRates(segmentCaches), allRates(caches)) }],
      ),
    ),
  };
}

/** Over layers and domains. */
function srpWithSch(
  { domains }: SegmentReport,
  curves: readonly (readonly (readonly number[] | null)[])[],
  cacheExperts: number,
): number | null {
  if (cacheExperts < 1) return null;
  const srp = domains.flatMap((domain, d) => curves[d].map((_, layer) => domain?.layers[layer]?.srp ?? null));
  const sch = curves.flatMap((layers) => layers.map((curve) => curve?.[cacheExperts - 1] ?? null));
  return pearson(srp, sch);
}

function allRates(domains: CacheSeries["domains"]): (number | null)[] {
  return domains.flatMap(({ model }) => model);
}
