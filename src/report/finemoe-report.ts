/**
 * The report on a comparison of policies: verdict, figures, every row, ablations, the paper beside ours, configuration. It shows
 * what the suite found (`FinemoeResult`) and judges nothing. Drawing loads Observable Plot and linkedom: import it when wanted.
 */
import type { FinemoeResult } from "../bench/finemoe/results.ts";
import type { Figure } from "./figure.ts";
import { ablationFigures } from "./finemoe/ablation-figures.ts";
import { bytesFigure } from "./finemoe/bytes.ts";
import { configurationList } from "./finemoe/configuration.ts";
import { hitsAndTimeFigure } from "./finemoe/hits-and-time.ts";
import { servingFigures } from "./finemoe/serving-figure.ts";
import { type Side, sidesOf, sideText } from "./finemoe/subject.ts";
import { cellTables, goalsTable, notRun, publishedTable, realTracesTable } from "./finemoe/tables.ts";
import { tpotByCacheFigure } from "./finemoe/tpot-by-cache.ts";
import { finemoeVerdict } from "./finemoe/verdict.ts";
import { html } from "./markup.ts";
import { figureHtml, type PageSection, renderPage } from "./page.ts";

/** All figures that the result has the rows for, in reading order. */
export function finemoeFigures(result: FinemoeResult): readonly Figure[] {
  return [...sidesOf(result).flatMap(sideFigures), ...servingFigures(result), ...ablationFigures(result)];
}

/** The report as one HTML file that needs nothing else. */
export function renderFinemoeHtml(result: FinemoeResult): string {
  const { configuration, date } = result;
  return renderPage({
    title: `Policies compared on ${configuration.model}`,
    subtitle: html`<p>${configuration.trace}. FineMoE, its baselines, floors and ceilings, and warmset's own policy.</p>`,
    sections: [
      { id: "verdict", heading: "Verdict", content: finemoeVerdict(result) },
      { id: "goals", heading: "Goals", content: goalsTable(result) },
      ...sidesOf(result).map(sideSection),
      ...figureSection("serving", "Serving online", servingFigures(result)),
      ...figureSection("ablations", "Ablations", ablationFigures(result)),
      ...(result.published.length === 0
        ? []
        : [{ id: "published", heading: "Beside the paper", content: publishedTable(result) }]),
      ...(result.realTraces.length === 0
        ? []
        : [{ id: "real-traces", heading: "Traces of real models", content: realTracesTable(result) }]),
      { id: "not-run", heading: "Not run", content: notRun(result) },
      { id: "configuration", heading: "Configuration", content: configurationList(result) },
    ],
    footer: html`<p>Made by warmset ${configuration.warmset} on ${date.slice(0, 10)}. FineMoE: arXiv 2502.05370 v2.</p>`,
  });
}

function sideFigures(side: Side): readonly Figure[] {
  return [tpotByCacheFigure(side), hitsAndTimeFigure(side), bytesFigure(side)].filter((figure) => figure !== undefined);
}

function sideSection(side: Side): PageSection {
  const heading = `${sideText(side)[0].toUpperCase()}${sideText(side).slice(1)}`;
  const content = html`${sideFigures(side).map(figureHtml)}${cellTables(side)}`;
  return { id: `${side.source}-${side.mode}`, heading, content };
}

function figureSection(id: string, heading: string, figures: readonly Figure[]): PageSection[] {
  return figures.length === 0 ? [] : [{ id, heading, content: html`${figures.map(figureHtml)}` }];
}
