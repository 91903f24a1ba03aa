/** From the sums of one phase to its report. */
import type { AnalysisPlan } from "./analysis-plan.ts";
import { cacheSeries } from "./cache-report.ts";
import { correlationReport } from "./correlation-report.ts";
import { domainReport } from "./domain-specialisation.ts";
import { activationRates, loadReport } from "./load-balance.ts";
import type { DomainSums, PhaseSums } from "./phase-sums.ts";
import type { PhaseReport, ReportedPhase, SampleCounts, VocabularyReport } from "./report-data.ts";
import { reuseReport } from "./reuse.ts";
import { LOSS_UNITS } from "./sample-analyzer.ts";
import { expertScores, segmentReports } from "./segment-report.ts";
import { SMALLEST_COUNT, type TokenText, vocabularyKinds } from "./vocabulary.ts";

export interface PhaseReportOptions {
  /** Whether the experts' sizes are known. */
  readonly hasSizes: boolean;
  /** Text of a token id. Default: none. */
  readonly tokenText?: TokenText;
}

/** Everything but the verdict, which needs the published values too. */
export function phaseReport(
  plan: AnalysisPlan,
  phase: ReportedPhase,
  sums: PhaseSums,
  { hasSizes, tokenText }: PhaseReportOptions,
): Omit<PhaseReport, "verdict"> {
  const named = [...sums.domains].sort(([a], [b]) => (a < b ? -1 : 1));
  const srp = segmentReports(plan, sums, named);
  const series = cacheSeries(plan, named, hasSizes);
  const sch = series.filter(({ policy }) => policy === "sch");
  const chr = series.filter(({ policy }) => policy !== "sch");
  const tokens = named.reduce((sum, [, domain]) => sum + domain.tokens, 0);
  const uses = Float64Array.from(named[0][1].uses, (_, i) =>
    named.reduce((sum, [, domain]) => sum + domain.uses[i], 0),
  );
  const domains = domainReport(
    named.map(([name, domain]) => ({
      name,
      activationRate: activationRates(domain.uses, domain.tokens, plan.shape),
      srp: headlineSrp(plan, domain),
    })),
  );
  const vocabulary = vocabularyReport(plan, sums, tokenText);
  return {
    phase,
    samples: sampleCounts(plan, sums, named, uses),
    srp,
    sch,
    chr,
    load: loadReport(activationRates(uses, tokens, plan.shape)),
    domains,
    vocabulary,
    reuse: reuseReport({
      domains: named.map(([, domain]) => domain),
      distances: sums.distances,
      layers: plan.shape.layers,
    }),
    correlations: correlationReport(plan, { srp, sch, chr, domains, vocabulary }, named),
  };
}

function sampleCounts(
  plan: AnalysisPlan,
  { shortest, longest }: PhaseSums,
  named: readonly (readonly [string, DomainSums])[],
  uses: Float64Array,
): SampleCounts {
  const sum = (field: "samples" | "tokens" | "loss" | "lossTokens" | "cacheSamples" | "cacheTokens") =>
    named.reduce((total, [, domain]) => total + domain[field], 0);
  return {
    samples: sum("samples"),
    tokens: sum("tokens"),
    activations: uses.reduce((total, count) => total + count, 0),
    shortest,
    longest,
    byDomain: named.map(([domain, counts]) => ({
      domain,
      samples: counts.samples,
      tokens: counts.tokens,
      logPerplexity: meanLoss(counts.loss, counts.lossTokens),
    })),
    logPerplexity: meanLoss(sum("loss"), sum("lossTokens")),
    cacheSampleEvery: plan.cacheSampleEvery,
    cacheSamples: sum("cacheSamples"),
    cacheTokens: sum("cacheTokens"),
  };
}

function meanLoss(loss: number, tokens: number): number | null {
  return tokens === 0 ? null : loss / LOSS_UNITS / tokens;
}

function headlineSrp(plan: AnalysisPlan, { headline }: DomainSums): number[][] | undefined {
  if (!headline.some((count) => count > 0)) return undefined;
  return expertScores(headline, plan, plan.headlineSegment).map((row) => row.map(({ srp }) => srp));
}

function vocabularyReport(plan: AnalysisPlan, { vocabulary }: PhaseSums, text?: TokenText): VocabularyReport | null {
  const kinds = vocabularyKinds(vocabulary, plan.shape, text);
  if (kinds.length === 0) return null;
  return {
    sampleEvery: plan.vocabularySampleEvery,
    tokens: vocabulary.reduce((sum, { tokens }) => sum + tokens.length, 0),
    smallestCount: SMALLEST_COUNT,
    kinds,
  };
}
