/**
 * The report on a routing trace: verdict, key figures, figures, comparison with published models, conventions. It shows what an
 * analysis found (`LocalityReport`); it computes no metric. Drawing needs Observable Plot and linkedom, which take a third of a
 * second to load: import this module when a report is wanted, not before.
 */
import type { LocalityReport } from "../locality/report-data.ts";
import type { Figure } from "./figure.ts";
import { cacheCurvesFigure } from "./locality/cache-curves.ts";
import { cachePublishedFigure, schBySegmentFigure } from "./locality/cache-published.ts";
import { comparisonTable } from "./locality/comparison-table.ts";
import { conventions } from "./locality/conventions.ts";
import { domainBarsFigure } from "./locality/domains.ts";
import { expertVocabulary } from "./locality/expert-vocabulary.ts";
import { heatMapFigure } from "./locality/heat-map.ts";
import { keyFigures } from "./locality/key-figures.ts";
import { loadFigure } from "./locality/load.ts";
import { reuseFigure } from "./locality/reuse.ts";
import { specialisationFigure } from "./locality/specialisation.ts";
import { srpByLayerFigure } from "./locality/srp-by-layer.ts";
import { srpByPositionFigure } from "./locality/srp-by-position.ts";
import { srpBySegmentFigure } from "./locality/srp-by-segment.ts";
import { phaseText, type Subject } from "./locality/subject.ts";
import { transferFigure } from "./locality/transfer.ts";
import { traceFacts, verdictBox } from "./locality/verdict.ts";
import { html, type Markup } from "./markup.ts";
import { figureHtml, type PageSection, renderPage } from "./page.ts";

/** Chapters of the figures, in reading order. */
const CHAPTERS: readonly {
  readonly id: string;
  readonly heading: string;
  readonly figures: readonly ((subject: Subject) => Figure | undefined)[];
}[] = [
  { id: "caches", heading: "Caches", figures: [cacheCurvesFigure, schBySegmentFigure, cachePublishedFigure] },
  { id: "consistency", heading: "Consistency", figures: [srpByLayerFigure, srpBySegmentFigure, srpByPositionFigure] },
  { id: "reuse-of-experts", heading: "Reuse and load", figures: [reuseFigure, loadFigure, heatMapFigure] },
  {
    id: "specialisation-of-experts",
    heading: "Domains and specialisation",
    figures: [domainBarsFigure, transferFigure, specialisationFigure],
  },
];

/**
 * All figures that the report's data allow, in reading order; what a trace lacks (token ids, a second domain, long enough
 * samples) leaves its figures out. With several phases each has its own, named after it.
 */
export function localityFigures(report: LocalityReport): readonly Figure[] {
  return report.phases.flatMap((phase) => CHAPTERS.flatMap(({ figures }) => drawn(figures, { report, phase })));
}

/** The report as one HTML file that needs nothing else. */
export function renderLocalityHtml(report: LocalityReport): string {
  const several = report.phases.length > 1;
  const sections = report.phases.flatMap((phase) => phaseSections({ report, phase }, several));
  return renderPage({
    title: `Routing locality of ${report.model.name}`,
    subtitle: traceFacts(report),
    sections: [...sections, { id: "conventions", heading: "Conventions and limits", content: conventions(report) }],
    footer: html`<p>Recorded with ${report.recording.recorder} on ${report.recording.date.slice(0, 10)}. Published values: “Not All Models Suit Expert Offloading”, arXiv 2505.16056 v4.</p>`,
  });
}

function phaseSections(subject: Subject, several: boolean): PageSection[] {
  const { phase } = subject.phase;
  const named = (id: string, heading: string, content: Markup): PageSection => ({
    id: several ? `${phase}-${id}` : id,
    heading: several ? `${heading}, ${phaseText(subject.phase)}` : heading,
    content,
  });
  return [
    named("verdict", "Verdict", html`${verdictBox(subject)}${keyFigures(subject)}`),
    named("published", "Beside published models", comparisonTable(subject)),
    ...CHAPTERS.flatMap(({ id, heading, figures }) => {
      const content = drawn(figures, subject).map(figureHtml);
      return content.length === 0 ? [] : [named(id, heading, html`${content}`)];
    }),
    ...expertVocabulary(subject).map((content) => named("words", "Words of experts", content)),
  ];
}

function drawn(figures: readonly ((subject: Subject) => Figure | undefined)[], subject: Subject): Figure[] {
  return figures.flatMap((draw) => draw(subject) ?? []);
}
