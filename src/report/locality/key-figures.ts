/** The table of key figures: what to quote from a report, with intervals and what each is read against. */
import type { Interval } from "../../locality/report-data.ts";
import { numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { bytesText, countText, intervalText, percentText, ratioText } from "../number-text.ts";
import { seriesName } from "./cache-published.ts";
import { confidenceText, headlineSegment, type Subject } from "./subject.ts";

interface KeyFigure {
  readonly name: string;
  readonly value: string;
  readonly interval?: Interval | null;
  /** What the value means beside. */
  readonly against: string;
}

export function keyFigures(subject: Subject): Markup {
  const { settings } = subject.report;
  const figures = [...consistency(subject), ...caches(subject), ...experts(subject)];
  const intervals = !figures.some(({ interval }) => interval)
    ? ""
    : `; beneath a value its ${confidenceText(subject.report)}, bootstrap over samples`;
  return tableHtml({
    caption: `Key figures. Caches: convention ${settings.convention}${intervals}.`,
    columns: [textColumn("Figure"), numberColumn("Value"), textColumn("To read it against")],
    rows: figures.map(({ name, value, interval, against }) => [
      name,
      html`${value}${interval ? html`<small>${intervalText(interval)}</small>` : undefined}`,
      against,
    ]),
  });
}

function consistency(subject: Subject): KeyFigure[] {
  const main = headlineSegment(subject);
  if (main === undefined) return [];
  const { srp, interval, srpIid, srpGain, idealCacheRatio } = main.model;
  return [
    {
      name: `SRP, segments of ${main.segmentLength} tokens`,
      value: percentText(srp),
      interval,
      against: `${percentText(srpIid)} for a memoryless router`,
    },
    {
      name: "SRP gain over a memoryless router (ours)",
      value: ratioText(srpGain),
      against: "0: nothing to exploit; 1: never changes",
    },
    { name: "Ideal cache ratio", value: ratioText(idealCacheRatio), against: "1: as many experts as a token uses" },
  ];
}

function caches({ phase, report }: Subject): KeyFigure[] {
  const { headlineRatio, headlineSegment: m } = report.settings;
  const { knee } = phase.verdict;
  const series = [...phase.chr, ...phase.sch.filter(({ segmentLength }) => segmentLength === m)];
  return [
    ...series.flatMap((one) =>
      one.model
        .filter(({ cacheRatio }) => cacheRatio === headlineRatio)
        .map(({ hitRate, interval, cacheExperts, cacheBytes }) => ({
          name: `Hit rate of ${seriesName(one)}, one cache of ratio ${headlineRatio}`,
          value: percentText(hitRate),
          interval,
          against: `${countText(cacheExperts)} experts${cacheBytes === null ? "" : `, ${bytesText(cacheBytes)}`}`,
        })),
    ),
    {
      name: `Hit rate of LRU, ${knee.cacheExperts} experts in each layer`,
      value: percentText(knee.lru),
      against: `${percentText(knee.chance)} by chance, ${percentText(knee.belady)} by Belady`,
    },
  ];
}

function experts({ phase, report }: Subject): KeyFigure[] {
  const { domains, vocabulary, reuse, load, samples } = phase;
  const figures: KeyFigure[] = [
    {
      name: "Experts shared with the token before",
      value: percentText(reuse.overlap),
      against: `${percentText(report.model.expertsUsed / report.model.experts)} by chance`,
    },
    {
      name: "Load balance, SD of activation rates",
      value: percentText(load.loadBalanceSd, 2),
      against: "0: all experts alike",
    },
  ];
  if (domains.specialisation !== null)
    figures.push({
      name: "Domain specialisation, mean CV",
      value: ratioText(domains.specialisation, 3),
      against: `at most ${ratioText(domains.largestCv)} with ${domains.names.length} domains`,
    });
  for (const { kind, specialisation } of vocabulary?.kinds ?? [])
    figures.push({
      name: `Vocabulary specialisation, ${kind} token`,
      value: ratioText(specialisation, 3),
      against: "1: every word has an expert of its own",
    });
  if (samples.logPerplexity !== null)
    figures.push({
      name: "Log perplexity",
      value: ratioText(samples.logPerplexity, 3),
      against: "compares only between models of one tokenizer",
    });
  return figures;
}
