/** Figures of ablations: bars of fill rates where the ladder is climbed, lines where the axis has numbers, bars where it has names. */
import * as Plot from "@observablehq/plot";
import type { AblationRow, FlashAblation, FlashBenchResult } from "../../flash/bench/results.ts";
import { bars } from "../bars.ts";
import { chart } from "../chart.ts";
import { type DataTable, numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure, type Panel } from "../figure.ts";
import { PALETTE } from "../palette.ts";
import { shareText, sourceLine } from "./subject.ts";

export function ablationFigures(result: FlashBenchResult): readonly Figure[] {
  return result.ablations.flatMap((ablation) => {
    if (ablation.rows.length < 2) return [];
    const isLadder = ablation.rows.some(({ knownFill }) => knownFill !== undefined);
    return [isLadder ? ladderFigure(result, ablation) : sweepFigure(result, ablation)];
  });
}

function ladderFigure(result: FlashBenchResult, ablation: FlashAblation): Figure {
  const { id, title, setting, rows } = ablation;
  const known = ({ knownFill }: AblationRow) => knownFill?.simulated ?? knownFill?.published ?? null;
  const fill = ({ row, knownFill }: AblationRow) =>
    knownFill?.simulated == null ? row.fillRate.all : row.fillRate.fresh;
  return figure({
    id: `ablation-${id}`,
    title,
    description: `Bars of fill rates: ${rows.map((one) => `${one.label} ${shareText(fill(one))}`).join(", ")}.`,
    caption: `How full a unit is when it is written; write amplification is one over the share of new objects. Behind each bar what is known for this setting: simulated apart from this engine, or, for the last rung, published. ${setting}.`,
    source: sourceLine(result),
    charts: [
      (panel) =>
        bars(panel, {
          title: "fill of a written unit (%)",
          bars: rows.map((one) => ({
            name: one.label,
            value: 100 * fill(one),
            text: `${shareText(fill(one))}${known(one) === null ? "" : ` (known: ${shareText(known(one))})`}`,
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

function ablationTable({ title, rows }: FlashAblation): DataTable {
  return {
    caption: title,
    columns: [
      textColumn("Setting"),
      ...[
        "ALWA",
        "B a request",
        "DLWA",
        "Miss",
        "Fill, new",
        "Fill, all",
        "Known fill",
        "Index b/o",
        "All b/o",
        "Pages a get",
        "Wrong values",
        "Turns",
      ].map(numberColumn),
      textColumn("Steady"),
    ],
    rows: rows.map(({ label, row, knownFill }) => [
      label,
      row.alwa.toFixed(2),
      row.bytesPerRequest.toFixed(1),
      row.dlwa.toFixed(2),
      shareText(row.missRatio),
      shareText(row.fillRate.fresh),
      shareText(row.fillRate.all),
      shareText(knownFill?.simulated ?? knownFill?.published ?? null),
      row.bitsPerObject.index.toFixed(1),
      row.bitsPerObject.all.toFixed(1),
      row.readAmplification?.toFixed(2) ?? "–",
      String(row.wrongValues),
      row.turns.toFixed(1),
      row.steady ? "yes" : "no",
    ]),
  };
}
