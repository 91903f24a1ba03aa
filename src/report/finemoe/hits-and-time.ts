/** Figure: hits against time of a token. The paper's two orders differ: who predicts best is not always fastest. */
import * as Plot from "@observablehq/plot";
import type { FinemoeRow } from "../../bench/finemoe/row.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { percentText } from "../number-text.ts";
import { lookOf, middleShare, msText, rowsAt, type Side, shareText, sideText, sourceLine } from "./subject.ts";

/** A policy that brings in whole layers is so much slower that all others would lie in one heap. */
const FAR_OFF = 3;

export function hitsAndTimeFigure(side: Side): Figure | undefined {
  const share = middleShare(side.rows);
  const all = rowsAt(side.rows, share);
  const floor = all[0]?.floor.tpotMs ?? Number.POSITIVE_INFINITY;
  const rows = all.filter(({ tpotMs }) => tpotMs.value <= FAR_OFF * floor);
  if (rows.length < 3) return undefined;
  const away = all
    .filter((row) => !rows.includes(row))
    .map(({ policy, tpotMs }) => `${policy} (${msText(tpotMs.value)})`);
  const found = (row: FinemoeRow) => 100 * (row.hitRate + row.lateHitRate);
  const times = rows.map(({ tpotMs }) => tpotMs.value);
  return figure({
    id: `hits-and-time-${side.source}-${side.mode}`,
    title: `Hits and time at ${shareText(share)}, ${sideText(side)}`,
    description: `Dots of policies by hit rate and time of a token: ${rows.map((row) => `${row.policy} ${percentText(found(row) / 100)} and ${msText(row.tpotMs.value)}`).join(", ")}.`,
    caption: `Share of routed experts that were in memory or on their way when they were chosen, and the median time of a token. Further down at the same hits: the hits cost fewer bytes.${away.length === 0 ? "" : ` Beyond the figure: ${away.join(", ")}.`}`,
    source: sourceLine(side),
    charts: [
      (panel) => {
        const labels = rows.map((row) => ({
          ...{ x: found(row), y: row.tpotMs.value, text: row.policy },
          ...{ colour: lookOf(row.policy).colour, bold: lookOf(row.policy).bold },
        }));
        return chart(panel, {
          plotHeight: Math.max(panel.narrow ? 260 : 300, 14 * rows.length),
          x: { title: "hits and late hits (%)", domain: [0, 100], grid: true },
          y: { title: "time of a token (ms)", domain: [0.8 * Math.min(...times), 1.05 * Math.max(...times)] },
          marginRight: labelMargin(labels),
          marks: [
            Plot.dot(rows, {
              x: found,
              y: (row: FinemoeRow) => row.tpotMs.value,
              r: 4,
              fill: (row: FinemoeRow) => lookOf(row.policy).colour,
            }),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: `Hits and time at ${shareText(share)} of the experts`,
      columns: [
        textColumn("Policy"),
        ...["Hit", "Late", "Miss", "Coverage", "GoodPred", "TPOT (ms)"].map(numberColumn),
      ],
      rows: all.map((row) => [
        row.policy,
        ...[row.hitRate, row.lateHitRate, row.missRate, row.coverage, row.goodPred].map((share) => percentText(share)),
        row.tpotMs.value.toFixed(1),
      ]),
    },
  });
}
