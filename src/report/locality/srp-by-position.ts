/** Figure: SRP by the place in a sample where the segment starts. */
import * as Plot from "@observablehq/plot";
import { percentCeiling } from "../axis-ticks.ts";
import { chart } from "../chart.ts";
import { numberColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { figureId, headlineSegment, routingSource, type Subject } from "./subject.ts";

/** Positions below which the line shows chance, not place. */
const FEWEST = 32;

export function srpByPositionFigure(subject: Subject): Figure | undefined {
  const main = headlineSegment(subject);
  if (main === undefined || main.positions.length < FEWEST) return undefined;
  const m = main.segmentLength;
  const points = main.positions.map((srp, x) => ({ x, y: 100 * srp }));
  const top = percentCeiling(Math.max(...main.positions));
  return figure({
    id: figureId(subject, "srp-by-position"),
    title: "Consistency by place in the sample",
    description: `Line chart of SRP at m = ${m} by the position at which the segment starts: ${percentText(main.positions[0])} at position 0, ${percentText(main.positions.at(-1)!)} at the last.`,
    caption: `SRP of the segments that start at a given token. Many models route the first token of a text to experts of its own, so position 0 (ringed) is special; elsewhere the line should be flat.`,
    source: routingSource(subject),
    charts: [
      (panel) =>
        chart(panel, {
          plotHeight: 170,
          x: {
            title: "start of the segment (token position)",
            domain: [0, main.positions.length - 1],
            ticks: panel.narrow ? 5 : 9,
          },
          y: { title: `SRP, m = ${m} (%)`, domain: [0, top] },
          marks: [
            Plot.line(points, { x: "x", y: "y", stroke: PALETTE.subject.light, strokeWidth: 1.2 }),
            Plot.dot(points.slice(0, 1), { x: "x", y: "y", r: 3.5, stroke: PALETTE.second.light, strokeWidth: 1.6 }),
          ],
        }),
    ],
    table: {
      caption: `SRP at m = ${m} by position, some of the positions`,
      columns: [numberColumn("Position"), numberColumn("SRP")],
      rows: points
        .filter(({ x }) => x < 4 || (x & (x - 1)) === 0 || x === points.length - 1)
        .map(({ x, y }) => [String(x), percentText(y / 100)]),
    },
  });
}
