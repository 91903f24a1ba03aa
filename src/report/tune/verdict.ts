/** The first words of an evaluation: which variants could ship, and what speaks against the others. */
import type { EvaluationResult, VariantFigures } from "../../tune/eval/evaluation.ts";
import { missesAt } from "../../tune/eval/ship-gates.ts";
import { html, type Markup } from "../markup.ts";
import { signedPercentText } from "../number-text.ts";
import { baseOf } from "./subject.ts";

export function tuneVerdict(result: EvaluationResult): Markup {
  const judged = result.variants.filter(({ gates }) => gates.length > 0);
  const sound = judged.filter(({ gates }) => gates.every(({ passed }) => passed !== false));
  const tone = judged.length === 0 ? "mixed" : sound.length > 0 ? "good" : "bad";
  const first =
    judged.length === 0
      ? "No tuned routers were compared."
      : sound.length === 0
        ? "No variant meets every condition for shipping that was measured."
        : `${sound.map(({ name }) => name).join(", ")}: every condition that was measured is met.`;
  return html`<div class="verdict ${tone}"><p>${first}</p>
<ul>${judged.map((variant) => html`<li>${sentence(variant, result)}</li>`)}</ul></div>
<p>Tuned routers and cache-prior routing change what the model says. The predictions were compared with the base's at every token of the same text.</p>`;
}

function sentence(variant: VariantFigures, result: EvaluationResult): string {
  const { name, forced, drift, gates } = variant;
  const own = missesAt(forced, result.deploymentExperts);
  const base = missesAt(baseOf(result).forced, result.deploymentExperts);
  const misses = own === undefined || base === undefined ? "" : `, reads ${signedPercentText(own / base - 1)}`;
  const failed = gates.filter(({ passed }) => passed === false).map((gate) => gate.name);
  const against = failed.length === 0 ? "" : `. Against it: ${failed.join(", ")}`;
  return `${name}: overlap ${signedPercentText(forced.eorChange?.value ?? 0)}${misses}, perplexity ${signedPercentText(drift.perplexityChange.value)}, KL ${drift.meanKl.value.toPrecision(2)}${against}.`;
}
