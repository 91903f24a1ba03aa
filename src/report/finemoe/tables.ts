/** Tables of a policy comparison: every row of a cell, the goals, the paper beside ours, what was not run. */
import type { FinemoeResult } from "../../bench/finemoe/results.ts";
import { numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { percentText, ratioText } from "../number-text.ts";
import { policiesOf, rowsAt, type Side, sharesOf, shareText, sideText } from "./subject.ts";

export function cellTables(side: Side): Markup {
  return html`${sharesOf(side.rows).map((share) => cellTable(side, share))}`;
}

function cellTable(side: Side, share: number): Markup {
  const rows = rowsAt(side.rows, share);
  const ours = policiesOf(rows).indexOf("warmset");
  const whole = (value: number | null) => (value === null ? "–" : value.toFixed(0));
  const simulated = rows.some(({ simulatedTpotMs }) => simulatedTpotMs !== undefined);
  return tableHtml(
    {
      caption: `${sideText(side)}, ${shareText(share)} of the experts. Beneath a time its 95 % interval over prompts. On demand: the time of a token with nothing kept.`,
      columns: [
        textColumn("Policy"),
        ...[
          ...["TTFT (s)", "TPOT (ms)", ...(simulated ? ["TPOT simulated"] : []), "Token p50", "p95", "p99"],
          ...["Hit", "Late", "Miss", "Coverage", "GoodPred", "MB demanded", "MB ahead", "MB wasted", "Bytes over LRU"],
          ...[
            "Search p50 (µs)",
            "p99 (µs)",
            "Dropped",
            "Store (MB)",
            "Stall (ms)",
            "Policy (ms)",
            "ρ",
            "On demand (ms)",
          ],
        ].map(numberColumn),
      ],
      rows: rows.map((row) => [
        row.policy,
        html`${(row.ttftMs.value / 1000).toFixed(2)}<small>${(row.ttftMs.low / 1000).toFixed(2)} to ${(row.ttftMs.high / 1000).toFixed(2)}</small>`,
        html`${row.tpotMs.value.toFixed(1)}<small>${row.tpotMs.low.toFixed(0)} to ${row.tpotMs.high.toFixed(0)}</small>`,
        ...(simulated ? [row.simulatedTpotMs?.toFixed(1) ?? "–"] : []),
        ...[row.tokenMs.p50, row.tokenMs.p95, row.tokenMs.p99].map(whole),
        ...[row.hitRate, row.lateHitRate, row.missRate, row.coverage, row.goodPred].map((share) => percentText(share)),
        ...[row.bytesPerToken.demanded, row.bytesPerToken.speculated, row.bytesPerToken.wasted].map(megabytes),
        ratioText(row.bytesOverLru),
        ...[row.search.p50Us, row.search.p99Us, row.search.dropped].map(whole),
        row.storeBytes === null ? "–" : megabytes(row.storeBytes),
        row.stallMs.toFixed(0),
        row.policyMs === null ? "–" : row.policyMs.toFixed(2),
        row.rho.toFixed(1),
        whole(row.floor.tpotMs),
      ]),
    },
    new Set(ours < 0 ? [] : [ours]),
  );
}

export function goalsTable({ targets }: FinemoeResult): Markup {
  return tableHtml({
    caption:
      "The project's goals for its own policy. Within noise: the 95 % interval over prompts reaches the wanted value.",
    columns: [
      textColumn("Goal"),
      textColumn("How"),
      numberColumn("Wanted"),
      numberColumn("Here"),
      textColumn("Met"),
      textColumn("Against"),
    ],
    rows: targets.map(({ name, source, wanted, measured, met, interval, detail }) => [
      name,
      source,
      wanted,
      html`${measured === null ? "–" : measured.toFixed(3)}${interval === undefined ? undefined : html`<small>${interval.low.toFixed(3)} to ${interval.high.toFixed(3)}</small>`}`,
      met === null ? "open" : met ? "yes" : "no",
      detail,
    ]),
  });
}

export function publishedTable({ published }: FinemoeResult): Markup {
  return tableHtml({
    caption:
      "Orders and ratios of the paper beside the same here, offline. Its link is PCIe, ours a drive: seconds are not comparable.",
    columns: [textColumn("What"), numberColumn("Published"), numberColumn("Here"), textColumn("Agrees")],
    rows: published.map(({ name, published, here, agrees }) => [
      name,
      published,
      here,
      agrees === null ? "–" : agrees ? "yes" : "no",
    ]),
  });
}

export function realTracesTable({ realTraces }: FinemoeResult): Markup {
  return tableHtml({
    caption: "Hits of decode steps on recorded runs of real models, replayed; MB read per token.",
    columns: [textColumn("Trace"), textColumn("Policy"), ...["Cache", "Hit", "MB per token"].map(numberColumn)],
    rows: realTraces.map(({ trace, policy, cacheShare, hitRate, bytesPerToken }) => [
      trace,
      policy,
      shareText(cacheShare),
      percentText(hitRate),
      megabytes(bytesPerToken),
    ]),
  });
}

export function notRun({ skipped }: FinemoeResult): Markup {
  if (skipped.length === 0) return html`<p>Everything that was asked for ran.</p>`;
  return html`<ul>${skipped.map(({ policy, source, reason }) => html`<li>${policy} (${source}): ${reason}</li>`)}</ul>`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
