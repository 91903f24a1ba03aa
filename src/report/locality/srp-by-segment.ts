/** Figure: SRP and the ideal cache ratio against the segment's length, before the published models. */
import { numberColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { countText, intervalText, percentText, ratioText } from "../number-text.ts";
import { comparedCurve, type PublishedCurve, percentPoint, publishedText } from "./published-lines.ts";
import { figureId, measuredSegments, routingSource, type Subject } from "./subject.ts";

export function srpBySegmentFigure(subject: Subject): Figure | undefined {
  const segments = measuredSegments(subject);
  if (segments.length < 2) return undefined;
  const lengths = segments.map(({ segmentLength }) => segmentLength);
  const x = {
    title: "segment length m (tokens)",
    domain: [lengths[0], lengths.at(-1)!] as const,
    scale: "log" as const,
    ticks: lengths,
    tickText: String,
  };
  const compared = (value: (score: { srp: number; idealCacheRatio: number }) => number): PublishedCurve[] =>
    subject.report.published.map((row) => ({
      row,
      points: row.srp
        .filter(({ segmentLength }) => segmentLength >= lengths[0] && segmentLength <= lengths.at(-1)!)
        .map((score) => ({ x: score.segmentLength, y: value(score) })),
    }));
  const [first, last] = [segments[0], segments.at(-1)!];
  const ratios = compared(({ idealCacheRatio }) => idealCacheRatio);
  const own = segments.map(({ segmentLength, model }) => ({ x: segmentLength, y: model.idealCacheRatio }));
  const highestRatio = Math.max(...[...own, ...ratios.flatMap(({ points }) => points)].map(({ y }) => y));
  return figure({
    id: figureId(subject, "srp-by-segment"),
    title: "Consistency against segment length",
    description: `Two line charts against segment length. SRP of this trace goes from ${percentText(first.model.srp)} at m = ${first.segmentLength} to ${percentText(last.model.srp)} at m = ${last.segmentLength}; the ideal cache ratio from ${ratioText(first.model.idealCacheRatio)} to ${ratioText(last.model.idealCacheRatio)}. Published models stand behind.`,
    caption: `SRP: how well one choice of experts serves m tokens in a row. Ideal cache ratio: how many experts that choice holds, in multiples of k. ${publishedText(subject.report.published)} Published values are of 512 given tokens of eleven domains; the published quantisation and texts differ from this trace's.`,
    source: routingSource(subject),
    columns: 2,
    charts: [
      (panel) =>
        comparedCurve(panel, {
          heading: "SRP",
          x,
          y: { title: "%", domain: [0, 100] },
          ours: segments.map(({ segmentLength, model }) => percentPoint(segmentLength, model.srp, model.interval)),
          reference: {
            name: "memoryless",
            points: segments.map(({ segmentLength, model }) => ({ x: segmentLength, y: 100 * model.srpIid })),
          },
          published: compared(({ srp }) => 100 * srp),
        }),
      (panel) =>
        comparedCurve(panel, {
          heading: "Ideal cache ratio",
          x,
          y: { title: "multiples of k experts", domain: [0, Math.ceil(highestRatio)] },
          ours: own,
          published: ratios,
        }),
    ],
    table: {
      caption: "SRP of the model by segment length",
      columns: [
        numberColumn("m (tokens)"),
        numberColumn("SRP"),
        numberColumn("Interval"),
        numberColumn("Memoryless"),
        numberColumn("Gain"),
        numberColumn("Threshold (activations)"),
        numberColumn("Ideal cache ratio"),
        numberColumn("Windows"),
      ],
      rows: segments.map(({ segmentLength, model, windows }) => [
        String(segmentLength),
        percentText(model.srp),
        intervalText(model.interval),
        percentText(model.srpIid),
        ratioText(model.srpGain),
        String(model.threshold),
        ratioText(model.idealCacheRatio),
        countText(windows),
      ]),
    },
  });
}
