/** Horizontal bars with names at the left and values at their ends. Bars may run to both sides of zero. */
import { chart, ownMark } from "./chart.ts";
import type { DrawnChart, Panel } from "./figure.ts";
import { PALETTE } from "./palette.ts";
import { svgElement } from "./svg-document.ts";
import { fitText, textWidth } from "./text-width.ts";

export interface Bar {
  readonly name: string;
  readonly value: number;
  /** Value as it stands at the bar's end. */
  readonly text: string;
}

export interface BarsOptions {
  readonly heading?: string;
  /** What the bars show, with its unit. */
  readonly title: string;
  readonly bars: readonly Bar[];
  /** Ends of the value axis. Default: from 0, or from the lowest value, to the highest. */
  readonly domain?: readonly [number, number];
}

const ROW = 24;
const FONT = 12;

export function bars(panel: Panel, { heading, title, bars, domain }: BarsOptions): DrawnChart {
  const widest = 0.42 * panel.width;
  const names = bars.map(({ name }) => fitText(name, widest, FONT));
  const marginLeft = Math.max(...names.map((name) => textWidth(name, FONT))) + 10;
  const [low, high] = domain ?? [
    Math.min(0, ...bars.map(({ value }) => value)),
    Math.max(0, ...bars.map(({ value }) => value)),
  ];
  // A value's text stands beyond its bar's end, so the axis is longer than the longest bar where it may.
  const textPixels = Math.max(...bars.map(({ text }) => textWidth(text, FONT))) + 10;
  const area = Math.max(40, panel.width - marginLeft - (low < 0 ? textPixels : 0) - (high > 0 ? textPixels : 0));
  const perPixel = (high - low || 1) / area;
  return chart(panel, {
    ...(heading === undefined ? {} : { heading }),
    plotHeight: ROW * bars.length,
    marginLeft,
    marginRight: 0,
    x: {
      title: "",
      domain: [low < 0 ? low - textPixels * perPixel : low, high > 0 ? high + textPixels * perPixel : high],
      ticks: 0,
    },
    y: { title, domain: [bars.length, 0], ticks: [] },
    marks: [
      ownMark(({ document, x, y }) => [
        ...bars.flatMap(({ value, text, name }, i) => {
          const [from, to] = value < 0 ? [x(value), x(0)] : [x(0), x(value)];
          const middle = y(i + 0.5);
          return [
            svgElement(
              document,
              "rect",
              {
                x: from,
                y: middle - 8,
                width: Math.max(0.5, to - from),
                height: 16,
                fill: value < 0 ? PALETTE.second.light : PALETTE.subject.light,
              },
              svgElement(document, "title", {}, name),
            ),
            svgElement(document, "text", { x: marginLeft - 10, y: middle + 4, "text-anchor": "end" }, names[i]),
            svgElement(
              document,
              "text",
              value < 0
                ? { x: from - 5, y: middle + 4, "text-anchor": "end", fill: PALETTE.muted.light }
                : { x: to + 5, y: middle + 4, "text-anchor": "start", fill: PALETTE.muted.light },
              text,
            ),
          ];
        }),
        svgElement(document, "path", { d: `M${x(0)},${y(0)}V${y(bars.length)}`, stroke: PALETTE.muted.light }),
      ]),
    ],
  });
}
