/** Figure: write amplification of each engine while the cache turns over, and what was published for the end. */
import * as Plot from "@observablehq/plot";
import { nameOf } from "../../flash/bench/columns.ts";
import { PUBLISHED } from "../../flash/bench/published.ts";
import type { FlashBenchResult, FlashRow, TurnPoint } from "../../flash/bench/results.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { PALETTE } from "../palette.ts";
import { colourOf, sourceLine } from "./subject.ts";

const TICKS = [1, 2, 5, 10, 20, 50, 100];

export function alwaByTurn(result: FlashBenchResult): Figure | undefined {
  const rows = result.rows.filter(({ curve }) => curve.length > 1);
  if (rows.length === 0) return undefined;
  const last = (row: FlashRow) => row.curve[row.curve.length - 1];
  const turns = Math.max(...rows.map((row) => last(row).turns));
  const values = rows.flatMap(({ curve }) => curve.map(({ alwa }) => alwa)).filter((alwa) => alwa > 0);
  const domain = [Math.min(0.9, ...values), 1.1 * Math.max(2, ...values)] as const;
  return figure({
    id: "alwa-by-turn",
    title: "Write amplification while the cache turns over",
    description: `Lines of application-level write amplification over cache turns. At the end: ${rows.map((row) => `${nameOf(row)} ${last(row).alwa.toFixed(2)}`).join(", ")}.`,
    caption:
      "Bytes written to the device over bytes of objects admitted, by quarter of a turn; a turn is as many admitted bytes as the cache has. Hierarchical designs write little until their logs first move into sets.",
    source: sourceLine(result),
    charts: [
      (panel) => {
        const labels = rows.map((row) => ({
          ...{ x: last(row).turns, y: last(row).alwa, text: nameOf(row), colour: colourOf(row) },
          bold: row.engine === "nemo" && row.variant === "",
        }));
        return chart(panel, {
          plotHeight: panel.narrow ? 240 : 320,
          x: { title: "cache turns", domain: [0, turns] },
          y: {
            ...{ title: "write amplification, application level", domain, scale: "log" as const, tickText: String },
            ticks: TICKS.filter((tick) => tick >= domain[0] && tick <= domain[1]),
          },
          marginRight: labelMargin(labels),
          marks: [
            ...rows.map((row) =>
              Plot.line(
                row.curve.filter(({ alwa }) => alwa > 0),
                {
                  x: "turns",
                  y: ({ alwa }: TurnPoint) => alwa,
                  stroke: colourOf(row),
                  strokeWidth: row.engine === "nemo" ? 2.4 : 1.6,
                },
              ),
            ),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: "Write amplification at the end, and as published",
      columns: [textColumn("Engine"), ...["Here", "Published", "Turns"].map(numberColumn)],
      rows: rows.map((row) => [
        nameOf(row),
        row.alwa.toFixed(2),
        row.variant === "" ? PUBLISHED[row.engine].alwa.toFixed(2) : "–",
        row.turns.toFixed(1),
      ]),
    },
  });
}

/** Figure: RAM of an object by what it is for. */
export function bitsByEngine(result: FlashBenchResult): Figure | undefined {
  const { rows } = result;
  if (rows.length === 0) return undefined;
  const parts = [
    { name: "index", colour: PALETTE.subject.light, of: (row: FlashRow) => row.bitsPerObject.index },
    { name: "buffers", colour: PALETTE.faint.light, of: (row: FlashRow) => row.bitsPerObject.buffers },
    { name: "hotness", colour: PALETTE.second.light, of: (row: FlashRow) => row.bitsPerObject.hotness },
  ];
  const stacks = rows.flatMap((row, i) => {
    let from = 0;
    return parts.map(({ colour, of }) => {
      const bar = { y: i, from, to: from + of(row), colour };
      from = bar.to;
      return bar;
    });
  });
  const most = Math.max(1, ...rows.map((row) => row.bitsPerObject.all));
  return figure({
    id: "bits-by-engine",
    title: "RAM of a resident object",
    description: `Stacked bars of bits an object: ${rows.map((row) => `${nameOf(row)} ${row.bitsPerObject.all.toFixed(1)}`).join(", ")}.`,
    caption:
      "Dark: the index, which finds an object. Grey: what waits to be written; it does not grow with the cache, so a large cache has fewer bits of it. Orange: use.",
    source: sourceLine(result),
    charts: [
      (panel) => {
        const labels = rows.map((row, i) => ({
          ...{ x: row.bitsPerObject.all, y: i + 0.5, colour: colourOf(row) },
          text: `${nameOf(row)} ${row.bitsPerObject.all.toFixed(1)}`,
        }));
        return chart(panel, {
          plotHeight: 26 * rows.length,
          marginLeft: 10,
          marginRight: labelMargin(labels),
          x: { title: "bits an object", domain: [0, most] },
          y: { title: "", domain: [rows.length, 0], ticks: [] },
          marks: [
            ...stacks.map(({ y, from, to, colour }) =>
              Plot.rect([0], { x1: from, x2: to, y1: y + 0.15, y2: y + 0.85, fill: colour }),
            ),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: "Bits an object",
      columns: [textColumn("Engine"), ...["Index", "Buffers", "Hotness", "All"].map(numberColumn)],
      rows: rows.map((row) => {
        const { index, buffers, hotness, all } = row.bitsPerObject;
        return [nameOf(row), ...[index, buffers, hotness, all].map((bits) => bits.toFixed(1))];
      }),
    },
  });
}
