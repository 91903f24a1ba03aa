/**
 * Names at the ends of lines, in the lines' colours, instead of a legend. Labels that would lie on each other are moved apart
 * as little as possible and tied to their lines.
 */
import type { Markish } from "@observablehq/plot";
import { ownMark } from "./chart.ts";
import { PALETTE } from "./palette.ts";
import { svgElement } from "./svg-document.ts";
import { fitText, textWidth } from "./text-width.ts";

export interface LineLabel {
  /** End of the line, in values of the axes. */
  readonly x: number;
  readonly y: number;
  readonly text: string;
  readonly colour: string;
  readonly bold?: boolean;
}

const FONT = 11;
const LINE = 13;
const GAP = 10;
/** Longer names are cut; the table of the figure has them whole. */
const WIDEST = 142;

/** Right margin that the labels need, in pixels. */
export function labelMargin(labels: readonly LineLabel[]): number {
  return Math.min(WIDEST, Math.max(0, ...labels.map(({ text }) => textWidth(text, FONT)))) + GAP + 2;
}

export function lineLabels(labels: readonly LineLabel[]): Markish {
  return ownMark(({ document, x, y, right, top, bottom }) => {
    const sorted = [...labels].sort((a, b) => y(a.y) - y(b.y));
    const places = spread(
      sorted.map((label) => y(label.y)),
      LINE,
      top,
      bottom,
    );
    return sorted.flatMap((label, i) => {
      const moved = Math.abs(places[i] - y(label.y)) > 3 || right - x(label.x) > 4;
      const tie = `M${x(label.x) + 3},${y(label.y)}L${right + 1},${y(label.y)}L${right + GAP - 3},${places[i]}`;
      return [
        ...(moved ? [svgElement(document, "path", { d: tie, fill: "none", stroke: PALETTE.faint.light })] : []),
        svgElement(
          document,
          "text",
          {
            x: right + GAP,
            y: places[i] + 4,
            "text-anchor": "start",
            "font-size": FONT,
            fill: label.colour,
            ...(label.bold ? { "font-weight": 600 } : {}),
          },
          fitText(label.text, WIDEST, FONT),
        ),
      ];
    });
  });
}

/**
 * Places at least `gap` apart, in the order of the wanted ones (ascending), with the least sum of squared moves; inside
 * `from`..`to` as far as there is room.
 */
export function spread(wanted: readonly number[], gap: number, from: number, to: number): number[] {
  // Neighbours that clash become one block that stands at the mean of what its members want (pool adjacent violators).
  const blocks: { sum: number; count: number }[] = [];
  const place = ({ sum, count }: { sum: number; count: number }) => sum / count;
  for (const [i, value] of wanted.entries()) {
    blocks.push({ sum: value - i * gap, count: 1 });
    while (blocks.length > 1 && place(blocks.at(-2)!) > place(blocks.at(-1)!)) {
      const { sum, count } = blocks.pop()!;
      const before = blocks.at(-1)!;
      before.sum += sum;
      before.count += count;
    }
  }
  const highest = Math.max(from, to - (wanted.length - 1) * gap);
  return blocks
    .flatMap((block) => new Array<number>(block.count).fill(Math.min(highest, Math.max(from, place(block)))))
    .map((value, i) => value + i * gap);
}
