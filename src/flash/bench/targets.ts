/** The project's own goals for the flash cache, held against the rows of a run. Pure; a goal without the rows for it is open. */
import { nameOf } from "./columns.ts";
import { rungFill } from "./known-fill.ts";
import type { FlashAblation, FlashRow, FlashTarget, SpeedRow } from "./results.ts";

/** The lesser first, as published (Nemo, figure 12); the last but one is Kangaroo with its sets on zones, the last on a drive. */
const ALWA_ORDER: readonly (readonly [less: string, more: string])[] = [
  ["log", "nemo"],
  ["nemo", "fairywren"],
  ["fairywren", "set"],
  ["set", "kangaroo"],
  ["kangaroo (sets on a drive)", "set"],
];
const NEMO_ALWA = [1.4, 1.7] as const;
const LOG_ALWA = 1.15;
const SET_TOLERANCE = 0.05;
const FAIRYWREN_ALWA = [14, 17] as const;
const LADDER_TOLERANCE = 0.15;

/** Goals of the speed bench: gets from RAM and sets of one core, and shares of the device's own figures. */
const RAM_GETS_PER_SECOND = 400_000;
const SETS_PER_SECOND = 150_000;
const READ_SHARE = 0.7;
const P99_RATIO = 2;
const WRITE_SHARE = 0.8;

/** What the speed bench calls its rows. */
export const SPEED = {
  ramGets: "gets from RAM",
  flashGets: "gets from flash",
  sets: "sets",
  zoneWrites: "zone writes",
};

export function judgeFlash(
  rows: readonly FlashRow[],
  ablations: readonly FlashAblation[],
  speed: readonly SpeedRow[],
): FlashTarget[] {
  return [
    // A run of ablations or speed alone says nothing of these.
    ...(rows.length === 0 ? [] : [...orderTargets(rows), ...rangeTargets(rows)]),
    ...ladderTargets(ablations),
    ...beyondTargets(ablations),
    ...speedTargets(speed),
  ];
}

function orderTargets(rows: readonly FlashRow[]): FlashTarget[] {
  const order = ALWA_ORDER.map(([lessName, moreName]) => {
    const [less, more] = [lessName, moreName].map((name) => rowOf(rows, name));
    return target(
      `ALWA of ${moreName} over that of ${lessName}`,
      "> 1",
      less === undefined || more === undefined ? undefined : more.alwa / less.alwa,
      (value) => value > 1,
      less === undefined || more === undefined ? "" : `${less.alwa.toFixed(2)} and ${more.alwa.toFixed(2)}`,
    );
  });
  const log = rowOf(rows, "log");
  const others = rows.filter(({ engine }) => engine !== "log");
  if (log === undefined || others.length === 0) return order;
  const most = others.reduce((a, b) => (b.bitsPerObject.index > a.bitsPerObject.index ? b : a));
  return [
    ...order,
    target(
      "index bits of log over the most of any other",
      "> 1",
      log.bitsPerObject.index / most.bitsPerObject.index,
      (value) => value > 1,
      `${log.bitsPerObject.index.toFixed(1)} and ${most.bitsPerObject.index.toFixed(1)} of ${most.engine}`,
    ),
  ];
}

function rangeTargets(rows: readonly FlashRow[]): FlashTarget[] {
  const between = ([low, high]: readonly [number, number]) => ({
    wanted: `${low} to ${high}`,
    met: (value: number) => value >= low && value <= high,
  });
  const [nemo, log, set, fairywren] = (["nemo", "log", "set", "fairywren"] as const).map((name) => rowOf(rows, name));
  const alwa = (name: string, row: FlashRow | undefined, { wanted, met }: ReturnType<typeof between>) =>
    target(`ALWA of ${name}`, wanted, row?.alwa, met, row === undefined ? "" : stateOf(row));
  const known = set === undefined ? undefined : 4096 / set.meanObjectBytes;
  return [
    alwa("nemo", nemo, between(NEMO_ALWA)),
    alwa("log", log, { wanted: `<= ${LOG_ALWA}`, met: (value) => value <= LOG_ALWA }),
    target(
      "ALWA of set over 4,096 / mean object",
      `within ${100 * SET_TOLERANCE} %`,
      known === undefined ? undefined : set!.alwa / known,
      (value) => Math.abs(value - 1) <= SET_TOLERANCE,
      known === undefined ? "" : `${set!.alwa.toFixed(2)} and ${known.toFixed(2)}`,
    ),
    alwa("fairywren", fairywren, between(FAIRYWREN_ALWA)),
    target(
      "values that were wrong",
      "0",
      rows.reduce((sum, row) => sum + row.wrongValues, 0),
      (value) => value === 0,
      `${rows.length} rows`,
    ),
  ];
}

function ladderTargets(ablations: readonly FlashAblation[]): FlashTarget[] {
  const rungs = ablations.flatMap(({ rows }) => rows).filter(({ knownFill }) => knownFill !== undefined);
  return rungs.flatMap((rung) => {
    const { fill, known, isSimulated } = rungFill(rung);
    if (known === null) return [];
    return [
      target(
        `fill rate, ${rung.label}`,
        `within ${100 * LADDER_TOLERANCE} %`,
        fill / known,
        (value) => Math.abs(value - 1) <= LADDER_TOLERANCE,
        `${percent(fill)} and ${percent(known)} ${isSimulated ? "as simulated" : "as published"}`,
      ),
    ];
  });
}

/** The first row of that ablation is nemo as published; a setting counts when it misses no more and answers nothing wrongly. */
function beyondTargets(ablations: readonly FlashAblation[]): FlashTarget[] {
  const [paper, ...ours] = ablations.find(({ id }) => id === "beyond")?.rows ?? [];
  if (paper === undefined) return [];
  const most = paper.row.missRatio ?? 1;
  const fit = ours.filter(({ row }) => row.missRatio !== null && row.missRatio <= most && row.wrongValues === 0);
  const best = (what: string, value: (row: FlashRow) => number): FlashTarget => {
    const name = `least ${what} over that of nemo as published, at no more misses`;
    if (fit.length === 0)
      return { name, wanted: "< 1", measured: null, met: false, detail: "no setting missed as little" };
    const least = fit.reduce((a, b) => (value(b.row) < value(a.row) ? b : a));
    return target(
      name,
      "< 1",
      value(least.row) / value(paper.row),
      (ratio) => ratio < 1,
      `${value(least.row).toFixed(2)} of "${least.label}" and ${value(paper.row).toFixed(2)}`,
    );
  };
  return [
    best("ALWA", ({ alwa }) => alwa),
    best("bytes written a request", ({ bytesPerRequest }) => bytesPerRequest),
    best("index bits", ({ bitsPerObject }) => bitsPerObject.index),
  ];
}

function speedTargets(speed: readonly SpeedRow[]): FlashTarget[] {
  if (speed.length === 0) return [];
  const [ram, sets, writes] = [SPEED.ramGets, SPEED.sets, SPEED.zoneWrites].map((name) =>
    speed.find(({ what }) => what === name),
  );
  const atLeast = (least: number) => (value: number) => value >= least;
  return [
    target("gets from RAM each second", `>= ${RAM_GETS_PER_SECOND}`, ram?.perSecond, atLeast(RAM_GETS_PER_SECOND), ""),
    ...speed.flatMap((row) => {
      if (row.what !== SPEED.flashGets || row.devicePerSecond === null) return [];
      const at = `${row.inFlight} in flight`;
      const slower = row.p99Us === null || row.deviceP99Us === null ? undefined : row.p99Us / row.deviceP99Us;
      return [
        target(
          `gets from flash over the device's reads, ${at}`,
          `>= ${READ_SHARE}`,
          row.perSecond / row.devicePerSecond,
          atLeast(READ_SHARE),
          row.detail,
        ),
        target(
          `their p99 over the device's, ${at}`,
          `< ${P99_RATIO}`,
          slower,
          (value) => value < P99_RATIO,
          row.detail,
        ),
      ];
    }),
    target("sets each second", `>= ${SETS_PER_SECOND}`, sets?.perSecond, atLeast(SETS_PER_SECOND), sets?.detail ?? ""),
    target(
      "zone writes over the device's sequential speed",
      `>= ${WRITE_SHARE}`,
      writes?.devicePerSecond ? writes.perSecond / writes.devicePerSecond : undefined,
      atLeast(WRITE_SHARE),
      writes?.detail ?? "",
    ),
  ];
}

/** @param name an engine's, for its row with nothing changed, or as rows with a variant are called */
function rowOf(rows: readonly FlashRow[], name: string): FlashRow | undefined {
  return rows.find((row) => nameOf(row) === name);
}

function stateOf({ device, steady, turns }: FlashRow): string {
  return `${device}, ${steady ? "steady" : "not steady"} after ${turns.toFixed(1)} turns`;
}

function target(
  name: string,
  wanted: string,
  measured: number | undefined,
  met: (value: number) => boolean,
  detail: string,
): FlashTarget {
  const value = measured ?? null;
  return { name, wanted, measured: value, met: value === null ? null : met(value), detail };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
