/**
 * A key of lines inside a chart, for curves that meet at both ends and leave no place for names there: samples of the lines with
 * their names, in the order in which the curves lie above each other. For a corner that the curves leave empty.
 */
import type { Markish } from "@observablehq/plot";
import { ownMark } from "./chart.ts";
import { svgElement } from "./svg-document.ts";
import { textWidth } from "./text-width.ts";

export interface KeyedLine {
  readonly text: string;
  readonly colour: string;
  readonly width: number;
  /** As in stroke-dasharray. Default: a solid line. */
  readonly dashes?: string;
}

const FONT = 12;
const LINE = 18;
const SAMPLE = 24;

/** In the lower right corner. */
export function lineKey(lines: readonly KeyedLine[]): Markish {
  return ownMark(({ document, right, bottom }) => {
    const widest = Math.max(...lines.map(({ text }) => textWidth(text, FONT)));
    const left = right - widest - SAMPLE - 12;
    return lines.flatMap(({ text, colour, width, dashes }, i) => {
      const y = bottom - 12 - (lines.length - 1 - i) * LINE;
      return [
        svgElement(document, "path", {
          d: `M${left},${y}h${SAMPLE}`,
          stroke: colour,
          "stroke-width": width,
          ...(dashes === undefined ? {} : { "stroke-dasharray": dashes }),
        }),
        svgElement(document, "text", { x: left + SAMPLE + 7, y: y + 4, "text-anchor": "start", fill: colour }, text),
      ];
    });
  });
}
