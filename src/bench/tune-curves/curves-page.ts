/**
 * The curves as one HTML page: bytes and time of a token over quality, one line for each way of saving, what was judged, and every
 * figure behind. It judges nothing itself. Drawing loads Observable Plot and linkedom: import it when wanted.
 */
import * as Plot from "@observablehq/plot";
import { chart } from "../../report/chart.ts";
import { numberColumn, tableHtml, textColumn } from "../../report/data-table.ts";
import { type Figure, figure } from "../../report/figure.ts";
import { labelMargin, lineLabels } from "../../report/line-labels.ts";
import { html, type Markup } from "../../report/markup.ts";
import { bytesText, percentText, ratioText, signedPercentText } from "../../report/number-text.ts";
import { figureHtml, renderPage } from "../../report/page.ts";
import { PALETTE } from "../../report/palette.ts";
import { lineName } from "./curve-variants.ts";
import type { CurvePoint, CurvesResult, CurvesVerdict } from "./results.ts";
import { unbeaten } from "./unbeaten.ts";

export function renderCurvesHtml(result: CurvesResult): string {
  const { configuration, warmset, date, verdict } = result;
  const figures = curveFigures(result).map(figureHtml);
  return renderPage({
    title: "Fewer reads for how much quality",
    subtitle: html`<p>${configuration.engineModel} with ${percentText(configuration.cacheShare, 0)} of its experts in memory: tuned routers, cache-prior routing, and both.</p>`,
    sections: [
      { id: "verdict", heading: "Verdict", content: verdictHtml(verdict) },
      { id: "curves", heading: "Curves", content: html`${figures}` },
      { id: "variants", heading: "Variants", content: pointTable(result) },
      { id: "conditions", heading: "How it was measured", content: conditionsHtml(result) },
    ],
    footer: html`<p>Made by warmset ${warmset} on ${date.slice(0, 10)}. ReMoE: arXiv 2605.27081; cache-prior routing: arXiv 2412.00099.</p>`,
  });
}

/** None before the engine has run. */
export function curveFigures(result: CurvesResult): Figure[] {
  const kl: CurveQuality = {
    id: "kl",
    title: "KL",
    axis: "mean KL of the predictions from the base's (nats a token)",
    limit: 0.02,
    value: ({ meanKl }) => meanKl,
    text: (value) => value.toFixed(4),
  };
  const perplexity: CurveQuality = {
    id: "perplexity",
    title: "perplexity",
    axis: "change of perplexity (%)",
    limit: 1,
    value: ({ perplexityChange }) => 100 * perplexityChange,
    text: (value) => value.toFixed(2),
  };
  const bytes: CurveAxis = {
    id: "bytes",
    title: "Bytes read per token",
    axis: "MB read per token",
    value: ({ engine }) => (engine?.bytesPerToken ?? Number.NaN) / 1e6,
    text: (value) => value.toFixed(0),
  };
  const time: CurveAxis = {
    id: "time",
    title: "Time of a token",
    axis: "ms a token",
    value: ({ engine }) => engine?.tpotMs ?? Number.NaN,
    text: (value) => value.toFixed(0),
  };
  return [bytes, time].flatMap((cost) => [kl, perplexity].flatMap((quality) => curve(result, cost, quality) ?? []));
}

interface CurveQuality extends CurveAxis {
  /** What the project takes for harmless: a dotted upright. */
  readonly limit: number;
}

interface CurveAxis {
  readonly id: string;
  readonly title: string;
  readonly axis: string;
  readonly value: (point: CurvePoint) => number;
  readonly text: (value: number) => string;
}

interface CurveLine {
  readonly name: string;
  readonly colour: string;
  readonly dashes?: string;
  readonly dots: readonly XY[];
  /** Ascending x. */
  readonly line: readonly XY[];
}

interface XY {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

const TUNED_COLOURS = [PALETTE.subject.light, PALETTE.picked.light];
const BOTH_COLOURS = [PALETTE.third.light, PALETTE.related.light];

function curve(result: CurvesResult, cost: CurveAxis, quality: CurveQuality): Figure | undefined {
  const { configuration, points, rounds } = result;
  const ran = points.filter(({ engine }) => engine !== null);
  const base = ran.find(({ family }) => family === "base");
  if (base === undefined || ran.length < 2) return undefined;
  const at = (point: CurvePoint): XY => ({ name: point.name, x: quality.value(point), y: cost.value(point) });
  const lines = curveLines(ran, base, at);
  const all = ran.map(at);
  const title = `${cost.title} over ${quality.title}`;
  const least = Math.min(0, ...all.map(({ x }) => x));
  const most = Math.max(quality.limit, ...all.map(({ x }) => x));
  return figure({
    id: `${cost.id}-over-${quality.id}`,
    title,
    description: `Line chart. The base is at ${cost.text(cost.value(base))} ${cost.axis}. ${lines.map(({ name, line }) => `${name} goes down to ${cost.text(Math.min(...line.map(({ y }) => y)))}`).join(", ")}.`,
    caption: `Left and below is better. Each dot is a variant; the line of both goes through those that no other of them beats in cost and quality. The square is the base, the dotted upright stands at ${quality.limit} ${quality.id === "kl" ? "nats" : "%"}.`,
    source: `${configuration.engineModel}, ${percentText(configuration.cacheShare, 0)} of the experts in memory, policy ${configuration.policy}; medians of ${rounds} rounds of ${configuration.engineTokens} forced tokens. Quality over ${configuration.textTokens} tokens of ${configuration.domains.length} domains.`,
    charts: [
      (panel) => {
        const labels = lines.map(({ name, colour, line }) => ({
          ...{ x: line[line.length - 1].x, y: line[line.length - 1].y, text: name, colour },
        }));
        return chart(panel, {
          plotHeight: panel.narrow ? 240 : 320,
          x: { title: quality.axis, domain: [1.05 * least, 1.05 * most] },
          y: { title: cost.axis, domain: [0, 1.05 * Math.max(...all.map(({ y }) => y))] },
          marginRight: labelMargin(labels),
          marks: [
            Plot.ruleX([quality.limit], { stroke: PALETTE.faint.light, strokeDasharray: "2 3" }),
            ...lines.flatMap(({ line, dots, colour, dashes }) => [
              Plot.line(line, {
                ...{ x: "x", y: "y", stroke: colour, strokeWidth: 2 },
                ...(dashes === undefined ? {} : { strokeDasharray: dashes }),
              }),
              Plot.dot(dots, { x: "x", y: "y", fill: colour, r: 3 }),
            ]),
            Plot.dot([at(base)], { x: "x", y: "y", fill: PALETTE.ink.light, symbol: "square", r: 5 }),
            lineLabels(labels),
          ],
        });
      },
    ],
    table: {
      caption: title,
      columns: [textColumn("Variant"), numberColumn(quality.axis), numberColumn(cost.axis)],
      rows: ran.map((point) => [point.name, quality.text(quality.value(point)), cost.text(cost.value(point))]),
    },
  });
}

function curveLines(ran: readonly CurvePoint[], base: CurvePoint, at: (point: CurvePoint) => XY): CurveLine[] {
  const names = [...new Set(ran.filter((point) => point !== base).map(lineName))];
  const coloured = { tuned: 0, both: 0 };
  return names.map((name): CurveLine => {
    const own = ran.filter((point) => lineName(point) === name);
    const dots = own.map(at);
    const from = [at(base), ...dots].sort((a, b) => a.x - b.x);
    switch (own[0].family) {
      case "cache-prior":
        return { name, colour: PALETTE.second.light, dots, line: from };
      case "both":
        return {
          name,
          colour: BOTH_COLOURS[coloured.both++ % 2],
          dashes: "6 3",
          dots,
          line: unbeaten(
            dots,
            ({ x }) => x,
            ({ y }) => y,
          ),
        };
      default:
        return { name, colour: TUNED_COLOURS[coloured.tuned++ % 2], dots, line: from };
    }
  });
}

function verdictHtml(verdict: CurvesVerdict | null): Markup {
  if (verdict === null) return html`<p>The engine has not run yet: nothing is judged.</p>`;
  const { limit, lines, passed } = verdict;
  const goal = `at most ${percentText(limit.bytesShare, 0)} of the base's bytes per token at perplexity ${signedPercentText(limit.perplexityChange)}`;
  return html`<p>${passed ? "Reached" : "Not reached"} by tuned routers with cache-prior routing: ${goal}.</p>${tableHtml(
    {
      caption: `The fewest bytes within ${signedPercentText(limit.perplexityChange)} of perplexity, over the base's`,
      columns: [
        ...[textColumn("Line"), textColumn("Best measured")],
        ...["Bytes", "Time", "Perplexity", "± (standard error)", "Mean KL", "Bytes at the limit, interpolated"].map(
          numberColumn,
        ),
      ],
      rows: lines.map(({ line, best, interpolatedBytesShare }) => [
        line,
        ...(best === null
          ? ["none is within", "–", "–", "–", "–", "–"]
          : [
              ...[best.name, percentText(best.bytesShare), percentText(best.tpotShare)],
              ...[signedPercentText(best.perplexityChange), percentText(best.perplexityError), best.meanKl.toFixed(4)],
            ]),
        percentText(interpolatedBytesShare),
      ]),
    },
  )}`;
}

function pointTable({ points }: CurvesResult): Markup {
  return tableHtml({
    caption: "Every variant: quality over all of the text, cost on the engine (medians over rounds)",
    columns: [
      textColumn("Variant"),
      ...["KL mean", "KL 99 %", "Same top", "Perplexity", "± (standard error)", "Bytes a token", "over base"].map(
        numberColumn,
      ),
      ...["ms a token", "of rounds", "Hit", "Misses/token", "Swapped", "KL of these tokens", "Bytes, all text"].map(
        numberColumn,
      ),
    ],
    rows: points.map(({ name, meanKl, p99Kl, top1Agreement, perplexityChange, perplexityError, ...point }) => [
      ...[name, meanKl.toFixed(4), p99Kl.toFixed(3), percentText(top1Agreement)],
      ...[signedPercentText(perplexityChange), percentText(perplexityError)],
      ...engineCells(point.engine),
      percentText(point.textBytesShare),
    ]),
  });
}

function engineCells(engine: CurvePoint["engine"]): string[] {
  if (engine === null) return new Array<string>(8).fill("–");
  return [
    ...[bytesText(engine.bytesPerToken), percentText(engine.bytesShare), engine.tpotMs.toFixed(1)],
    ...[engine.tpotRangeMs.map((ms) => ms.toFixed(1)).join(" to "), percentText(engine.hitRate)],
    ...[ratioText(engine.missesPerToken), percentText(engine.swapRate), engine.meanKl.toFixed(4)],
  ];
}

function conditionsHtml({ configuration, rounds, machine, command, complete, notes }: CurvesResult): Markup {
  const { domains, lastTokens, textTokens, engineTokens, routers, threads, policy, model, engineModel } = configuration;
  const items = [
    `Command: ${command}`,
    `Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.kernel}.`,
    `Routers: ${routers.map(({ label, file, method, sha256 }) => `${label} = ${file} (${method}, SHA-256 ${sha256}…)`).join("; ") || "none"}.`,
    `Text: the last ${lastTokens} tokens of ${domains.join(", ")}, forced one by one after a short prompt; routers must not have been tuned on them.`,
    `Quality: ${textTokens} tokens through ${model} under the same share of experts and the same policy, closed loop: what was swapped is what the model computed with. Against the same tokens' predictions of the untuned model with all in memory.`,
    `Bytes and time: the first ${engineTokens / domains.length} tokens of each of the same texts through ${engineModel} (its logits are equal to the last bit), ${threads} threads, policy ${policy}, each run a process of its own from a cold page cache, ${rounds} rounds in turned order. "KL of these tokens" is that of the engine's own runs.`,
    "Of both, the engine runs those variants that no other of them beats on the text, in bytes and in KL or perplexity.",
    "Time of a token is the mean over a run's tokens; bytes are those demanded and read ahead.",
    ...(complete ? [] : ["Not all runs are there yet."]),
    ...notes,
  ];
  return html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`;
}
