/** Figures of ablations: bars of fill rates where the ladder is climbed, lines where the axis has numbers, bars where it has names. */
import * as Plot from "@observablehq/plot";
import { rungFill } from "../../flash/bench/known-fill.ts";
import type { AblationRow, FlashAblation, FlashBenchResult } from "../../flash/bench/results.ts";
import { bars } from "../bars.ts";
import { chart } from "../chart.ts";
import { type Figure, figure, type Panel } from "../figure.ts";
import { percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { sourceLine } from "./subject.ts";
import { ablationTable } from "./tables.ts";

export function ablationFigures(result: FlashBenchResult): readonly Figure[] {
  return result.ablations.flatMap((ablation) => {
    if (ablation.rows.length < 2) return [];
    const isLadder = ablation.rows.some(({ knownFill }) => knownFill !== undefined);
    return [isLadder ? ladderFigure(result, ablation) : sweepFigure(result, ablation)];
  });
}

function ladderFigure(result: FlashBenchResult, ablation: FlashAblation): Figure {
  const { id, title, setting, rows } = ablation;
  const rungs = rows.map((row) => ({ name: row.label, ...rungFill(row) }));
  return figure({
    id: `ablation-${id}`,
    title,
    description: `Bars of fill rates: ${rungs.map(({ name, fill }) => `${name} ${percentText(fill)}`).join(", ")}.`,
    caption: `How full a unit is when it is written; write amplification is one over the share of new objects. Behind each bar what is known for this setting: simulated apart from this engine, or, for the last rung, published. ${setting}.`,
    source: sourceLine(result),
    charts: [
      (panel) =>
        bars(panel, {
          title: "fill of a written unit (%)",
          bars: rungs.map(({ name, fill, known }) => ({
            name,
            value: 100 * fill,
            text: `${percentText(fill)}${known === null ? "" : ` (known: ${percentText(known)})`}`,
          })),
        }),
    ],
    table: ablationTable(ablation),
  });
}

function sweepFigure(result: FlashBenchResult, ablation: FlashAblation): Figure {
  const { id, title, setting, rows } = ablation;
  const isAxis = rows.every(({ at }) => at !== null);
  const misses = rows.some(({ row }) => row.missRatio !== null);
  return figure({
    id: `ablation-${id}`,
    title,
    description: `Write amplification: ${rows.map(({ label, row }) => `${label} ${row.alwa.toFixed(2)}`).join(", ")}.`,
    caption: `Write amplification${misses ? " and misses" : ""} in the last cache turn. ${setting}.`,
    source: sourceLine(result),
    columns: 2,
    charts: [
      (panel) =>
        measure(
          panel,
          rows,
          isAxis,
          title,
          "write amplification",
          ({ row }) => row.alwa,
          (v) => v.toFixed(2),
        ),
      ...(misses
        ? [
            (panel: Panel) =>
              measure(
                panel,
                rows,
                isAxis,
                title,
                "misses (%)",
                ({ row }) => 100 * (row.missRatio ?? 0),
                (v) => v.toFixed(1),
              ),
          ]
        : []),
    ],
    table: ablationTable(ablation),
  });
}

function measure(
  panel: Panel,
  rows: readonly AblationRow[],
  isAxis: boolean,
  axis: string,
  title: string,
  value: (row: AblationRow) => number,
  text: (value: number) => string,
) {
  if (!isAxis)
    return bars(panel, {
      title,
      bars: rows.map((row) => ({ name: row.label, value: value(row), text: text(value(row)) })),
    });
  const points = rows.map((row) => ({ x: row.at as number, y: value(row) }));
  const places = points.map(({ x }) => x);
  return chart(panel, {
    plotHeight: 180,
    x: { title: axis, domain: [Math.min(...places), Math.max(...places)], ticks: places, tickText: String },
    y: { title, domain: [0, 1.15 * Math.max(...points.map(({ y }) => y))] },
    marks: [
      Plot.line(points, { x: "x", y: "y", stroke: PALETTE.subject.light, strokeWidth: 2 }),
      Plot.dot(points, { x: "x", y: "y", r: 2.5, fill: PALETTE.subject.light }),
    ],
  });
}
