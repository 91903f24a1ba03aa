/** The traced model in a table with the published ones that are most alike. */
import type { PublishedRow } from "../../locality/report-data.ts";
import { numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { percentText, ratioText } from "../number-text.ts";
import { headlineSegment, type Subject } from "./subject.ts";

/** Published models beside ours at most, unless more have the same k/E. */
const ROWS = 8;

export function comparisonTable(subject: Subject): Markup {
  const { report, phase } = subject;
  const { settings, model } = report;
  const m = settings.headlineSegment;
  const ratio = settings.headlineRatio;
  const comparable = settings.convention === "token/free";
  const main = headlineSegment(subject);
  const chr = (policy: "lru" | "belady") => hitRate(phase.chr.find((one) => one.policy === policy)?.model, ratio);
  const sch = hitRate(phase.sch.find(({ segmentLength }) => segmentLength === m)?.model, ratio);
  const ours = [
    "this trace",
    shapeText(model),
    percentText(main?.model.srp),
    ratioText(main?.model.srpGain),
    ratioText(main?.model.idealCacheRatio),
    percentText(phase.load.loadBalanceSd, 2),
    percentText(sch),
    percentText(chr("lru")),
    percentText(chr("belady")),
    "–",
  ];
  const rows = nearest(report.published, phase.verdict.nearestPublished).map((row) => {
    const srp = row.srp.find(({ segmentLength }) => segmentLength === m);
    const cache = (points: PublishedRow["sch"][number]["points"] | undefined) =>
      comparable ? percentText(hitRate(points, ratio)) : "–";
    return [
      row.name,
      shapeText(row),
      percentText(srp?.srp),
      ratioText(srp?.srpGain),
      ratioText(srp?.idealCacheRatio),
      percentText(row.loadBalanceSd, 2),
      cache(row.sch.find(({ segmentLength }) => segmentLength === m)?.points),
      cache(row.chr.find(({ policy }) => policy === "lru")?.points),
      cache(row.chr.find(({ policy }) => policy === "belady")?.points),
      row.group === null ? "–" : String(row.group),
    ];
  });
  const table = tableHtml(
    {
      caption: `Segments of ${m} tokens; hit rates of one cache for all layers at ratio ${ratio}${comparable ? "" : ` (convention ${settings.convention}: not comparable with published hit rates, which are left out)`}.`,
      columns: [
        textColumn("Model"),
        textColumn("Experts"),
        numberColumn("SRP"),
        numberColumn("Gain (ours)"),
        numberColumn("Ideal ratio"),
        numberColumn("LB SD"),
        numberColumn("SCH"),
        numberColumn("LRU"),
        numberColumn("Belady"),
        numberColumn("Group"),
      ],
      rows: [ours, ...rows],
    },
    new Set([0]),
  );
  return html`${table}
<p>Experts: per layer / used by a token, + shared ones. Models with the same k/E come first: SRP and hit rates depend on it. The gain of the published models is over a router that uses all experts alike, that of this trace over one with this trace's own load. Groups are the paper's, from 1 (most consistent) to 4. The published settings differ from this trace's in texts, quantisation and sample counts; this is a comparison, not a reproduction.</p>
`;
}

/** "64/6 + 2": experts, how many a token uses, shared ones beside. */
function shapeText({
  experts,
  expertsUsed,
  sharedExperts,
}: Pick<PublishedRow, "experts" | "expertsUsed"> & { readonly sharedExperts: number | null }): string {
  return `${experts}/${expertsUsed}${sharedExperts ? `\u00a0+\u00a0${sharedExperts}` : ""}`;
}

/** Those with the same k/E, the ones that the verdict names first, then others up to the table's length. */
function nearest(published: readonly PublishedRow[], named: readonly string[]): PublishedRow[] {
  const rank = ({ key }: PublishedRow) => (named.includes(key) ? named.indexOf(key) : named.length);
  const same = published.filter(({ sameShare }) => sameShare).sort((a, b) => rank(a) - rank(b));
  const others = published.filter(({ sameShare }) => !sameShare);
  return [...same, ...others.slice(0, Math.max(0, ROWS - same.length))];
}

function hitRate(
  points: readonly { readonly cacheRatio: number; readonly hitRate: number }[] | undefined,
  ratio: number,
) {
  return points?.find(({ cacheRatio }) => cacheRatio === ratio)?.hitRate;
}
