/** The result for a terminal: the table, fates, ablations, speed, goals. */
import { textTable } from "../../bench/bench-program.ts";
import type { FlashBenchResult, FlashRow, LatencyUs } from "./results.ts";

const HEAD = [
  ...[
    "engine",
    "device",
    "ALWA",
    "DLWA",
    "WA",
    "B/request",
    "miss %",
    "index b/o",
    "buffers",
    "hotness",
    "all",
    "pages/get",
  ],
  ...["fill new %", "all %", "objects", "mean B", "turns", "steady", "requests/CPU s"],
];

export function flashText(result: FlashBenchResult): string {
  const { configuration, rows, ablations, speed, targets, notes } = result;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(3).replace(/\.?0+$/, "")} GiB`;
  return [
    ...(rows.length === 0
      ? []
      : [
          `${configuration.workload}, cache ${gib(configuration.cacheBytes)}, RAM in front ${(configuration.ramBytes / 2 ** 20).toFixed(1)} MiB, seed ${configuration.seed}; the last cache turn; b/o: bits of RAM an object`,
          textTable(HEAD, rows.map(rowCells)),
          ...latencyTable(rows),
          "",
          "what each may be held against",
          ...rows.map((row) => `  ${nameOf(row)}: ${row.comparable}${detailText(row)}`),
        ]),
    ...ablations.flatMap(({ title, setting, rows }) => [
      "",
      `${title} (${setting})`,
      textTable(
        [
          "setting",
          "ALWA",
          "B/request",
          "miss %",
          "fill new %",
          "all %",
          "known %",
          "index b/o",
          "all b/o",
          "pages/get",
          "wrong",
          "steady",
        ],
        rows.map(({ label, row, knownFill }) => [
          label,
          row.alwa.toFixed(2),
          row.bytesPerRequest.toFixed(1),
          percent(row.missRatio),
          percent(row.fillRate.fresh),
          percent(row.fillRate.all),
          percent(knownFill?.simulated ?? knownFill?.published ?? null),
          row.bitsPerObject.index.toFixed(1),
          row.bitsPerObject.all.toFixed(1),
          row.readAmplification?.toFixed(2) ?? "-",
          String(row.wrongValues),
          row.steady ? "yes" : "no",
        ]),
      ),
    ]),
    ...(speed.length === 0 ? [] : ["", "speed, beside the device's own in the same run"]),
    ...(speed.length === 0
      ? []
      : [
          textTable(
            ["what", "in flight", "/s", "device /s", "share", "p99 us", "device p99 us"],
            speed.map((row) => [
              row.what,
              row.inFlight === 0 ? "-" : String(row.inFlight),
              whole(row.perSecond),
              whole(row.devicePerSecond),
              row.devicePerSecond === null ? "-" : (row.perSecond / row.devicePerSecond).toFixed(2),
              whole(row.p99Us),
              whole(row.deviceP99Us),
            ]),
          ),
        ]),
    "",
    textTable(
      ["goal", "wanted", "here", "met", "detail"],
      targets.map(({ name, wanted, measured, met, detail }) => [
        name,
        wanted,
        measured === null ? "-" : measured >= 1000 ? whole(measured) : measured.toFixed(3),
        met === null ? "open" : met ? "yes" : "no",
        detail,
      ]),
    ),
    ...(notes.length === 0 ? [] : ["", ...notes.map((note) => `note: ${note}`)]),
  ].join("\n");
}

function rowCells(row: FlashRow): string[] {
  const { bitsPerObject: bits } = row;
  return [
    nameOf(row),
    row.device,
    ...[row.alwa, row.dlwa, row.totalWa].map((value) => value.toFixed(2)),
    row.bytesPerRequest.toFixed(1),
    percent(row.missRatio),
    ...[bits.index, bits.buffers, bits.hotness, bits.all].map((value) => value.toFixed(1)),
    row.readAmplification?.toFixed(2) ?? "-",
    percent(row.fillRate.fresh),
    percent(row.fillRate.all),
    whole(row.residentObjects),
    row.meanObjectBytes.toFixed(0),
    row.turns.toFixed(1),
    row.steady ? "yes" : "no",
    whole(row.requestsPerCpuSecond),
  ];
}

function latencyTable(rows: readonly FlashRow[]): string[] {
  const timed = rows.filter(({ latencyUs }) => latencyUs !== null);
  if (timed.length === 0) return [];
  const cells = ({ p50, p99, p9999 }: LatencyUs) =>
    [p50, p99, p9999].map((us) => (Number.isNaN(us) ? "-" : us.toFixed(1)));
  return [
    "",
    "times of calls, us",
    textTable(
      ["engine", "get p50", "p99", "p99.99", "put p50", "p99", "p99.99"],
      timed.map((row) => [nameOf(row), ...cells(row.latencyUs!.get), ...cells(row.latencyUs!.put)]),
    ),
  ];
}

/** " Here: passive share 0.25." */
export function detailText({ details }: FlashRow): string {
  const parts = Object.entries(details).map(
    ([name, value]) => `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${value.toFixed(2)}`,
  );
  return parts.length === 0 ? "" : ` Here: ${parts.join(", ")}.`;
}

export function nameOf({ engine, variant }: Pick<FlashRow, "engine" | "variant">): string {
  return variant === "" ? engine : `${engine} (${variant})`;
}

function percent(share: number | null): string {
  return share === null ? "-" : (100 * share).toFixed(1);
}

function whole(value: number | null): string {
  return value === null ? "-" : Math.round(value).toLocaleString("en-US");
}
