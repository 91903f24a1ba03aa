/** Figures: hit rates of one cache for all layers against its size and against the segment's length, before the published models. */
import type { CacheSeries, PublishedRow } from "../../locality/report-data.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { bytesText, countText, intervalText, percentText, ratioText } from "../number-text.ts";
import { comparedCurve, type PublishedCurve, percentPoint, publishedText } from "./published-lines.ts";
import { figureId, measuredSegments, modelCacheSource, POLICY_NAMES, type Subject } from "./subject.ts";

export function cachePublishedFigure(subject: Subject): Figure | undefined {
  const { phase, report } = subject;
  const m = report.settings.headlineSegment;
  const series = [...phase.sch.filter(({ segmentLength }) => segmentLength === m), ...phase.chr].filter(
    ({ model }) => model.length > 1,
  );
  if (series.length === 0) return undefined;
  const ratios = report.settings.cacheRatios;
  const at = report.settings.headlineRatio;
  const said = series.map((one) => `${percentText(hitRateAt(one, at))} (${seriesName(one)})`).join(", ");
  return figure({
    id: figureId(subject, "cache-against-published"),
    title: "One cache for all layers, beside published models",
    description: `Four line charts of hit rate by cache size, one per policy. At ${ratioText(at, 1)} times the active experts: ${said}.`,
    caption: `A cache of ratio 1 holds as many experts as one token uses in all layers. At ratio ${at}: ${said}. ${backgroundText(subject)}`,
    source: modelCacheSource(subject),
    columns: 2,
    charts: series.map(
      (one) => (panel) =>
        comparedCurve(panel, {
          heading: seriesName(one),
          x: {
            title: "cache size / active experts",
            domain: [ratios[0], ratios.at(-1)!],
            ticks: ratios.filter((ratio) => Number.isInteger(2 * ratio)),
            tickText: String,
          },
          y: { title: "hit rate (%)", domain: [0, 100] },
          ours: one.model.map(({ cacheRatio, hitRate, interval }) => percentPoint(cacheRatio, hitRate, interval)),
          published: background(subject, (row) => publishedPoints(row, one)),
        }),
    ),
    table: {
      caption: "Hit rate of one cache for all layers",
      columns: [
        textColumn("Policy"),
        numberColumn("Cache ratio"),
        numberColumn("Experts"),
        numberColumn("Bytes"),
        numberColumn("Hit rate"),
        numberColumn("Interval"),
      ],
      rows: [...phase.chr, ...phase.sch].flatMap((one) =>
        one.model.map(({ cacheRatio, cacheExperts, cacheBytes, hitRate, interval }) => [
          seriesName(one),
          ratioText(cacheRatio, 1),
          countText(cacheExperts),
          bytesText(cacheBytes),
          percentText(hitRate),
          intervalText(interval),
        ]),
      ),
    },
  });
}

export function schBySegmentFigure(subject: Subject): Figure | undefined {
  const { phase, report } = subject;
  const lengths = measuredSegments(subject).map(({ segmentLength }) => segmentLength);
  const series = phase.sch.filter(
    ({ segmentLength, model }) => lengths.includes(segmentLength ?? 0) && model.length > 0,
  );
  if (series.length < 2) return undefined;
  const at = report.settings.headlineRatio;
  const ratios = [...new Set([report.settings.cacheRatios.find((ratio) => ratio === 1) ?? at, at])];
  const own = (ratio: number) =>
    series.flatMap(({ segmentLength, model }) =>
      model
        .filter(({ cacheRatio }) => cacheRatio === ratio)
        .map(({ hitRate, interval }) => percentPoint(segmentLength!, hitRate, interval)),
    );
  return figure({
    id: figureId(subject, "sch-by-segment"),
    title: "What foresight is worth",
    description: `Line charts of SCH against segment length, at cache ratio ${ratios.map((ratio) => ratioText(ratio, 1)).join(" and ")}: ${series.map((one) => `${percentText(hitRateAt(one, at))} at m = ${one.segmentLength}`).join(", ")} (ratio ${at}).`,
    caption: `SCH is the hit rate of a cache that keeps what the next m tokens use most. Looking ahead pays up to some distance; beyond it the far future crowds out the near one. ${backgroundText(subject)}`,
    source: modelCacheSource(subject),
    columns: 2,
    charts: ratios.map(
      (ratio) => (panel) =>
        comparedCurve(panel, {
          heading: `SCH at cache ratio ${ratio}`,
          x: {
            title: "segment length m (tokens)",
            domain: [series[0].segmentLength!, series.at(-1)!.segmentLength!],
            scale: "log",
            ticks: series.map(({ segmentLength }) => segmentLength!),
            tickText: String,
          },
          y: { title: "hit rate (%)", domain: [0, 100] },
          ours: own(ratio),
          published: background(subject, (row) =>
            row.sch.flatMap(({ segmentLength, points }) => {
              const point = points.find(({ cacheRatio }) => cacheRatio === ratio);
              return point === undefined || !lengths.includes(segmentLength)
                ? []
                : [{ x: segmentLength, y: 100 * point.hitRate }];
            }),
          ),
        }),
    ),
    table: {
      caption: "SCH by segment length and cache ratio",
      columns: [
        numberColumn("m (tokens)"),
        ...report.settings.cacheRatios.map((ratio) => numberColumn(`ratio ${ratio}`)),
      ],
      rows: series.map((one) => [
        String(one.segmentLength),
        ...report.settings.cacheRatios.map((ratio) => percentText(hitRateAt(one, ratio))),
      ]),
    },
  });
}

/** The published curves, where they are of the same convention: figures of two conventions never share a chart. */
function background(subject: Subject, points: (row: PublishedRow) => PublishedCurve["points"]): PublishedCurve[] {
  const { published, settings } = subject.report;
  return settings.convention === "token/free" ? published.map((row) => ({ row, points: points(row) })) : [];
}

function backgroundText({ report, phase }: Subject): string {
  const length =
    phase.samples.longest === 512
      ? ""
      : ` Published samples have 512 tokens, these ${phase.samples.longest} at most: with free first uses shorter samples are hit more often.`;
  return report.settings.convention === "token/free"
    ? `${publishedText(report.published)}${length}`
    : `Published values are not shown: they are of the convention token/free, these of ${report.settings.convention}.`;
}

function publishedPoints(row: PublishedRow, { policy, segmentLength }: CacheSeries): PublishedCurve["points"] {
  const found =
    policy === "sch"
      ? row.sch.find((sch) => sch.segmentLength === segmentLength)
      : row.chr.find((chr) => chr.policy === policy);
  return (found?.points ?? []).map(({ cacheRatio, hitRate }) => ({ x: cacheRatio, y: 100 * hitRate }));
}

function hitRateAt({ model }: CacheSeries, ratio: number): number | undefined {
  return model.find(({ cacheRatio }) => cacheRatio === ratio)?.hitRate;
}

export function seriesName({ policy, segmentLength }: CacheSeries): string {
  return segmentLength === null ? POLICY_NAMES[policy] : `${POLICY_NAMES[policy]}, m = ${segmentLength}`;
}
