/** What figures and tables of tuned routers have in common: series of variants, their colours, the line at a figure's foot. */
import type { EvaluationResult, VariantFigures } from "../../tune/eval/evaluation.ts";
import { countText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";

/** Variants that differ in strength alone: one router at several scales, or cache-prior routing at several lambdas. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly dashes?: string;
  /** By KL, from the base on. */
  readonly points: readonly VariantFigures[];
}

const TUNED_COLOURS = [PALETTE.subject.light, PALETTE.third.light, PALETTE.picked.light, PALETTE.related.light];

export function baseOf({ variants }: EvaluationResult): VariantFigures {
  return variants[0];
}

export function seriesOf(result: EvaluationResult): Series[] {
  const base = baseOf(result);
  const groups = new Map<string, VariantFigures[]>();
  for (const variant of result.variants) {
    const name = seriesName(variant);
    if (name !== undefined) groups.set(name, [...(groups.get(name) ?? []), variant]);
  }
  let next = 0;
  return [...groups].map(([name, variants]) => {
    const [{ kind }] = variants;
    const ascending = [...variants].sort((a, b) => a.drift.meanKl.value - b.drift.meanKl.value);
    const points = kind === "tuned+cache-prior" ? ascending : [base, ...ascending];
    if (kind === "cache-prior") return { name, points, colour: PALETTE.second.light };
    if (kind === "random") return { name, points, colour: PALETTE.muted.light, dashes: "2 3" };
    const colour = TUNED_COLOURS[next++ % TUNED_COLOURS.length];
    return kind === "tuned+cache-prior" ? { name, points, colour, dashes: "6 3" } : { name, points, colour };
  });
}

/** "routers @0.5" and "routers" are one series; undefined for what is a point of none. */
function seriesName({ name, kind }: VariantFigures): string | undefined {
  switch (kind) {
    case "base":
    case "noise-floor":
      return undefined;
    case "cache-prior":
      return "cache-prior";
    case "random":
      return name;
    case "tuned":
      return withoutScale(name);
    case "tuned+cache-prior":
      return name.replace(/ \+ cache-prior .*$/, " + cache-prior");
    default:
      return kind satisfies never;
  }
}

function withoutScale(name: string): string {
  return name.replace(/ @[\d.]+$/, "");
}

/** What stands for each router in figures of single variants: whole, or at the largest scale. */
export function fullVariants({ variants }: EvaluationResult): VariantFigures[] {
  const best = new Map<string, VariantFigures>();
  for (const variant of variants.filter(({ kind }) => kind === "tuned")) {
    const name = withoutScale(variant.name);
    if ((variant.scale ?? 1) > (best.get(name)?.scale ?? 0)) best.set(name, variant);
  }
  return [...best.values()];
}

export function sourceLine({ model, documents, warmCaches }: EvaluationResult): string {
  return `${model.name}, ${countText(documents.tokens)} tokens of given text (${documents.domains.join(", ")}); caches ${warmCaches ? "go on from document to document" : "empty at each document"}.`;
}
