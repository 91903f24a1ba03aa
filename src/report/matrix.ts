/** A square matrix with names on both sides and the value in each cell, such as correlations between domains. */
import { chart, ownMark } from "./chart.ts";
import { type CellColours, colourCells, colourStep } from "./colour-cells.ts";
import type { DrawnChart, Panel } from "./figure.ts";
import { PALETTE } from "./palette.ts";
import { svgElement } from "./svg-document.ts";
import { fitText, textWidth } from "./text-width.ts";

export interface MatrixOptions {
  readonly heading: string;
  readonly names: readonly string[];
  /** [row][column]; null leaves a hole. */
  readonly values: readonly (readonly (number | null)[])[];
  readonly colours: CellColours;
  /** Steps from this one on are dark: text on them is light. */
  readonly darkFrom: number;
  readonly text: (value: number) => string;
}

const FONT = 11;

export function matrix(panel: Panel, { heading, names, values, colours, darkFrom, text }: MatrixOptions): DrawnChart {
  const longest = 0.3 * panel.width;
  const shown = names.map((name) => fitText(name, longest, FONT));
  const marginLeft = Math.max(...shown.map((name) => textWidth(name, FONT))) + 8;
  const side = panel.width - marginLeft;
  const size = side / names.length;
  const cell = Math.min(size, 30);
  // Column names stand on a slant where they are longer than a cell is wide.
  const slanted = shown.some((name) => textWidth(name, FONT) > size - 6);
  const room = slanted ? Math.max(...shown.map((name) => textWidth(name, FONT))) * 0.71 + 12 : 16;
  return chart(panel, {
    heading,
    plotHeight: cell * names.length + room,
    marginLeft,
    marginRight: 0,
    x: { title: "", domain: [0, names.length], ticks: [] },
    y: { title: "", domain: [names.length, -room / cell], ticks: [], grid: false },
    marks: [
      colourCells(values, colours, 1),
      ownMark(({ document, x, y }) => [
        ...shown.flatMap((name, i) => [
          svgElement(
            document,
            "text",
            { x: marginLeft - 8, y: y(i + 0.5) + 4, "text-anchor": "end", "font-size": FONT },
            name,
          ),
          svgElement(
            document,
            "text",
            slanted
              ? {
                  transform: `translate(${x(i + 0.5)},${y(0) - 6}) rotate(-45)`,
                  "text-anchor": "start",
                  "font-size": FONT,
                }
              : { x: x(i + 0.5), y: y(0) - 6, "font-size": FONT },
            name,
          ),
        ]),
        ...(size < 20
          ? []
          : values.flatMap((row, r) =>
              row.flatMap((value, c) =>
                value === null
                  ? []
                  : [
                      svgElement(
                        document,
                        "text",
                        {
                          x: x(c + 0.5),
                          y: y(r + 0.5) + 3.5,
                          "font-size": size < 26 ? 9 : 10,
                          fill: colourStep(value, colours) >= darkFrom ? PALETTE.surface.light : PALETTE.ink.light,
                        },
                        text(value),
                      ),
                    ],
              ),
            )),
      ]),
    ],
  });
}
