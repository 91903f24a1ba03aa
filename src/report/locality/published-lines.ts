/**
 * A curve of the traced model before the same curves of the published models: those with the same share of active experts
 * (k/E) in colour and named, the others faint. SRP and hit rates depend on k/E, so only the coloured ones compare.
 */
import * as Plot from "@observablehq/plot";
import type { Interval, PublishedRow } from "../../locality/report-data.ts";
import { type Axis, chart } from "../chart.ts";
import type { DrawnChart, Panel } from "../figure.ts";
import { type LineLabel, labelMargin, lineLabels } from "../line-labels.ts";
import { PALETTE } from "../palette.ts";

export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  readonly interval?: Interval | null;
}

/** A share of 0..1 and its interval as a point in per cent. */
export function percentPoint(x: number, share: number, interval: Interval | null): CurvePoint {
  return { x, y: 100 * share, interval: interval && [100 * interval[0], 100 * interval[1]] };
}

export interface ComparedCurve {
  readonly heading: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly ours: readonly CurvePoint[];
  /** A curve to read ours against, such as a memoryless router's. */
  readonly reference?: { readonly name: string; readonly points: readonly CurvePoint[] };
  readonly published: readonly PublishedCurve[];
}

export interface PublishedCurve {
  readonly row: Pick<PublishedRow, "name" | "sameShare">;
  readonly points: readonly CurvePoint[];
}

/** What stands behind the curve of this trace, in words. */
export function publishedText(published: readonly PublishedRow[]): string {
  const same = published.filter(({ sameShare }) => sameShare).length;
  const others = `Grey: ${same === 0 ? "the" : "the other"} published models`;
  return same === 0
    ? `${others}; none of them has this model's share of active experts, k/E.`
    : `Violet, with names: published models with the same share of active experts, k/E. ${others}.`;
}

export const OURS = "this trace";
const PLOT_HEIGHT = 210;

export function comparedCurve(panel: Panel, curve: ComparedCurve): DrawnChart {
  const { ours, reference, published } = curve;
  const same = published.filter(({ row, points }) => row.sameShare && points.length > 0);
  const others = published.filter(({ row }) => !row.sameShare);
  const labels: LineLabel[] = [
    ...endOf(ours, OURS, PALETTE.subject.light, true),
    ...(reference === undefined ? [] : endOf(reference.points, reference.name, PALETTE.muted.light, false)),
    ...same.flatMap(({ row, points }) => endOf(points, shortName(row.name), PALETTE.picked.light, false)),
  ];
  return chart(panel, {
    heading: curve.heading,
    plotHeight: PLOT_HEIGHT,
    x: curve.x,
    y: curve.y,
    marginRight: labelMargin(labels),
    marks: [
      ...others.map(({ row, points }) => line(points, PALETTE.faint.light, 1, row.name)),
      ...same.map(({ row, points }) => line(points, PALETTE.picked.light, 1.4, row.name)),
      reference === undefined
        ? null
        : Plot.line(reference.points, {
            x: "x",
            y: "y",
            stroke: PALETTE.muted.light,
            strokeWidth: 1.4,
            strokeDasharray: "4 3",
          }),
      Plot.ruleX(
        ours.filter(({ interval }) => interval),
        { x: "x", y1: low, y2: high, stroke: PALETTE.subject.light, strokeWidth: 1.5 },
      ),
      line(ours, PALETTE.subject.light, 2.4),
      Plot.dot(ours, { x: "x", y: "y", r: 3, fill: PALETTE.subject.light }),
      lineLabels(labels),
    ],
  });
}

/** Fits beside a chart. */
function shortName(name: string): string {
  return name.replace(/ (enc|dec)oder$/, " $1.");
}

function line(points: readonly CurvePoint[], stroke: string, strokeWidth: number, title?: string): Plot.Markish {
  return Plot.line(points, {
    x: "x",
    y: "y",
    stroke,
    strokeWidth,
    strokeLinejoin: "round",
    ...(title === undefined ? {} : { title: () => title }),
  });
}

function endOf(points: readonly CurvePoint[], text: string, colour: string, bold: boolean): LineLabel[] {
  const end = points.at(-1);
  return end === undefined ? [] : [{ x: end.x, y: end.y, text, colour, bold }];
}

const low = ({ interval }: CurvePoint) => interval?.[0];
const high = ({ interval }: CurvePoint) => interval?.[1];
