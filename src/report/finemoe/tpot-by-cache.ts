/** Figure: time of a token against cache size, one line for each policy. */
import * as Plot from "@observablehq/plot";
import type { FinemoeRow } from "../../bench/finemoe/row.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import {
  logTicks,
  lookOf,
  msText,
  policiesOf,
  type Side,
  sharesOf,
  shareText,
  sideText,
  sourceLine,
} from "./subject.ts";

export function tpotByCacheFigure(side: Side): Figure | undefined {
  const { rows } = side;
  const shares = sharesOf(rows);
  if (shares.length < 2) return undefined;
  const lines = policiesOf(rows).map((policy) => ({
    policy,
    points: rows.filter((row) => row.policy === policy).sort((a, b) => a.cacheShare - b.cacheShare),
  }));
  const values = rows.map(tpot);
  const fastest = [...lines].sort((a, b) => tpot(a.points.at(-1)!) - tpot(b.points.at(-1)!));
  return figure({
    id: `tpot-by-cache-${side.source}-${side.mode}`,
    title: `Time of a token by policy and cache, ${sideText(side)}`,
    description: `Line chart of the median time of a token by cache size. In the largest cache from fastest to slowest: ${fastest.map(({ policy, points }) => `${policy} ${msText(tpot(points.at(-1)!))}`).join(", ")}.`,
    caption:
      "Median over prompts of the time per token behind the first, on a logarithmic axis. Belady and oracle-prefetch know the run to come: no policy can be them. On demand keeps nothing and reads only what the router chose: what every other line has to beat.",
    source: sourceLine(side),
    charts: [
      (panel) => {
        const labels = lines.map(({ policy, points }) => ({
          ...{ x: 100 * points.at(-1)!.cacheShare, y: tpot(points.at(-1)!), text: policy },
          ...{ colour: lookOf(policy).colour, bold: lookOf(policy).bold },
        }));
        return chart(panel, {
          plotHeight: Math.max(panel.narrow ? 260 : 320, 14 * lines.length),
          x: {
            title: "cache, of all experts (%)",
            domain: [100 * shares[0], 100 * shares.at(-1)!],
            ticks: shares.map((share) => 100 * share),
            tickText: (value) => value.toFixed(0),
          },
          y: {
            title: "time of a token (ms)",
            domain: [0.9 * Math.min(...values), 1.1 * Math.max(...values)],
            scale: "log",
            ticks: logTicks(values),
            tickText: String,
          },
          marginRight: labelMargin(labels),
          marks: [
            ...lines.map(({ policy, points }) => {
              const { colour, width, dashes } = lookOf(policy);
              return Plot.line(points, {
                x: (row: FinemoeRow) => 100 * row.cacheShare,
                y: tpot,
                stroke: colour,
                strokeWidth: width,
                ...(dashes === undefined ? {} : { strokeDasharray: dashes }),
              });
            }),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: "Time of a token, median over prompts, ms",
      columns: [textColumn("Policy"), ...shares.map((share) => numberColumn(shareText(share)))],
      rows: lines.map(({ policy, points }) => [
        policy,
        ...shares.map((share) => {
          const row = points.find(({ cacheShare }) => Math.abs(cacheShare - share) < 0.001);
          return row === undefined ? "–" : tpot(row).toFixed(1);
        }),
      ]),
    },
  });
}

function tpot(row: FinemoeRow): number {
  return row.tpotMs.value;
}
