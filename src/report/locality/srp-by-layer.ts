/** Figure: SRP of each MoE layer, for all segment lengths, before a memoryless router. */
import * as Plot from "@observablehq/plot";
import { percentCeiling, wholeTicks } from "../axis-ticks.ts";
import { chart } from "../chart.ts";
import { numberColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { intervalText, percentText, ratioText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import {
  confidenceText,
  figureId,
  type MeasuredSegment,
  measuredSegments,
  routingSource,
  type Subject,
} from "./subject.ts";

export function srpByLayerFigure(subject: Subject): Figure | undefined {
  const segments = measuredSegments(subject).filter(({ layers }) => layers.length > 0);
  const main = segments.find(({ segmentLength }) => segmentLength === subject.report.settings.headlineSegment);
  if (main === undefined) return undefined;
  const blocks = subject.report.model.moeBlocks;
  const { experts, expertsUsed } = subject.report.model;
  const m = main.segmentLength;
  const points = main.layers.map((score, layer) => ({ block: blocks[layer], ...score }));
  const lowest = lowerBound(expertsUsed / experts);
  const last = blocks.at(-1)!;
  const colour = (segment: MeasuredSegment) => (segment === main ? PALETTE.subject.light : PALETTE.related.light);
  const labels = [
    ...segments.map((segment) => ({
      x: last,
      y: 100 * segment.layers.at(-1)!.srp,
      text: `m = ${segment.segmentLength}`,
      colour: colour(segment),
      bold: segment === main,
    })),
    { x: last, y: 100 * points.at(-1)!.srpIid, text: "memoryless", colour: PALETTE.muted.light },
    { x: last, y: 100 * lowest, text: "always all", colour: PALETTE.muted.light },
  ];
  const top = percentCeiling(Math.max(...segments.flatMap(({ layers }) => layers.map(({ srp }) => srp)), 0.2));
  const sorted = [...points].sort((a, b) => a.srp - b.srp);
  const [weakest, strongest] = [sorted[0], sorted.at(-1)!];
  return figure({
    id: figureId(subject, "srp-by-layer"),
    title: "Consistency by layer",
    description: `Line chart of SRP by MoE block. At m = ${m} it runs from ${percentText(weakest.srp)} in block ${weakest.block} to ${percentText(strongest.srp)} in block ${strongest.block}.`,
    caption:
      `SRP of each MoE layer for segments of m tokens; 100 % means that the experts never change inside a segment. The dashed line is a memoryless router with the same use of each expert at m = ${m}: only what lies above it helps a cache. "Always all" is the least that SRP can be.${main.layers.some(({ interval }) => interval !== null) ? ` The band is the ${confidenceText(subject.report)} at m = ${m}.` : ""} ${blocks.length > 1 ? `Block ${strongest.block} is the steadiest (${percentText(strongest.srp)}), block ${weakest.block} the least steady (${percentText(weakest.srp)}).` : ""}`.trim(),
    source: routingSource(subject),
    charts: [
      (panel) =>
        chart(panel, {
          plotHeight: panel.narrow ? 240 : 270,
          x: {
            title: "MoE block",
            domain: blocks.length > 1 ? [blocks[0], last] : [blocks[0] - 1, last + 1],
            ticks: wholeTicks(blocks[0], last, panel.narrow ? 7 : 14),
            tickText: String,
          },
          y: { title: "SRP (%)", domain: [0, top] },
          marginRight: labelMargin(labels),
          marks: [
            Plot.ruleY([100 * lowest], { stroke: PALETTE.muted.light, strokeDasharray: "1 3" }),
            Plot.areaY(
              points.filter(({ interval }) => interval !== null),
              {
                x: "block",
                y1: (point) => 100 * point.interval[0],
                y2: (point) => 100 * point.interval[1],
                fill: PALETTE.subject.light,
                fillOpacity: 0.18,
              },
            ),
            Plot.line(points, {
              x: "block",
              y: (point) => 100 * point.srpIid,
              stroke: PALETTE.muted.light,
              strokeDasharray: "4 3",
              strokeWidth: 1.4,
            }),
            ...segments.flatMap((segment) => {
              const own = segment.layers.map(({ srp }, layer) => ({ x: blocks[layer], y: 100 * srp }));
              const stroke = colour(segment);
              return [
                Plot.line(own, { x: "x", y: "y", stroke, strokeWidth: segment === main ? 2.4 : 1.4 }),
                segment === main || blocks.length === 1
                  ? Plot.dot(own, { x: "x", y: "y", r: 2.5, fill: stroke })
                  : null,
              ];
            }),
            lineLabels(labels),
          ],
        }),
    ],
    table: {
      caption: "SRP by MoE block",
      columns: [
        numberColumn("Block"),
        ...segments.map(({ segmentLength }) => numberColumn(`SRP, m = ${segmentLength}`)),
        numberColumn(`Interval, m = ${m}`),
        numberColumn(`Memoryless, m = ${m}`),
        numberColumn(`Gain, m = ${m}`),
        numberColumn(`Ideal cache ratio, m = ${m}`),
      ],
      rows: blocks.map((block, layer) => [
        String(block),
        ...segments.map(({ layers }) => percentText(layers[layer].srp)),
        intervalText(main.layers[layer].interval),
        percentText(main.layers[layer].srpIid),
        ratioText(main.layers[layer].srpGain),
        ratioText(main.layers[layer].idealCacheRatio),
      ]),
    },
  });
}

/** What "always every expert" scores at activation rate r: no SRP lies lower. */
function lowerBound(rate: number): number {
  return (2 * rate) / (1 + rate);
}
