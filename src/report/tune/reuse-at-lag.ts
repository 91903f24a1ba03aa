/** Figure: how likely an expert in use was in use some tokens before. */
import * as Plot from "@observablehq/plot";
import type { EvaluationResult } from "../../tune/eval/evaluation.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { baseOf, fullVariants, sourceLine } from "./subject.ts";

const TABLE_LAGS = [1, 2, 4, 8, 16, 32];

export function reuseAtLag(result: EvaluationResult): Figure | undefined {
  const { model } = result;
  const chance = model.expertsUsed / model.experts;
  const lines = [baseOf(result), ...fullVariants(result)]
    .map((variant, i) => ({
      name: variant.name,
      colour: [PALETTE.muted.light, PALETTE.subject.light, PALETTE.third.light, PALETTE.picked.light][i % 4],
      points: variant.forced.reuseAtLag
        .map(({ value }, at) => ({ lag: at + 1, share: value }))
        .filter(({ share }) => Number.isFinite(share)),
    }))
    .filter(({ points }) => points.length > 1);
  if (lines.length === 0) return undefined;
  const most = Math.max(...lines.flatMap(({ points }) => points.map(({ share }) => share)));
  const last = Math.max(...lines.map(({ points }) => points.at(-1)!.lag));
  return figure({
    id: "reuse-at-lag",
    title: "Reuse of experts by distance",
    description: `Line chart of the probability that an expert in use was in use some tokens before. At one token: ${lines.map(({ name, points }) => `${name} ${percentText(points[0].share)}`).join(", ")}; by chance ${percentText(chance)}.`,
    caption:
      "Tuning for neighbours is meant to raise the left end; a line that rises everywhere alike means that fewer experts are used at all. The dashed line is chance: even use of all experts.",
    source: sourceLine(result),
    charts: [
      (panel) => {
        const labels = lines.map(({ name, points, colour }) => {
          const end = points.at(-1)!;
          return { x: end.lag, y: 100 * end.share, text: name, colour };
        });
        return chart(panel, {
          plotHeight: panel.narrow ? 220 : 280,
          x: {
            title: "tokens before",
            domain: [1, last],
            scale: "log",
            ticks: TABLE_LAGS.filter((lag) => lag <= last),
            tickText: String,
          },
          y: { title: "in use then too (%)", domain: [0, 105 * most] },
          marginRight: labelMargin(labels),
          marks: [
            Plot.ruleY([100 * chance], { stroke: PALETTE.faint.light, strokeDasharray: "4 3" }),
            ...lines.map(({ points, colour }) =>
              Plot.line(points, {
                x: "lag",
                y: (point: { share: number }) => 100 * point.share,
                stroke: colour,
                strokeWidth: 2,
              }),
            ),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: "Probability that an expert in use was in use so many tokens before",
      columns: [textColumn("Variant"), ...TABLE_LAGS.map((lag) => numberColumn(String(lag)))],
      rows: lines.map(({ name, points }) => [
        name,
        ...TABLE_LAGS.map((lag) => percentText(points.find((point) => point.lag === lag)?.share)),
      ]),
    },
  });
}
