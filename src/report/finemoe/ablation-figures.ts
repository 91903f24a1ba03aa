/** Figures of the paper's ablations: lines where the axis has numbers, bars where it has names. */
import * as Plot from "@observablehq/plot";
import type { AblationResult, AblationRow, FinemoeResult } from "../../bench/finemoe/results.ts";
import { bars } from "../bars.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { percentText, ratioText } from "../number-text.ts";
import { logTicks, lookOf, msText, shareText } from "./subject.ts";

/** Doubling steps: their axes are logarithmic. */
const DOUBLING = ["capacity", "batch", "link"];

export function ablationFigures(result: FinemoeResult): readonly Figure[] {
  return result.ablations.flatMap((ablation) => (ablation.rows.length === 0 ? [] : [ablationFigure(result, ablation)]));
}

function ablationFigure({ configuration }: FinemoeResult, ablation: AblationResult): Figure {
  const { id, title, rows, cacheShare } = ablation;
  const times = rows.map(({ label, row }) => `${label}: ${msText(row.tpotMs.value)}`).join("; ");
  return figure({
    id: `ablation-${id}`,
    title: ablation.figure === null ? title : `${title} (the paper's figure ${ablation.figure})`,
    description: `Median time of a token. ${times}.`,
    caption: captionOf(ablation),
    source: `simulated in virtual time from ${configuration.trace}; offline, ${shareText(cacheShare)} of the experts, ${rows[0].row.requests} prompts or batches`,
    charts: [(panel) => (rows.every(({ at }) => at !== null) ? lines(panel, ablation) : columns(panel, ablation))],
    table: {
      caption: title,
      columns: [
        textColumn("Setting"),
        ...["TTFT (s)", "TPOT (ms)", "Hit", "Late", "Coverage", "MB demanded", "MB ahead", "Over LRU"].map(
          numberColumn,
        ),
      ],
      rows: rows.map(({ label, row }) => [
        label,
        (row.ttftMs.value / 1000).toFixed(2),
        row.tpotMs.value.toFixed(1),
        percentText(row.hitRate),
        percentText(row.lateHitRate),
        percentText(row.coverage),
        (row.bytesPerToken.demanded / 1e6).toFixed(0),
        (row.bytesPerToken.speculated / 1e6).toFixed(0),
        ratioText(row.timeOverLru?.value),
      ]),
    },
  });
}

function captionOf({ id, rows }: AblationResult): string {
  const best = rows.reduce((least, row) => (row.row.tpotMs.value < least.row.tpotMs.value ? row : least));
  const worst = rows.reduce((most, row) => (row.row.tpotMs.value > most.row.tpotMs.value ? row : most));
  const range = `Fastest: ${best.label} (${msText(best.row.tpotMs.value)}); slowest: ${worst.label} (${msText(worst.row.tpotMs.value)}).`;
  if (id === "batch") return `A step of several requests gives each of them a token. ${range}`;
  if (id === "link") return `The same routing and computing with drives or links of other speeds. ${range}`;
  return range;
}

function columns(panel: Parameters<typeof bars>[0], { rows }: AblationResult) {
  return bars(panel, {
    title: "time of a token (ms)",
    bars: rows.map(({ label, row }) => ({
      name: label,
      value: row.tpotMs.value,
      text: `${msText(row.tpotMs.value)}, ${percentText(row.hitRate)} hits`,
    })),
  });
}

function lines(panel: Parameters<typeof chart>[0], { id, rows, title }: AblationResult) {
  const policies = [...new Set(rows.map(lineOf))];
  const all = rows.map(({ at }) => at as number);
  const times = rows.map(({ row }) => row.tpotMs.value);
  const ends = policies.map((policy) => rows.filter((row) => lineOf(row) === policy).at(-1) as AblationRow);
  const labels = ends.map((row) => ({
    ...{ x: row.at as number, y: row.row.tpotMs.value, text: lineOf(row) },
    ...{ colour: lookOf(lineOf(row)).colour, bold: lookOf(lineOf(row)).bold },
  }));
  const wide = Math.max(...times) > 5 * Math.min(...times);
  return chart(panel, {
    plotHeight: 220,
    x: {
      ...{
        title: `${title[0].toLowerCase()}${title.slice(1)}`,
        domain: [Math.min(...all), Math.max(...all)],
        tickText: String,
      },
      ticks: [...new Set(all)].sort((a, b) => a - b),
      scale: DOUBLING.includes(id) ? "log" : "linear",
    },
    y: {
      title: "time of a token (ms)",
      domain: wide ? [0.9 * Math.min(...times), 1.1 * Math.max(...times)] : [0, 1.1 * Math.max(...times)],
      ...(wide ? { scale: "log" as const, ticks: logTicks(times), tickText: String } : {}),
    },
    marginRight: labelMargin(labels),
    marks: [
      ...policies.map((policy) =>
        Plot.line(
          rows.filter((row) => lineOf(row) === policy),
          {
            x: "at",
            y: ({ row }: AblationRow) => row.tpotMs.value,
            stroke: lookOf(policy).colour,
            strokeWidth: lookOf(policy).width,
          },
        ),
      ),
      Plot.dot(rows, {
        x: "at",
        y: ({ row }: AblationRow) => row.tpotMs.value,
        r: 2.5,
        fill: (row: AblationRow) => lookOf(lineOf(row)).colour,
      }),
      lineLabels(labels),
    ],
  });
}

/** Switches do not make lines of their own: a line is one policy. */
function lineOf({ row }: AblationRow): string {
  return row.policy.split(":")[0];
}
