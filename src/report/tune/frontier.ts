/** Figures: what a variant saves against how far its predictions stray, one line for each way of moving routers. */
import * as Plot from "@observablehq/plot";
import type { EvaluationResult, VariantFigures } from "../../tune/eval/evaluation.ts";
import { missesAt } from "../../tune/eval/ship-gates.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { PALETTE } from "../palette.ts";
import { baseOf, seriesOf, sourceLine } from "./subject.ts";

interface FrontierParts {
  readonly id: string;
  readonly title: string;
  /** With its unit. */
  readonly axis: string;
  readonly caption: string;
  readonly value: (variant: VariantFigures) => number | undefined;
  readonly text: (value: number) => string;
  readonly source: string;
}

/** Nats a token: what the project takes for harmless. */
const HARMLESS_KL = 0.02;

export function missesFrontier(result: EvaluationResult): Figure | undefined {
  const { deploymentExperts } = result;
  return frontier(result, {
    id: "misses-over-kl",
    title: `Experts read per token over KL, ${deploymentExperts} experts a layer in memory`,
    axis: "experts read per token, all layers",
    caption: `Least recently used caches of ${deploymentExperts} experts for each layer. Left and below is better. A line of tuned routers is one file at several scales; one of cache-prior routing the same base at several lambdas. The dotted upright stands at a KL of ${HARMLESS_KL}.`,
    value: ({ forced }) => missesAt(forced, deploymentExperts),
    text: (value) => value.toFixed(2),
    source: sourceLine(result),
  });
}

export function bytesFrontier(result: EvaluationResult): Figure | undefined {
  return liveFrontier(result, {
    id: "bytes-over-kl",
    title: "Bytes read per token over KL, on the engine",
    axis: "MB read per token",
    value: ({ live }) => (live === null ? undefined : live.bytesPerToken / 1e6),
    text: (value) => value.toFixed(1),
  });
}

export function timeFrontier(result: EvaluationResult): Figure | undefined {
  return liveFrontier(result, {
    id: "time-over-kl",
    title: "Time of a token over KL, on the engine",
    axis: "time of a token (ms)",
    value: ({ live }) => live?.tpotMs,
    text: (value) => value.toFixed(1),
  });
}

function liveFrontier(result: EvaluationResult, parts: Omit<FrontierParts, "caption" | "source">): Figure | undefined {
  const { live } = result;
  if (live === null) return undefined;
  const cache = `${Math.round(100 * live.cacheShare)} % of the experts in memory`;
  return frontier(result, {
    ...parts,
    caption: `Measured on ${live.modelFile} with ${cache} under the policy ${live.policy}, from a cold page cache; median of ${live.runs} runs. KL as in the figure before.`,
    source: `${live.modelFile}, ${cache}, ${live.requests} documents of ${live.tokensPerRequest} tokens, ${live.threads} threads.`,
  });
}

function frontier(result: EvaluationResult, parts: FrontierParts): Figure | undefined {
  const { value, text } = parts;
  const lines = seriesOf(result)
    .map((series) => ({
      ...series,
      points: series.points.flatMap((variant) => {
        const y = value(variant);
        return y === undefined ? [] : [{ name: variant.name, x: variant.drift.meanKl.value, y }];
      }),
    }))
    .filter(({ points }) => points.length > 1);
  if (lines.length === 0) return undefined;
  const all = lines.flatMap(({ points }) => points);
  const most = Math.max(HARMLESS_KL, ...all.map(({ x }) => x));
  const values = all.map(({ y }) => y);
  const base = value(baseOf(result)) as number;
  return figure({
    id: parts.id,
    title: parts.title,
    description: `Line chart. The base is at ${text(base)}. ${lines.map(({ name, points }) => `${name} goes to ${text(points.at(-1)!.y)} at a KL of ${points.at(-1)!.x.toPrecision(2)}`).join(", ")}.`,
    caption: parts.caption,
    source: parts.source,
    charts: [
      (panel) => {
        const labels = lines.map(({ name, colour, points }) => {
          const end = points.at(-1)!;
          return { x: end.x, y: end.y, text: name, colour };
        });
        return chart(panel, {
          plotHeight: panel.narrow ? 240 : 320,
          x: { title: "mean KL of the predictions from the base's (nats a token)", domain: [0, 1.05 * most] },
          y: { title: parts.axis, domain: [Math.min(0.9 * Math.min(...values), base), 1.05 * Math.max(...values)] },
          marginRight: labelMargin(labels),
          marks: [
            Plot.ruleX([HARMLESS_KL], { stroke: PALETTE.faint.light, strokeDasharray: "2 3" }),
            ...lines.flatMap(({ points, colour, dashes }) => [
              Plot.line(points, {
                ...{ x: "x", y: "y", stroke: colour, strokeWidth: 2 },
                ...(dashes === undefined ? {} : { strokeDasharray: dashes }),
              }),
              Plot.dot(points, { x: "x", y: "y", fill: colour, r: 3 }),
            ]),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: parts.title,
      columns: [textColumn("Variant"), numberColumn("Mean KL"), numberColumn(parts.axis)],
      rows: result.variants.flatMap((variant) => {
        const y = value(variant);
        return y === undefined ? [] : [[variant.name, variant.drift.meanKl.value.toFixed(4), text(y)]];
      }),
    },
  });
}
