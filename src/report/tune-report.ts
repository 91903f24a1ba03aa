/**
 * The report on tuned routers: which could ship, what each variant costs and brings, and every figure behind. It shows what an
 * evaluation found (`EvaluationResult`) and judges nothing. Drawing loads Observable Plot and linkedom: import it when wanted.
 */
import type { EvaluationResult } from "../tune/eval/evaluation.ts";
import type { Figure } from "./figure.ts";
import { html } from "./markup.ts";
import { countText } from "./number-text.ts";
import { figureHtml, type PageSection, renderPage } from "./page.ts";
import { bytesFrontier, missesFrontier, timeFrontier } from "./tune/frontier.ts";
import { hitsBySize } from "./tune/hits-by-size.ts";
import { reuseAtLag } from "./tune/reuse-at-lag.ts";
import { cacheTable, conditionsList, domainTable, gateTables, liveTable, variantTable } from "./tune/tables.ts";
import { tuneVerdict } from "./tune/verdict.ts";

/** All figures that the result has the numbers for, in reading order. */
export function tuneFigures(result: EvaluationResult): readonly Figure[] {
  return [
    missesFrontier(result),
    bytesFrontier(result),
    timeFrontier(result),
    hitsBySize(result),
    reuseAtLag(result),
  ].filter((figure) => figure !== undefined);
}

/** The report as one HTML file that needs nothing else. */
export function renderTuneHtml(result: EvaluationResult): string {
  const { model, documents, date, warmset, live } = result;
  const figures = tuneFigures(result).map(figureHtml);
  return renderPage({
    title: `Tuned routers of ${model.name}`,
    subtitle: html`<p>${documents.count} documents (${documents.domains.join(", ")}), ${countText(documents.tokens)} tokens, the same for every variant.</p>`,
    sections: [
      { id: "verdict", heading: "Verdict", content: tuneVerdict(result) },
      { id: "variants", heading: "Variants", content: variantTable(result) },
      ...section("curves", "Curves", figures.length > 0, html`${figures}`),
      ...section("engine", "On the engine", live !== null, liveTable(result)),
      { id: "gates", heading: "Conditions for shipping", content: gateTables(result) },
      { id: "domains", heading: "Domains", content: domainTable(result) },
      { id: "caches", heading: "Caches", content: cacheTable(result) },
      { id: "conditions", heading: "How it was measured", content: conditionsList(result) },
    ],
    footer: html`<p>Made by warmset ${warmset} on ${date.slice(0, 10)}. ReMoE: arXiv 2605.27081; cache-prior routing: arXiv 2412.00099.</p>`,
  });
}

function section(id: string, heading: string, isThere: boolean, content: PageSection["content"]): PageSection[] {
  return isThere ? [{ id, heading, content }] : [];
}
