/**
 * The columns of the bench's tables: what stands above, and the cell of a row. The terminal (`text.ts`) and the page
 * (`report/flash`) draw the same lists, each in its own way.
 */
import { rungFill } from "./known-fill.ts";
import type { AblationRow, FlashRow, FlashTarget, LatencyUs, SpeedRow } from "./results.ts";

export interface Column<Row> {
  /** With its unit: "Miss %". */
  readonly heading: string;
  /** Text stands left, numbers right. */
  readonly holds: "text" | "number";
  /** Null: there is none. */
  readonly cell: (row: Row) => string | null;
}

const ALWA = number("ALWA", (row: FlashRow) => fixed(row.alwa, 2));
const DLWA = number("DLWA", (row: FlashRow) => fixed(row.dlwa, 2));
const BYTES_A_REQUEST = number("B a request", (row: FlashRow) => fixed(row.bytesPerRequest, 1));
const MISSES = number("Miss %", (row: FlashRow) => percent(row.missRatio));
const INDEX = number("Index b/o", (row: FlashRow) => fixed(row.bitsPerObject.index, 1));
const ALL_BITS = number("All b/o", (row: FlashRow) => fixed(row.bitsPerObject.all, 1));
const PAGES_A_GET = number("Pages a get", (row: FlashRow) => fixed(row.readAmplification, 2));
const PAGES_A_HIT = number("Pages a hit", (row: FlashRow) => fixed(row.pagesPerHit, 2));
const FILL_NEW = number("Fill, new %", (row: FlashRow) => percent(row.fillRate.fresh));
const FILL_ALL = number("Fill, all %", (row: FlashRow) => percent(row.fillRate.all));
const TURNS = number("Turns", (row: FlashRow) => fixed(row.turns, 1));
const STEADY = text("Steady", (row: FlashRow) => (row.steady ? "yes" : "no"));
const WRONG = number("Wrong values", (row: FlashRow) => whole(row.wrongValues));

/** The table: a row of each engine. b/o: bits of RAM an object. */
export const ROW_COLUMNS: readonly Column<FlashRow>[] = [
  text("Engine", nameOf),
  text("Device", ({ device }) => device),
  ...[ALWA, DLWA],
  number("WA", ({ totalWa }) => fixed(totalWa, 2)),
  ...[BYTES_A_REQUEST, MISSES, INDEX],
  number("Buffers", ({ bitsPerObject }) => fixed(bitsPerObject.buffers, 1)),
  number("Hotness", ({ bitsPerObject }) => fixed(bitsPerObject.hotness, 1)),
  ...[ALL_BITS, PAGES_A_GET, PAGES_A_HIT, FILL_NEW, FILL_ALL],
  number("Objects", ({ residentObjects }) => whole(residentObjects)),
  number("Mean B", ({ meanObjectBytes }) => whole(meanObjectBytes)),
  ...[TURNS, STEADY, WRONG],
  number("Requests/CPU s", ({ requestsPerCpuSecond }) => whole(requestsPerCpuSecond)),
];

export const ABLATION_COLUMNS: readonly Column<AblationRow>[] = [
  text("Setting", ({ label }) => label),
  ...[ALWA, BYTES_A_REQUEST, DLWA, MISSES, FILL_NEW, FILL_ALL].map(ofItsRow),
  number("Known fill %", (rung) => percent(rungFill(rung).known)),
  ...[INDEX, ALL_BITS, PAGES_A_GET, PAGES_A_HIT, WRONG, TURNS, STEADY].map(ofItsRow),
];

/** Of rows that were timed. */
export const LATENCY_COLUMNS: readonly Column<FlashRow>[] = [
  text("Engine", nameOf),
  ...timesOf("Get", ({ latencyUs }) => latencyUs?.get),
  ...timesOf("Put", ({ latencyUs }) => latencyUs?.put),
];

export const SPEED_COLUMNS: readonly Column<SpeedRow>[] = [
  text("What", ({ what }) => what),
  number("In flight", ({ inFlight }) => (inFlight === 0 ? null : String(inFlight))),
  number("Each second", ({ perSecond }) => whole(perSecond)),
  number("The device", ({ devicePerSecond }) => whole(devicePerSecond)),
  number("Share", ({ perSecond, devicePerSecond: own }) => (own === null ? null : fixed(perSecond / own, 2))),
  text("All rounds", ({ shares }) => shares?.map((share) => share.toFixed(2)).join(" ") ?? ""),
  number("p99 us", ({ p99Us }) => whole(p99Us)),
  number("The device's", ({ deviceP99Us }) => whole(deviceP99Us)),
  text("Detail", ({ detail }) => detail),
];

export const GOAL_COLUMNS: readonly Column<FlashTarget>[] = [
  text("Goal", ({ name }) => name),
  number("Wanted", ({ wanted }) => wanted),
  number("Here", ({ measured }) => (measured !== null && measured >= 1000 ? whole(measured) : fixed(measured, 3))),
  text("Met", ({ met }) => (met === null ? "open" : met ? "yes" : "no")),
  text("Detail", ({ detail }) => detail),
];

/** What a row is called: its engine, and what differs from the defaults. */
export function nameOf({ engine, variant }: Pick<FlashRow, "engine" | "variant">): string {
  return variant === "" ? engine : `${engine} (${variant})`;
}

/** " Here: passive share 0.25." */
export function detailText({ details }: FlashRow): string {
  const parts = Object.entries(details).map(([name, value]) => `${wordsOf(name)} ${value.toFixed(2)}`);
  return parts.length === 0 ? "" : ` Here: ${parts.join(", ")}.`;
}

/** "writtenBackHot" as "written back hot". */
export function wordsOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function timesOf(call: string, of: (row: FlashRow) => LatencyUs | undefined): Column<FlashRow>[] {
  return (["p50", "p99", "p9999"] as const).map((quantile) =>
    number(`${call} ${quantile.replace("9999", "99.99")}`, (row) => {
      const us = of(row)?.[quantile];
      // Of no calls: NaN, and null once it was kept.
      return us === undefined || !Number.isFinite(us) ? null : us.toFixed(1);
    }),
  );
}

function ofItsRow({ heading, holds, cell }: Column<FlashRow>): Column<AblationRow> {
  return { heading, holds, cell: ({ row }) => cell(row) };
}

function text<Row>(heading: string, cell: Column<Row>["cell"]): Column<Row> {
  return { heading, holds: "text", cell };
}

function number<Row>(heading: string, cell: Column<Row>["cell"]): Column<Row> {
  return { heading, holds: "number", cell };
}

function fixed(value: number | null, digits: number): string | null {
  return value === null ? null : value.toFixed(digits);
}

function percent(share: number | null): string | null {
  return share === null ? null : (100 * share).toFixed(1);
}

function whole(value: number | null): string | null {
  return value === null ? null : Math.round(value).toLocaleString("en-US");
}
