/** Figures of domains: how consistency and hits differ between them, and whether what one domain teaches holds for another. */
import { bars } from "../bars.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { countText, percentText, ratioText, signedPercentText } from "../number-text.ts";
import { figureId, headlineSegment, modelCacheSource, type Subject } from "./subject.ts";

export function domainBarsFigure(subject: Subject): Figure | undefined {
  const { phase, report } = subject;
  const main = headlineSegment(subject);
  if (main === undefined || phase.domains.names.length < 2) return undefined;
  const at = report.settings.cacheRatios.indexOf(report.settings.headlineRatio);
  const lru = phase.chr.find(({ policy }) => policy === "lru");
  const rows = main.domains
    .flatMap((domain) => (domain === null ? [] : [domain]))
    .map((domain) => ({
      ...domain,
      hitRate: lru?.domains.find((one) => one.domain === domain.domain)?.model[at] ?? null,
      counts: phase.samples.byDomain.find((one) => one.domain === domain.domain),
    }))
    .sort((a, b) => b.relative - a.relative);
  if (rows.length === 0) return undefined;
  const [best, worst] = [rows[0], rows.at(-1)!];
  const hits = rows.filter(({ hitRate }) => hitRate !== null);
  const ratio = report.settings.headlineRatio;
  return figure({
    id: figureId(subject, "domains"),
    title: "Domains",
    description: `Bars by domain. SRP is highest for ${best.domain} (${signedPercentText(best.relative)} against all text) and lowest for ${worst.domain} (${signedPercentText(worst.relative)}).`,
    caption: `Consistency: SRP at m = ${main.segmentLength} of each domain, relative to that of all text (${percentText(main.model.srp)}).${hits.length === 0 ? "" : ` Cache: hit rate of LRU with one cache for all layers at ratio ${ratio}.`} Expect a cache to do best on ${best.domain} and worst on ${worst.domain}.`,
    source: modelCacheSource(subject),
    columns: hits.length === 0 ? 1 : 2,
    charts: [
      (panel) =>
        bars(panel, {
          heading: "Consistency",
          title: "SRP against all text (%)",
          bars: rows.map(({ domain, relative }) => ({
            name: domain,
            value: relative,
            text: signedPercentText(relative),
          })),
        }),
      ...(hits.length === 0
        ? []
        : [
            (panel: Parameters<typeof bars>[0]) =>
              bars(panel, {
                heading: "Cache",
                title: `hit rate of LRU at ratio ${ratio} (%)`,
                bars: hits.map(({ domain, hitRate }) => ({
                  name: domain,
                  value: hitRate ?? 0,
                  text: percentText(hitRate),
                })),
              }),
          ]),
    ],
    table: {
      caption: "Domains",
      columns: [
        textColumn("Domain"),
        numberColumn("Samples"),
        numberColumn("Tokens"),
        numberColumn(`SRP, m = ${main.segmentLength}`),
        numberColumn("Against all"),
        numberColumn("Memoryless"),
        numberColumn(`LRU at ratio ${ratio}`),
        numberColumn("Overlap with the token before"),
        numberColumn("Log perplexity"),
      ],
      rows: rows.map(({ domain, model, relative, hitRate, counts }) => [
        domain,
        countText(counts?.samples ?? 0),
        countText(counts?.tokens ?? 0),
        percentText(model.srp),
        signedPercentText(relative),
        percentText(model.srpIid),
        percentText(hitRate),
        percentText(phase.reuse.domainOverlap[phase.samples.byDomain.findIndex((one) => one.domain === domain)]),
        ratioText(counts?.logPerplexity, 3),
      ]),
    },
  });
}
