/**
 * Coloured cells for heat maps and matrices. Colours come in few steps, one path each: six thousand rectangles would make a
 * page of half a megabyte, and steps can be told apart and named in a key where a gradient cannot.
 */
import type { Markish } from "@observablehq/plot";
import { ownMark } from "./chart.ts";
import { PALETTE } from "./palette.ts";
import { svgElement } from "./svg-document.ts";

export interface CellColours {
  /** Ascending borders between the steps: one less than colours. */
  readonly borders: readonly number[];
  readonly colours: readonly string[];
  /** What the colours mean, beside the key. */
  readonly title: string;
  /** Text of a border; empty for those that need none. */
  readonly borderText: (border: number) => string;
}

/** Step of a value: a value on a border belongs to the step above. */
export function colourStep(value: number, { borders }: Pick<CellColours, "borders">): number {
  const step = borders.findIndex((border) => value < border);
  return step === -1 ? borders.length : step;
}

/** Cells [row][column]: cell (r, c) covers r..r+1 of the y axis and c..c+1 of the x axis; null leaves a hole. */
export function colourCells(values: readonly (readonly (number | null)[])[], colours: CellColours, gap = 0): Markish {
  return ownMark(({ document, x, y }) => {
    const paths = colours.colours.map(() => "");
    for (const [row, cells] of values.entries()) {
      const top = Math.min(y(row), y(row + 1));
      const height = Math.abs(y(row + 1) - y(row)) - gap;
      let column = 0;
      while (column < cells.length) {
        const step = stepOf(cells[column], colours);
        const first = column;
        do column++;
        while (gap === 0 && column < cells.length && stepOf(cells[column], colours) === step);
        if (step !== undefined)
          paths[step] +=
            `M${fixed(x(first))},${fixed(top)}h${fixed(x(column) - x(first) - gap)}v${fixed(height)}H${fixed(x(first))}z`;
      }
    }
    return paths.flatMap((d, step) =>
      d === ""
        ? []
        : [svgElement(document, "path", { d, fill: colours.colours[step], "shape-rendering": "crispEdges" })],
    );
  });
}

/** Room that a key needs above its chart, in pixels. */
export const KEY_HEIGHT = 12;

/** The key: the steps in a row with their borders, at the right above the chart. */
export function colourKey({ borders, colours, title, borderText }: CellColours): Markish {
  return ownMark(({ document, right, top }) => {
    const width = Math.min(26, Math.floor(230 / colours.length));
    const left = right - colours.length * width;
    const y = top - 18;
    return [
      svgElement(
        document,
        "text",
        { x: left - 8, y: y + 9, "text-anchor": "end", fill: PALETTE.muted.light, "font-size": 11 },
        title,
      ),
      ...colours.map((fill, i) => svgElement(document, "rect", { x: left + i * width, y, width, height: 10, fill })),
      ...borders.map((border, i) =>
        svgElement(
          document,
          "text",
          { x: left + (i + 1) * width, y: y - 4, "font-size": 10, fill: PALETTE.muted.light },
          borderText(border),
        ),
      ),
    ];
  });
}

function stepOf(value: number | null, colours: CellColours): number | undefined {
  return value === null ? undefined : colourStep(value, colours);
}

function fixed(pixels: number): string {
  return String(Math.round(pixels * 10) / 10);
}
