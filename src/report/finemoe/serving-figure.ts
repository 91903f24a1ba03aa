/** Figures: how long requests take that arrive while others are served. */
import * as Plot from "@observablehq/plot";
import type { FinemoeResult } from "../../bench/finemoe/results.ts";
import type { ServingFigures } from "../../bench/finemoe/serving.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { type KeyedLine, lineKey } from "../line-key.ts";
import { lookOf } from "./subject.ts";

/** Slower ones would leave no room for the others; the table has them. */
const SHOWN_OVER_FASTEST = 12;

export function servingFigures(result: FinemoeResult): readonly Figure[] {
  const rates = [...new Set(result.serving.map(({ requestsPerSecond }) => requestsPerSecond))];
  return rates.map((rate, i) => servingFigure(result, rate, i));
}

function servingFigure({ serving, configuration }: FinemoeResult, rate: number, index: number): Figure {
  const all = serving.filter(({ requestsPerSecond }) => requestsPerSecond === rate);
  const fastest = Math.min(...all.map(({ latencyMs }) => latencyMs.p50));
  const rows = all
    .filter(({ latencyMs }) => latencyMs.p50 <= SHOWN_OVER_FASTEST * fastest)
    .sort((a, b) => a.latencyMs.p50 - b.latencyMs.p50);
  const load = all.find(({ policy }) => policy === "lru")?.load ?? Number.NaN;
  const perSecond = rate.toPrecision(3);
  return figure({
    id: `serving-${index}`,
    title: `Requests served online at ${perSecond} a second`,
    description: `Cumulative shares of requests by latency. Medians: ${all.map((one) => `${one.policy} ${seconds(one.latencyMs.p50)} s`).join(", ")}.`,
    caption:
      load > 1
        ? `The paper's arrival rate. With LRU there is ${load.toFixed(1)} times the work that the machine can do in the time, so the queue grows from the first to the last request, and latency is total throughput in another form.`
        : `A rate that keeps the machine busy for ${Math.round(100 * load)} % of the time with LRU: what a policy saves shows twice, in serving and in queueing.`,
    source: `simulated from ${configuration.trace}; ${rows[0].requests} requests, Poisson arrivals, one request at a time, first come first served, nothing learned before`,
    charts: [
      (panel) => {
        const points = rows.flatMap(({ policy, cdfMs }) => cdfMs.map((ms, i) => ({ policy, ms, share: 5 * i })));
        return chart(panel, {
          plotHeight: Math.max(260, 19 * rows.length + 20),
          x: {
            title: "from arrival to the last token (s)",
            domain: [0, Math.max(...rows.map(({ cdfMs }) => cdfMs[20])) / 1000],
          },
          y: { title: "share of requests (%)", domain: [0, 100] },
          marks: [
            ...rows.map(({ policy }) =>
              Plot.line(
                points.filter((point) => point.policy === policy),
                {
                  x: ({ ms }: (typeof points)[number]) => ms / 1000,
                  y: "share",
                  stroke: lookOf(policy).colour,
                  strokeWidth: lookOf(policy).width,
                  ...(lookOf(policy).dashes === undefined ? {} : { strokeDasharray: lookOf(policy).dashes! }),
                },
              ),
            ),
            lineKey(rows.map(keyOf)),
          ],
        });
      },
    ],
    table: {
      caption: "Latency in seconds",
      columns: [textColumn("Policy"), ...["Load", "p50", "p90", "p99", "First token p50", "p99"].map(numberColumn)],
      rows: all.map(servingCells),
    },
  });
}

/** Latency curves rise early: the lower right corner is empty. */
function keyOf({ policy }: ServingFigures): KeyedLine {
  const { bold: _, ...look } = lookOf(policy);
  return { text: policy, ...look };
}

function servingCells({ policy, load, latencyMs, firstTokenMs }: ServingFigures): string[] {
  const times = [latencyMs.p50, latencyMs.p90, latencyMs.p99, firstTokenMs.p50, firstTokenMs.p99];
  return [policy, load.toFixed(2), ...times.map(seconds)];
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
