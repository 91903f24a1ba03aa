/** Figure: after how many tokens an expert is used again, and how much neighbouring tokens share. */
import * as Plot from "@observablehq/plot";
import { percentCeiling, wholeTicks } from "../axis-ticks.ts";
import { bars } from "../bars.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure, type Panel } from "../figure.ts";
import { countText, percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { figureId, routingSource, type Subject } from "./subject.ts";

export function reuseFigure(subject: Subject): Figure | undefined {
  const { reuse } = subject.phase;
  const { moeBlocks: blocks, experts, expertsUsed } = subject.report.model;
  const total = reuse.distances.reduce((sum, uses) => sum + uses, 0) + reuse.firstUses;
  if (total === 0) return undefined;
  const bins = distanceBins(reuse.distances);
  const shares = [
    ...bins.map(({ from, to, uses }) => ({ name: from === to ? `${from}` : `${from} to ${to}`, value: uses / total })),
    { name: "first use", value: reuse.firstUses / total },
  ];
  const near = (reuse.distances[0] ?? 0) / total;
  const overlaps = reuse.layerOverlap.flatMap((overlap, layer) =>
    overlap === null ? [] : [{ block: blocks[layer], overlap: 100 * overlap }],
  );
  const even = (100 * expertsUsed) / experts;
  const overlapText =
    reuse.overlap === null
      ? ""
      : ` A token shares ${percentText(reuse.overlap)} of its experts with the token before, where chance would give ${percentText(even / 100)}.`;
  return figure({
    id: figureId(subject, "reuse"),
    title: "Reuse of experts",
    description: `Bars of how many tokens ago an expert was last used: ${shares.map(({ name, value }) => `${name}: ${percentText(value)}`).join("; ")}.${overlapText}`,
    caption: `How many tokens ago the expert of a use was last used in its layer, binned by powers of two; ${percentText(near)} were used by the token just before.${reuse.medianDistance === null ? "" : ` The median is ${reuse.medianDistance} ${reuse.medianDistance === 1 ? "token" : "tokens"}.`} What is reused at once needs no cache policy; what returns late needs a large cache or a good forecast.${overlapText}`,
    source: routingSource(subject),
    columns: overlaps.length > 1 ? 2 : 1,
    charts: [
      (panel) =>
        bars(panel, {
          heading: "Tokens since the last use",
          title: "share of uses (%)",
          bars: shares.map(({ name, value }) => ({ name, value, text: percentText(value) })),
        }),
      ...(overlaps.length > 1
        ? [
            (panel: Panel) =>
              chart(panel, {
                heading: "Overlap with the token before",
                plotHeight: panel.narrow ? 180 : 24 * shares.length - 22,
                x: {
                  title: "MoE block",
                  domain: [blocks[0], blocks.at(-1)!],
                  ticks: wholeTicks(blocks[0], blocks.at(-1)!, 8),
                  tickText: String,
                },
                y: {
                  title: "share of experts (%)",
                  domain: [0, percentCeiling(Math.max(...overlaps.map(({ overlap }) => overlap / 100)))],
                },
                marks: [
                  Plot.ruleY([even], { stroke: PALETTE.muted.light, strokeDasharray: "1 3" }),
                  Plot.text(["chance"], {
                    x: () => blocks.at(-1)!,
                    y: () => even,
                    textAnchor: "end",
                    dy: -8,
                    fill: PALETTE.muted.light,
                    fontSize: 11,
                    stroke: PALETTE.surface.light,
                    strokeWidth: 4,
                  }),
                  Plot.line(overlaps, { x: "block", y: "overlap", stroke: PALETTE.subject.light, strokeWidth: 2.4 }),
                  Plot.dot(overlaps, { x: "block", y: "overlap", r: 2.5, fill: PALETTE.subject.light }),
                ],
              }),
          ]
        : []),
    ],
    table: {
      caption: "Tokens since an expert's last use",
      columns: [textColumn("Distance (tokens)"), numberColumn("Share of uses"), numberColumn("Uses")],
      rows: shares.map(({ name, value }) => [name, percentText(value), countText(value * total)]),
    },
  });
}

interface DistanceBin {
  readonly from: number;
  readonly to: number;
  readonly uses: number;
}

/** 1, 2, 3 to 4, 5 to 8 and so on, up to the last distance that occurs. */
export function distanceBins(distances: readonly number[]): DistanceBin[] {
  const bins: DistanceBin[] = [];
  const last = distances.findLastIndex((uses) => uses > 0) + 1;
  for (let from = 1, to = 1; from <= last; from = to + 1, to *= 2) {
    const end = Math.min(to, last);
    bins.push({ from, to: end, uses: distances.slice(from - 1, end).reduce((sum, uses) => sum + uses, 0) });
  }
  return bins;
}
