/** Figure: how often each expert of each layer is used, against even use. */
import { wholeTicks } from "../axis-ticks.ts";
import { chart } from "../chart.ts";
import { type CellColours, colourCells, colourKey, KEY_HEIGHT } from "../colour-cells.ts";
import { numberColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { percentText, ratioText } from "../number-text.ts";
import { DIVERGING } from "../palette.ts";
import { figureId, routingSource, type Subject } from "./subject.ts";

const BORDER_TEXTS: Readonly<Record<number, string>> = { 0.25: "1/4", 0.5: "1/2", 2: "2", 4: "4" };

const COLOURS: CellColours = {
  borders: [1 / 4, 1 / 2.83, 1 / 2, 1 / 1.41, 1.41, 2, 2.83, 4],
  colours: DIVERGING.map(({ light }) => light),
  title: "times even use",
  borderText: (border) => BORDER_TEXTS[border] ?? "",
};

export function heatMapFigure(subject: Subject): Figure | undefined {
  const rates = subject.phase.load.activationRate;
  if (rates.length === 0) return undefined;
  const { moeBlocks: blocks, experts, expertsUsed } = subject.report.model;
  const even = expertsUsed / experts;
  const relative = rates.map((row) => row.map((rate) => rate / even));
  const all = relative.flat();
  const busy = all.filter((value) => value >= 2).length;
  const idle = all.filter((value) => value < 0.5).length;
  const most = { value: 0, layer: 0, expert: 0 };
  for (const [layer, row] of relative.entries())
    for (const [expert, value] of row.entries()) if (value > most.value) Object.assign(most, { value, layer, expert });
  const rowHeight = Math.max(6, Math.min(18, Math.round(320 / blocks.length)));
  return figure({
    id: figureId(subject, "activation-heat-map"),
    title: "Use of every expert",
    description: `Heat map of ${blocks.length} layers by ${experts} experts. ${busy} of ${all.length} experts are used at least twice as often as an even share, ${idle} less than half as often. The busiest is expert ${most.expert} of block ${blocks[most.layer]}.`,
    caption: `Activation rate of each expert over that of even use (k/E = ${percentText(even)}). Orange experts are worth keeping in memory for good, blue ones are rarely needed. ${busy} of ${all.length} experts are used at least twice the even share, ${idle} less than half. The busiest is expert ${most.expert} of block ${blocks[most.layer]}, used by ${percentText(rates[most.layer][most.expert])} of tokens.`,
    source: routingSource(subject),
    charts: [
      (panel) =>
        chart(panel, {
          keyHeight: KEY_HEIGHT,
          plotHeight: rowHeight * blocks.length,
          x: {
            title: "expert",
            domain: [0, experts],
            ticks: wholeTicks(0, experts - 1, panel.narrow ? 6 : 12).map((e) => e + 0.5),
            tickText: (e) => String(e - 0.5),
          },
          y: {
            title: "MoE block",
            domain: [blocks.length, 0],
            ticks: wholeTicks(0, blocks.length - 1, Math.floor((rowHeight * blocks.length) / 16)).map(
              (layer) => layer + 0.5,
            ),
            tickText: (layer) => String(blocks[layer - 0.5]),
            grid: false,
          },
          marks: [colourCells(relative, COLOURS), colourKey(COLOURS)],
        }),
    ],
    table: {
      caption: "Activation rate (%) by block and expert",
      columns: [numberColumn("Block"), ...Array.from({ length: experts }, (_, expert) => numberColumn(String(expert)))],
      rows: rates.map((row, layer) => [String(blocks[layer]), ...row.map((rate) => ratioText(100 * rate, 1))]),
    },
  });
}
