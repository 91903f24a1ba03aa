/**
 * The report on a run of the flash bench: verdict, write amplification over cache turns, every row, ablations, speed, goals. It
 * shows what the bench found (`FlashBenchResult`) and judges nothing. Drawing loads Observable Plot and linkedom: import it when
 * wanted.
 */
import type { FlashBenchResult } from "../flash/bench/results.ts";
import type { Figure } from "./figure.ts";
import { ablationFigures } from "./flash/ablation-figures.ts";
import { alwaByTurn, bitsByEngine } from "./flash/alwa-by-turn.ts";
import { sourceLine } from "./flash/subject.ts";
import {
  comparableList,
  configurationList,
  fatesTable,
  goalsTable,
  latencyTable,
  rowsTable,
  speedTable,
} from "./flash/tables.ts";
import { html, type Markup } from "./markup.ts";
import { figureHtml, type PageSection, renderPage } from "./page.ts";

/** All figures that the result has the rows for, in reading order. */
export function flashFigures(result: FlashBenchResult): readonly Figure[] {
  return [...engineFigures(result), ...ablationFigures(result)];
}

/** The report as one HTML file that needs nothing else. */
export function renderFlashHtml(result: FlashBenchResult): string {
  const { configuration, date, rows, speed, ablations, targets } = result;
  const figures = engineFigures(result).map(figureHtml);
  const hasRows = rows.length > 0;
  return renderPage({
    title: "Flash caches for tiny objects compared",
    subtitle: html`<p>${sourceLine(result)}.</p>`,
    sections: [
      { id: "verdict", heading: "Verdict", content: verdict(result) },
      ...section(
        "engines",
        "Engines",
        hasRows,
        html`${figures}${rowsTable(result)}${latencyTable(result)}${fatesTable(result)}`,
      ),
      ...section("ablations", "Ablations", ablations.length > 0, html`${ablationFigures(result).map(figureHtml)}`),
      ...section("speed", "Speed on a real file", speed.length > 0, speedTable(result)),
      ...section("goals", "Goals", targets.length > 0, goalsTable(result)),
      ...section("comparable", "What may be compared", hasRows, comparableList(result)),
      { id: "configuration", heading: "Configuration", content: configurationList(result) },
    ],
    footer: html`<p>Made by warmset ${configuration.warmset} on ${date.slice(0, 10)}. Nemo: arXiv 2603.09605.</p>`,
  });
}

function engineFigures(result: FlashBenchResult): readonly Figure[] {
  return [alwaByTurn(result), bitsByEngine(result)].filter((figure) => figure !== undefined);
}

function verdict({ targets, rows, complete }: FlashBenchResult): Markup {
  const judged = targets.filter(({ met }) => met !== null);
  const missed = judged.filter(({ met }) => met === false);
  const tone = missed.length === 0 ? "good" : judged.length > 2 * missed.length ? "mixed" : "bad";
  const unsteady = rows.filter(({ steady }) => !steady).length;
  return html`<div class="verdict ${judged.length === 0 ? "mixed" : tone}"><p>${
    judged.length === 0
      ? "No goal could be judged: what they are for did not run."
      : `${judged.length - missed.length} of ${judged.length} goals met${targets.length > judged.length ? `, ${targets.length - judged.length} open` : ""}.`
  }</p>
<ul>${missed.map(({ name, wanted, measured }) => html`<li>Not met: ${name}, wanted ${wanted}, here ${measured?.toFixed(3)}.</li>`)}${
    unsteady === 0 ? undefined : html`<li>${unsteady} of ${rows.length} rows ended before a steady state.</li>`
  }${complete ? undefined : html`<li>The run was not finished.</li>`}</ul></div>`;
}

function section(id: string, heading: string, isThere: boolean, content: Markup): PageSection[] {
  return isThere ? [{ id, heading, content }] : [];
}
