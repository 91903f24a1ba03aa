/** Tables of a flash run: every row, fates of objects, speed, goals, what each row may be held against, the configuration. */
import type { FlashBenchResult, LatencyUs } from "../../flash/bench/results.ts";
import { detailText } from "../../flash/bench/text.ts";
import { numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { bytesText, countText } from "../number-text.ts";
import { rowName, shareText } from "./subject.ts";

export function rowsTable({ rows }: FlashBenchResult): Markup {
  return tableHtml(
    {
      caption:
        "The last cache turn of each run. ALWA: device bytes over bytes admitted; DLWA: NAND bytes over device bytes. b/o: bits of RAM an object. Requests a second are by time of the processor, with the work of the stream and the simulated device in them.",
      columns: [
        textColumn("Engine"),
        textColumn("Device"),
        ...[
          "ALWA",
          "DLWA",
          "WA",
          "B a request",
          "Miss",
          "Index b/o",
          "Buffers",
          "Hotness",
          "All",
          "Pages a get",
          "Pages a hit",
        ].map(numberColumn),
        ...["Fill, new", "Fill, all", "Objects", "Mean B", "Turns"].map(numberColumn),
        textColumn("Steady"),
        ...["Wrong values", "Requests/CPU s"].map(numberColumn),
      ],
      rows: rows.map((row) => {
        const { index, buffers, hotness, all } = row.bitsPerObject;
        return [
          rowName(row, rows),
          row.device,
          ...[row.alwa, row.dlwa, row.totalWa].map((value) => value.toFixed(2)),
          row.bytesPerRequest.toFixed(1),
          shareText(row.missRatio),
          ...[index, buffers, hotness, all].map((bits) => bits.toFixed(1)),
          row.readAmplification?.toFixed(2) ?? "–",
          row.pagesPerHit?.toFixed(2) ?? "–",
          shareText(row.fillRate.fresh),
          shareText(row.fillRate.all),
          countText(row.residentObjects),
          row.meanObjectBytes.toFixed(0),
          row.turns.toFixed(1),
          row.steady ? "yes" : "no",
          String(row.wrongValues),
          countText(row.requestsPerCpuSecond),
        ];
      }),
    },
    new Set(rows.flatMap(({ engine, variant }, i) => (engine === "nemo" && variant === "" ? [i] : []))),
  );
}

export function fatesTable({ rows }: FlashBenchResult): Markup {
  const fates = [...new Set(rows.flatMap((row) => Object.keys(row.fates)))];
  return tableHtml({
    caption: "What became of objects, as shares of those put since the engine was opened.",
    columns: [textColumn("Engine"), ...fates.map((fate) => numberColumn(words(fate)))],
    rows: rows.map((row) => [rowName(row, rows), ...fates.map((fate) => shareText(row.fates[fate] ?? null, 2))]),
  });
}

export function latencyTable({ rows }: FlashBenchResult): Markup | undefined {
  const timed = rows.filter(({ latencyUs }) => latencyUs !== null);
  if (timed.length === 0) return undefined;
  const cells = ({ p50, p99, p9999 }: LatencyUs) =>
    [p50, p99, p9999].map((us) => (Number.isFinite(us) ? us.toFixed(1) : "–"));
  return tableHtml({
    caption: "Times of calls on the real file, µs.",
    columns: [textColumn("Engine"), ...["Get p50", "p99", "p99.99", "Put p50", "p99", "p99.99"].map(numberColumn)],
    rows: timed.map((row) => [rowName(row, rows), ...cells(row.latencyUs!.get), ...cells(row.latencyUs!.put)]),
  });
}

export function speedTable({ speed }: FlashBenchResult): Markup {
  return tableHtml({
    caption: "On a real file, beside the device's own figures of the same run.",
    columns: [
      textColumn("What"),
      ...["In flight", "Each second", "The device", "Share", "p99 (µs)", "The device's"].map(numberColumn),
      textColumn("Detail"),
    ],
    rows: speed.map((row) => [
      row.what,
      row.inFlight === 0 ? "–" : String(row.inFlight),
      countText(row.perSecond),
      row.devicePerSecond === null ? "–" : countText(row.devicePerSecond),
      row.devicePerSecond === null ? "–" : shareText(row.perSecond / row.devicePerSecond, 0),
      row.p99Us === null ? "–" : row.p99Us.toFixed(0),
      row.deviceP99Us === null ? "–" : row.deviceP99Us.toFixed(0),
      row.detail,
    ]),
  });
}

export function goalsTable({ targets }: FlashBenchResult): Markup {
  return tableHtml({
    caption: "The project's goals, held against the rows.",
    columns: [
      textColumn("Goal"),
      numberColumn("Wanted"),
      numberColumn("Here"),
      textColumn("Met"),
      textColumn("Detail"),
    ],
    rows: targets.map(({ name, wanted, measured, met, detail }) => [
      name,
      wanted,
      measured === null ? "–" : measured >= 1000 ? countText(measured) : measured.toFixed(3),
      met === null ? "open" : met ? "yes" : "no",
      detail,
    ]),
  });
}

export function comparableList({ rows }: FlashBenchResult): Markup {
  return html`<dl>${rows.map((row) => html`<dt>${rowName(row, rows)}</dt><dd>${row.comparable}${detailText(row)}</dd>`)}</dl>`;
}

export function configurationList({ configuration: c, date, elapsedMs, notes }: FlashBenchResult): Markup {
  const facts: (readonly [string, string | Markup])[] = [
    ["Command", html`<code>${c.command}</code>`],
    [
      "Program and machine",
      `warmset ${c.warmset}; ${c.machine.cpu}, ${c.machine.cores} cores, ${bytesText(c.machine.memoryBytes)}, ${c.machine.kernel}`,
    ],
    ["Workload", `${c.workload}; seed ${c.seed}`],
    [
      "Cache",
      `${bytesText(c.cacheBytes)} in zones of ${bytesText(c.zoneBytes)}; RAM in front ${bytesText(c.ramBytes)}`,
    ],
    [
      "Steady state",
      `at least 3 cache turns written and admitted, and ALWA of a turn within 1 % of the one before; at most ${c.mostTurns} turns`,
    ],
    ["When", `${date.slice(0, 16).replace("T", " ")} UTC, ${(elapsedMs / 60_000).toFixed(1)} minutes`],
    ...notes.map((note) => ["Note", note] as const),
  ];
  return html`<dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** "writtenBackHot" as "written back hot". */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
