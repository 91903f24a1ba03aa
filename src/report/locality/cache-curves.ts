/** Figure: hit rate of a cache in each layer against its size, for every policy and all sizes at once, with the knee. */
import * as Plot from "@observablehq/plot";

import type { CacheSeries, Knee } from "../../locality/report-data.ts";
import { wholeTicks } from "../axis-ticks.ts";
import { chart, ownMark } from "../chart.ts";
import { numberColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { type KeyedLine, lineKey } from "../line-key.ts";
import { bytesText, percentText, ratioText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { svgElement } from "../svg-document.ts";
import { textWidth } from "../text-width.ts";
import { figureId, layerCacheSource, POLICY_NAMES, type Subject } from "./subject.ts";

export function cacheCurvesFigure(subject: Subject): Figure | undefined {
  const { phase, report } = subject;
  const { experts, expertsUsed, expertBytes } = report.model;
  const m = report.settings.headlineSegment;
  const series = [...phase.chr, ...phase.sch.filter(({ segmentLength }) => segmentLength === m)]
    .filter(({ layerMean }) => layerMean.length > 0)
    .sort((a, b) => mean(b) - mean(a));
  if (series.length === 0) return undefined;
  const { knee } = phase.verdict;
  const bytes = expertBytes.reduce((sum, size) => sum + size, 0);
  const size = (count: number) => (bytes === 0 ? "" : `, ${bytesText(count * bytes)} in all`);
  const kneeText = [
    `${knee.cacheExperts} experts (${ratioText(knee.cacheRatio, 1)} k)`,
    `${percentText(knee.share, 0)} of all${size(knee.cacheExperts)}`,
  ];
  return figure({
    id: figureId(subject, "cache-curves"),
    title: "Hit rate against cache size",
    description: `Line chart of hit rate by experts cached in each layer. At ${knee.cacheExperts} of ${experts} experts LRU hits ${percentText(knee.lru)}, Belady ${percentText(knee.belady)}, chance ${percentText(knee.chance)}.`,
    caption: `One cache per layer; mean over layers and domains. Belady knows the future: no policy does better on average. SCH sees ${m} tokens ahead. Chance is what a memoryless router would give any policy without foresight. The marked size gains most over chance: LRU hits ${percentText(knee.lru)} there, Belady ${percentText(knee.belady)}.`,
    source: layerCacheSource(subject),
    charts: [
      (panel) =>
        chart(panel, {
          plotHeight: panel.narrow ? 250 : 300,
          x: {
            title: "experts cached in each layer",
            domain: [0, experts],
            ticks: wholeTicks(0, experts, panel.narrow ? 6 : 10),
            tickText: String,
          },
          y: { title: "hit rate (%)", domain: [0, 100] },
          marginRight: 14,
          marks: [
            Plot.line(
              [
                [0, 0],
                [experts, 100],
              ],
              { stroke: PALETTE.muted.light, strokeDasharray: "1 3", strokeWidth: 1.4 },
            ),
            kneeMark(knee, kneeText),
            ...series.map((one) => {
              const { colour, width, dashes } = lineOf(one);
              return Plot.line(one.layerMean, {
                x: (_, i) => i + 1,
                y: (hitRate) => 100 * hitRate,
                stroke: colour,
                strokeWidth: width,
                ...(dashes === undefined ? {} : { strokeDasharray: dashes }),
              });
            }),
            Plot.dot([knee.lru], {
              x: () => knee.cacheExperts,
              y: (hitRate) => 100 * hitRate,
              r: 3.5,
              fill: PALETTE.subject.light,
            }),
            lineKey([
              ...series.map(lineOf),
              { text: "chance", colour: PALETTE.muted.light, width: 1.4, dashes: "1 3" },
            ]),
          ],
        }),
    ],
    table: {
      caption: "Hit rate of a cache in each layer",
      columns: [
        numberColumn("Experts per layer"),
        numberColumn("Multiple of k"),
        numberColumn("Share of all"),
        ...(bytes === 0 ? [] : [numberColumn("Bytes, all layers")]),
        ...series.map((one) => numberColumn(lineOf(one).text)),
      ],
      rows: Array.from({ length: experts }, (_, i) => i + 1)
        .filter((count) => count % Math.max(1, Math.ceil(experts / 32)) === 0 || count === knee.cacheExperts)
        .map((count) => [
          String(count),
          ratioText(count / expertsUsed),
          percentText(count / experts),
          ...(bytes === 0 ? [] : [bytesText(count * bytes)]),
          ...series.map(({ layerMean }) => percentText(layerMean[count - 1])),
        ]),
    },
  });
}

/** A line at the knee, with its size beneath the curves; left of the line where the right has no room. */
function kneeMark(knee: Knee, lines: readonly string[]): Plot.Markish {
  return ownMark(({ document, x, y, right, top, bottom }) => {
    const left = x(knee.cacheExperts);
    const fits = left + 8 + Math.max(...lines.map((line) => textWidth(line, 11))) < right;
    const first = fits ? y(100 * knee.lru) + 22 : bottom - 22;
    return [
      svgElement(document, "path", { d: `M${left},${top}V${bottom}`, stroke: PALETTE.faint.light }),
      ...lines.map((line, i) =>
        svgElement(
          document,
          "text",
          {
            x: left + (fits ? 10 : -10),
            y: Math.min(first, bottom - 22) + i * 14,
            "text-anchor": fits ? "start" : "end",
            "font-size": 11,
            fill: PALETTE.muted.light,
            stroke: PALETTE.surface.light,
            "stroke-width": 4,
            "paint-order": "stroke",
          },
          line,
        ),
      ),
    ];
  });
}

/** How a policy looks in every figure. */
function lineOf({ policy, segmentLength }: CacheSeries): KeyedLine {
  const text = segmentLength === null ? POLICY_NAMES[policy] : `${POLICY_NAMES[policy]}, m = ${segmentLength}`;
  switch (policy) {
    case "lru":
      return { text, colour: PALETTE.subject.light, width: 2.4 };
    case "lfu":
      return { text, colour: PALETTE.second.light, width: 1.8, dashes: "7 3" };
    case "sch":
      return { text, colour: PALETTE.third.light, width: 1.8 };
    case "belady":
      return { text, colour: PALETTE.ink.light, width: 1.4, dashes: "5 3" };
  }
}

function mean({ layerMean }: CacheSeries): number {
  return layerMean.reduce((sum, hitRate) => sum + hitRate, 0) / layerMean.length;
}
