/** Figure: does an expert that is special (to domains, to words) route steadily? One dot per expert. */
import * as Plot from "@observablehq/plot";
import { chart } from "../chart.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { dotCloud } from "../dot-cloud.ts";
import { type Figure, figure } from "../figure.ts";
import { countText, ratioText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";
import { figureId, headlineSegment, routingSource, type Subject } from "./subject.ts";

interface Special {
  readonly heading: string;
  readonly axis: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly mean: number;
  readonly r: number | null;
  readonly end: number;
}

const TOKEN_KINDS = { input: "input token", predicted: "predicted token", next: "next token" } as const;

export function specialisationFigure(subject: Subject): Figure | undefined {
  const main = headlineSegment(subject);
  const srp = main?.experts?.srp;
  if (main === undefined || srp === undefined) return undefined;
  const { domains, vocabulary, correlations } = subject.phase;
  const pairs = (values: readonly (readonly (number | null)[])[]) =>
    values.flatMap((row, layer) =>
      row.flatMap((value, expert) => (value === null ? [] : [[value, 100 * srp[layer][expert]] as const])),
    );
  const kinds: Special[] = [
    ...(domains.specialisation === null
      ? []
      : [domainKind(pairs(domains.expertCv), domains.specialisation, correlations.srpDomainCv)]),
    ...(vocabulary?.kinds ?? []).map((kind) => ({
      heading: `Vocabulary: ${TOKEN_KINDS[kind.kind]}`,
      axis: "vocabulary specialisation VS",
      points: pairs(kind.expertVs),
      mean: kind.specialisation,
      r: correlations.srpVocabulary.find((one) => one.kind === kind.kind)?.r ?? null,
      end: 1,
    })),
  ].filter(({ points }) => points.length > 0);
  if (kinds.length === 0) return undefined;
  const said = kinds.map(({ heading, r }) => `${heading.toLowerCase()} r = ${ratioText(r)}`).join(", ");
  return figure({
    id: figureId(subject, "specialisation"),
    title: "Specialised experts and consistency",
    description: `Scatter plots, one dot per expert: SRP at m = ${main.segmentLength} against specialisation. Correlations: ${said}.`,
    caption: `Each dot is an expert. To the right: experts used for few domains (CV of the activation rate over domains) or for words of their own (VS, share of a word's occurrences that the expert takes). Upwards: experts that stay active once they are. Pearson correlations: ${said}. In the published models domains matter more than words.`,
    source: routingSource(subject),
    columns: Math.min(2, kinds.length),
    charts: kinds.map(
      ({ heading, axis, points, r, end }) =>
        (panel) =>
          chart(panel, {
            heading,
            plotHeight: 200,
            x: { title: axis, domain: [0, end], ticks: 5, grid: true },
            y: { title: `SRP of the expert, m = ${main.segmentLength} (%)`, domain: [0, 100] },
            marks: [
              dotCloud({ points, colour: PALETTE.subject.light }),
              Plot.text([`r = ${ratioText(r)}`], {
                frameAnchor: "top-right",
                dx: -4,
                dy: 4,
                fill: PALETTE.ink.light,
                stroke: PALETTE.surface.light,
                strokeWidth: 4,
                fontWeight: 600,
              }),
            ],
          }),
    ),
    table: {
      caption: "Specialisation of experts",
      columns: [
        textColumn("Kind"),
        numberColumn("Experts"),
        numberColumn("Mean"),
        numberColumn("Correlation with SRP"),
      ],
      rows: kinds.map(({ heading, points, mean, r }) => [
        heading,
        countText(points.length),
        ratioText(mean, 3),
        ratioText(r),
      ]),
    },
  });
}

function domainKind(points: Special["points"], mean: number, r: number | null): Special {
  const end = Math.max(0.5, Math.ceil(2 * Math.max(0, ...points.map(([cv]) => cv))) / 2);
  return { heading: "Domains", axis: "CV of activation rate over domains", points, mean, r, end };
}
