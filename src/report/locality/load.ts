/** Figure: how evenly the experts are used, as shares of all uses and as spread by layer. */
import * as Plot from "@observablehq/plot";
import { wholeTicks } from "../axis-ticks.ts";
import { chart } from "../chart.ts";
import { numberColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { figureId, routingSource, type Subject } from "./subject.ts";

export function loadFigure(subject: Subject): Figure | undefined {
  const { load } = subject.phase;
  const blocks = subject.report.model.moeBlocks;
  const curves = load.activationRate.map(concentration);
  if (curves.length === 0) return undefined;
  const mean = curves[0].map((_, i) => curves.reduce((sum, curve) => sum + curve[i], 0) / curves.length);
  const experts = mean.length - 1;
  const quarter = mean[Math.round(experts / 4)];
  const sds = load.layerSd.map((sd, layer) => ({ block: blocks[layer], sd: 100 * sd }));
  const highest = Math.max(1, ...sds.map(({ sd }) => sd));
  const unused =
    load.unusedExperts === 0
      ? ""
      : ` ${load.unusedExperts} ${load.unusedExperts === 1 ? "expert was" : "experts were"} never used.`;
  return figure({
    id: figureId(subject, "load-balance"),
    title: "Load balance",
    description: `A line chart of the share of expert uses that go to the busiest experts; the busiest quarter takes ${percentText(quarter)} of them. Bars of the standard deviation of activation rates by block; ${percentText(load.loadBalanceSd, 2)} over the whole model.`,
    caption: `Concentration: the busiest experts' share of all uses, one grey line per layer, the mean in blue. On the diagonal all experts work alike. The curve is also what a cache of experts that never change would hit, were they chosen in hindsight: the busiest quarter would give ${percentText(quarter)}, the more flattering the shorter the trace. Spread: standard deviation of the experts' activation rates (load balance, LB); ${percentText(load.loadBalanceSd, 2)} over the whole model.${unused}`,
    source: routingSource(subject),
    columns: 2,
    charts: [
      (panel) =>
        chart(panel, {
          heading: "Concentration",
          plotHeight: 200,
          x: { title: "busiest experts of a layer (%)", domain: [0, 100], ticks: [0, 25, 50, 75, 100] },
          y: { title: "share of all uses (%)", domain: [0, 100] },
          marks: [
            Plot.line(
              [
                [0, 0],
                [100, 100],
              ],
              { stroke: PALETTE.muted.light, strokeDasharray: "1 3" },
            ),
            ...curves.map((curve) =>
              Plot.line(curve, {
                x: (_, i) => (100 * i) / experts,
                y: (share) => 100 * share,
                stroke: PALETTE.faint.light,
                strokeWidth: 1,
              }),
            ),
            Plot.line(mean, {
              x: (_, i) => (100 * i) / experts,
              y: (share) => 100 * share,
              stroke: PALETTE.subject.light,
              strokeWidth: 2.4,
            }),
            Plot.text(["all alike"], {
              x: () => 58,
              y: () => 50,
              textAnchor: "start",
              fill: PALETTE.muted.light,
              fontSize: 11,
            }),
          ],
        }),
      (panel) =>
        chart(panel, {
          heading: "Spread by layer",
          plotHeight: 200,
          x: {
            title: "MoE block",
            domain: [blocks[0] - 0.7, blocks.at(-1)! + 0.7],
            ticks: wholeTicks(blocks[0], blocks.at(-1)!, 8),
            tickText: String,
          },
          y: { title: "standard deviation of activation rates (%)", domain: [0, highest * 1.05] },
          marks: [
            Plot.ruleX(sds, {
              x: "block",
              y1: 0,
              y2: "sd",
              stroke: PALETTE.subject.light,
              strokeWidth: barWidth(panel.width, blocks.at(-1)! - blocks[0] + 1),
            }),
            Plot.ruleY([0], { stroke: PALETTE.muted.light }),
          ],
        }),
    ],
    table: {
      caption: "Load by MoE block",
      columns: [
        numberColumn("Block"),
        numberColumn("Standard deviation"),
        numberColumn("Busiest expert"),
        numberColumn("Its activation rate"),
        numberColumn("Least used expert's rate"),
        numberColumn("Uses by the busiest quarter"),
      ],
      rows: load.activationRate.map((rates, layer) => {
        const most = Math.max(...rates);
        return [
          String(blocks[layer]),
          percentText(load.layerSd[layer], 2),
          String(rates.indexOf(most)),
          percentText(most),
          percentText(Math.min(...rates), 2),
          percentText(curves[layer][Math.round(experts / 4)]),
        ];
      }),
    },
  });
}

/** [n]: share of a layer's uses that its n busiest experts take; [0] is 0. */
function concentration(rates: readonly number[]): number[] {
  const total = rates.reduce((sum, rate) => sum + rate, 0);
  const shares = [0];
  for (const rate of [...rates].sort((a, b) => b - a)) shares.push(shares.at(-1)! + rate / (total || 1));
  return shares;
}

/** Pixels of a bar that leaves a gap to the next. */
export function barWidth(width: number, bars: number): number {
  return Math.max(1, Math.min(14, Math.floor((0.7 * (width - 46)) / bars)));
}
