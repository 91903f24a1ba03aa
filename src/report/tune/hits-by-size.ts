/** Figure: hit rate of LRU by size of the cache, before and after, and what no policy can exceed. */
import * as Plot from "@observablehq/plot";
import type { CachePolicy } from "../../tune/eval/cache-cells.ts";
import type { EvaluationResult, VariantFigures } from "../../tune/eval/evaluation.ts";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { labelMargin, lineLabels } from "../line-labels.ts";
import { percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { baseOf, fullVariants, sourceLine } from "./subject.ts";

export function hitsBySize(result: EvaluationResult): Figure | undefined {
  const base = baseOf(result);
  const tuned = fullVariants(result);
  const lines = [
    { name: "base", points: curve(base, "lru"), colour: PALETTE.muted.light },
    ...tuned.map((variant, i) => ({
      name: variant.name,
      points: curve(variant, "lru"),
      colour: [PALETTE.subject.light, PALETTE.third.light, PALETTE.picked.light][i % 3],
    })),
    { name: "base, Belady", points: curve(base, "belady"), colour: PALETTE.second.light },
  ];
  const sizes = lines[0].points.map(({ size }) => size);
  if (sizes.length < 2) return undefined;
  const at = (points: (typeof lines)[number]["points"], size: number) =>
    points.find((point) => point.size === size)?.hit;
  return figure({
    id: "hits-by-size",
    title: "LRU hit rate by size of the cache",
    description: `Line chart of hit rates from ${sizes[0]} to ${sizes.at(-1)} experts for each layer. ${lines.map(({ name, points }) => `${name} from ${percentText(points[0].hit)} to ${percentText(points.at(-1)!.hit)}`).join(", ")}.`,
    caption:
      "A cache for each layer; a token's experts are looked up together, as the engine does it. Belady evicts what is needed again last: no policy hits more on the base's routing.",
    source: sourceLine(result),
    charts: [
      (panel) => {
        const labels = lines.map(({ name, points, colour }) => {
          const end = points.at(-1)!;
          return { x: end.size, y: 100 * end.hit, text: name, colour };
        });
        return chart(panel, {
          plotHeight: panel.narrow ? 240 : 300,
          x: {
            title: "experts of each layer in memory",
            domain: [sizes[0], sizes.at(-1)!],
            ticks: sizes,
            tickText: String,
          },
          y: { title: "hit rate (%)", domain: [0, 100] },
          marginRight: labelMargin(labels),
          marks: [
            ...lines.map(({ points, colour }) =>
              Plot.line(points, {
                x: "size",
                y: (point: { hit: number }) => 100 * point.hit,
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
      caption: "Hit rate by experts of each layer in memory",
      columns: [textColumn("Variant"), ...sizes.map((size) => numberColumn(String(size)))],
      rows: lines.map(({ name, points }) => [name, ...sizes.map((size) => percentText(at(points, size)))]),
    },
  });
}

function curve({ forced }: VariantFigures, wanted: CachePolicy): { readonly size: number; readonly hit: number }[] {
  return forced.caches
    .filter(({ scope, policy, accounting }) => scope === "layer" && policy === wanted && accounting === "set")
    .map(({ expertsPerLayer, hitRate }) => ({ size: expertsPerLayer, hit: hitRate.value }));
}
