/**
 * One chart in the house style: quiet grid, axis titles with units that never stand on their side, no frame, no legend box. Made
 * with Observable Plot; what is drawn is up to the marks. This is the one place that sets type sizes, margins and axes.
 */
import * as Plot from "@observablehq/plot";
import type { DrawnChart, Panel } from "./figure.ts";
import { PALETTE } from "./palette.ts";
import { type SvgDocument, type SvgElement, svgElement } from "./svg-document.ts";

export interface ChartOptions {
  /** What sets this chart apart from the others of its figure, above it in bold. */
  readonly heading?: string;
  /** Room above the chart for a key, in pixels. Default: 0. */
  readonly keyHeight?: number;
  /** Height of the area between the axes, in pixels. */
  readonly plotHeight: number;
  readonly x: Axis;
  readonly y: Axis;
  /** Room for tick labels at the left, in pixels. Default: 36. */
  readonly marginLeft?: number;
  /** Room for labels at the ends of lines, in pixels. Default: 10. */
  readonly marginRight?: number;
  /** In drawing order: the last lies on top. */
  readonly marks: readonly Plot.Markish[];
}

export interface Axis {
  /** With its unit; empty: the tick labels say it all. */
  readonly title: string;
  /** From where to where; the first may be the larger one. */
  readonly domain: readonly [number, number];
  /** Where ticks stand, or about how many; 0: an axis without ticks. Default: what fits. */
  readonly ticks?: readonly number[] | number;
  readonly tickText?: (value: number) => string;
  /** Default: linear. */
  readonly scale?: "linear" | "log";
  /** Lines across the chart at the ticks. Default: of y only. */
  readonly grid?: boolean;
}

/** What a mark of our own is given to draw with. */
export interface Drawing {
  readonly document: SvgDocument;
  /** Pixels of a value. */
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
  /** The area between the axes, in pixels. */
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** A mark of our own, where Plot has none that fits. */
export function ownMark(draw: (drawing: Drawing) => readonly SvgElement[]): Plot.Markish {
  return (_index, scales, _values, dimensions, context) => {
    const { width, height, marginLeft, marginRight, marginTop, marginBottom } = dimensions;
    const document = context.document as SvgDocument;
    const elements = draw({
      document,
      x: scales.x as (value: number) => number,
      y: scales.y as (value: number) => number,
      left: marginLeft,
      right: width - marginRight,
      top: marginTop,
      bottom: height - marginBottom,
    });
    return svgElement(document, "g", {}, ...elements);
  };
}

const HEADING_LINE = 20;
const TITLE_LINE = 22;
const TICK_LINE = 22;

export function chart(panel: Panel, options: ChartOptions): DrawnChart {
  const { x, y, heading } = options;
  const marginTop =
    (heading === undefined ? 2 : HEADING_LINE) + (y.title === "" ? 0 : TITLE_LINE) + (options.keyHeight ?? 0) + 4;
  const marginBottom = (x.ticks === 0 ? 4 : TICK_LINE) + (x.title === "" ? 0 : TITLE_LINE - 4);
  const height = marginTop + options.plotHeight + marginBottom;
  const element = Plot.plot({
    document: panel.document,
    width: panel.width,
    height,
    marginTop,
    marginBottom,
    marginLeft: options.marginLeft ?? 36,
    marginRight: options.marginRight ?? 10,
    x: { type: x.scale ?? "linear", domain: x.domain, axis: null },
    y: { type: y.scale ?? "linear", domain: y.domain, axis: null },
    marks: [
      (x.grid ?? false) ? Plot.gridX({ ...ticksOf(x), ...GRID }) : null,
      (y.grid ?? true) ? Plot.gridY({ ...ticksOf(y), ...GRID }) : null,
      Plot.axisX({ ...ticksOf(x), ...TICK_LABELS }),
      Plot.axisY({ ...ticksOf(y), ...TICK_LABELS }),
      ...options.marks,
      ownMark(({ document, left, right }) => [
        ...label(document, 0, 13, heading, { "text-anchor": "start", "font-weight": 600 }),
        ...label(document, 0, heading === undefined ? 14 : HEADING_LINE + 14, y.title, {
          "text-anchor": "start",
          fill: PALETTE.muted.light,
        }),
        ...label(document, (left + right) / 2, height - 6, x.title, { fill: PALETTE.muted.light }),
      ]),
    ],
  });
  return { element, height };
}

const GRID = { stroke: PALETTE.grid.light, strokeOpacity: 1 };
const TICK_LABELS = { tickSize: 0, tickPadding: 7, label: null, fill: PALETTE.muted.light };

function ticksOf({ ticks, tickText }: Axis) {
  return {
    ...(ticks === undefined ? {} : { ticks: ticks as number[] | number }),
    // As text, not as tickFormat: on a log scale d3 puts its own filter before that and leaves out every fourth power of 4.
    ...(tickText === undefined ? {} : { text: tickText }),
  };
}

function label(
  document: SvgDocument,
  x: number,
  y: number,
  text: string | undefined,
  attributes: Readonly<Record<string, string | number>>,
): SvgElement[] {
  return text === undefined || text === "" ? [] : [svgElement(document, "text", { x, y, ...attributes }, text)];
}
