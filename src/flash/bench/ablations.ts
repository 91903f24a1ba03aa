/**
 * What is varied beside the table, one thing at a time: which engines with which settings run on which stream. Pure; `suite.ts`
 * runs it.
 */
import type { NemoOptions } from "../nemo/options.ts";
import type { Workload } from "../workload/event-batch.ts";
import type { WorkloadName } from "../workload/presets.ts";
import { knownFill, type Rung } from "./known-fill.ts";
import { PUBLISHED_FILL } from "./published.ts";
import type { AblationRow } from "./results.ts";
import { NEW_OBJECTS_SIGMA, namedStream, newObjects } from "./streams.ts";
import { fairywren, nemo, plainSubject, type Subject, subjectsOf } from "./subjects.ts";

/** What the suite was asked for. */
export interface AblationScale {
  readonly cacheBytes: number;
  readonly zoneBytes: number;
  readonly workload: WorkloadName;
  readonly seed: number;
}

export interface AblationCase {
  readonly label: string;
  readonly at: number | null;
  readonly subject: Subject;
  /** @default the suite's workload */
  readonly stream?: () => Workload;
  /** @default the suite's */
  readonly zoneBytes?: number;
  /** One drive for all parts of the engine, with so many placement handles. @default devices of their own */
  readonly fdpHandles?: number;
  /** @default the suite's */
  readonly mostTurns?: number;
  readonly knownFill?: AblationRow["knownFill"];
}

interface Ablation {
  readonly title: string;
  readonly setting: string;
  readonly cases: (scale: AblationScale) => readonly AblationCase[];
}

/** Nemo as its authors describe and ship it: filters of 40 objects, 50 to a page, no guard against old values. */
const PAPER_NEMO: NemoOptions = {
  ...{
    filterObjects: 40,
    groupSetGroups: 50,
    consistency: "advisory",
    writeBack: "hot-and-cold",
    maxObjectBytes: 2048,
  },
};

/** Zones with as many sets as fill rates are known for. */
const LADDER_ZONE_BYTES = 16 * 2 ** 20;
/** Fewer of them are no cache; the ladder then runs in the suite's zones, and nothing is known for it. */
const LADDER_ZONES = 10;
/** New objects have no steady state to wait for. */
const LADDER_TURNS = 1;
const FRAME_PAGES = 2;
/** Of the mix: how many objects a cache is taken to hold. */
const MEAN_OBJECT_BYTES = 246;

const RUNGS: Readonly<Record<Rung, NemoOptions>> = {
  naive: { bufferedSetGroups: false, delayedFlush: false, writeBack: "off" },
  B: { bufferedSetGroups: true, delayedFlush: false, writeBack: "off" },
  P: { bufferedSetGroups: false, delayedFlush: true, writeBack: "off" },
  "B+P": { bufferedSetGroups: true, delayedFlush: true, writeBack: "off" },
};

const ABLATIONS: Readonly<Record<string, Ablation>> = {
  ladder: {
    title: "Fill rate by what nemo does for it",
    setting:
      "new objects alone, mean 246 bytes, sigma 0.9, flush threshold 1.5 % of the sets; the last rung on the workload. B: two buffered set-groups, P: delayed flush, W: write-back",
    cases: ladderCases,
  },
  threshold: {
    title: "Flush threshold (% of the sets)",
    setting: "nemo; 0.36 % is the published code's default, 1.5 % the paper's",
    cases: () => sweep([0.1, 0.36, 1.5, 3, 6, 12, 25, 50], "%", (percent) => ({ flushThreshold: percent / 100 })),
  },
  "index-share": {
    title: "Index pages kept in RAM (% of the set numbers)",
    setting: "nemo",
    cases: () => sweep([10, 25, 50, 75, 100], "%", (percent) => ({ indexCachedShare: percent / 100 })),
  },
  filter: {
    title: "Size of filters",
    setting: "nemo; objects a filter is made for and its share of false positives",
    cases: () =>
      [
        [40, 0.001],
        [20, 0.001],
        [20, 0.0001],
        [20, 0.01],
        [16, 0.02],
      ].map(([filterObjects, filterFalsePositives]) =>
        nemoCase(`${filterObjects} objects, ${100 * filterFalsePositives} %`, { filterObjects, filterFalsePositives }),
      ),
  },
  "zone-size": {
    title: "Set-groups of the cache, by size of a zone",
    setting: "nemo, one cache size",
    cases: ({ cacheBytes, zoneBytes }) =>
      [0.5, 1, 2, 4].map((factor) => {
        const zones = Math.floor(cacheBytes / (factor * zoneBytes));
        return { ...nemoCase(`${zones} zones`, {}, zones), zoneBytes: factor * zoneBytes };
      }),
  },
  "write-back": {
    title: "Write-back of an evicted set-group",
    setting: "nemo",
    cases: () =>
      (["off", "hot", "hot-and-cold"] as const).map((writeBack) =>
        nemoCase(writeBack.replaceAll("-", " "), { writeBack }),
      ),
  },
  zipf: {
    title: "Exponent of popularity",
    setting: "nemo; the published traces have 1.14 to 1.30",
    cases: ({ cacheBytes, seed, workload }) =>
      [0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3].map((alpha) => ({
        ...nemoCase(String(alpha), {}, alpha),
        stream: () => namedStream(workload, { cacheBytes, seed, alpha }),
      })),
  },
  updates: {
    title: "With updates and deletes",
    setting: "operations as in the Twitter clusters, which the published runs left out",
    cases: ({ cacheBytes, seed }) => {
      const stream = () => namedStream("nemo-mix-updates", { cacheBytes, seed });
      const engines = (["log", "set", "fairywren"] as const).map((engine) => ({
        ...{ label: engine, at: null, subject: plainSubject(engine), stream },
      }));
      return [
        { ...nemoCase("nemo, strict", {}), stream },
        { ...nemoCase("nemo, advisory", { consistency: "advisory" }), stream },
        ...engines,
      ];
    },
  },
  change: {
    title: "Popularity that changes",
    setting:
      "nemo; a step each quarter as many requests as objects fit: 1 % of the ranks get other keys, 1 % of the keys are replaced by new ones, or, each 20 steps, all ranks get other keys",
    cases: ({ cacheBytes, seed, workload }) => {
      const everyOperations = Math.ceil(cacheBytes / MEAN_OBJECT_BYTES / 4);
      const step = { share: 0.01, everyOperations };
      const changes = {
        none: {},
        drift: { drift: step },
        churn: { churn: step },
        phases: { phaseOperations: 20 * everyOperations },
      };
      return Object.entries(changes).map(([label, one]) => ({
        ...nemoCase(label, {}),
        stream: () => namedStream(workload, { cacheBytes, seed, changes: one }),
      }));
    },
  },
  fdp: {
    title: "On one drive, by its placement handles",
    setting: "reclaim units of four zones, 20 % reserve; one handle for everything is a conventional drive",
    cases: () =>
      (["nemo", "log", "set", "kangaroo"] as const).flatMap((engine) => {
        const subject = engine === "kangaroo" ? subjectsOf(engine, false)[0] : plainSubject(engine);
        // Only Kangaroo writes to two places.
        const handles = engine === "kangaroo" ? [1, 2] : [1];
        return handles.map((fdpHandles) => ({
          ...{
            label: `${engine}, ${fdpHandles === 1 ? "one handle" : "a handle each"}`,
            at: null,
            subject,
            fdpHandles,
          },
        }));
      }),
  },
  fairywren: {
    title: "FairyWREN's log and reserve",
    setting: "fairywren; published 15.20, with a log of 20 % 4.12, with a reserve of 20 % 9.29, of 50 % 6.56",
    cases: () =>
      (
        [
          ["log 5 %, reserve 5 %", {}],
          ["log 20 %, reserve 5 %", { logShare: 0.2 }],
          ["log 5 %, reserve 20 %", { overprovisioning: 0.2 }],
          ["log 5 %, reserve 50 %", { overprovisioning: 0.5 }],
        ] as const
      ).map(([label, options]) => ({ label, at: null, subject: fairywren(label, options) })),
  },
  beyond: {
    title: "Beyond the paper's settings",
    setting: "nemo on one stream; the paper's has filters for 40 objects, 50 to a page",
    cases: () => [
      nemoCase("as the paper", PAPER_NEMO),
      nemoCase("ours", {}),
      nemoCase("ours, threshold 6 %", { flushThreshold: 0.06 }),
      nemoCase("ours, threshold 25 %", { flushThreshold: 0.25 }),
      nemoCase("ours, threshold 25 %, 25 % of the index in RAM", { flushThreshold: 0.25, indexCachedShare: 0.25 }),
      nemoCase("ours, threshold 50 %", { flushThreshold: 0.5 }),
      nemoCase("ours, hot objects alone", { writeBack: "hot" }),
    ],
  },
};

export const ABLATION_NAMES: readonly string[] = Object.keys(ABLATIONS);

export interface PlannedAblation extends Omit<Ablation, "cases"> {
  readonly id: string;
  readonly cases: readonly AblationCase[];
}

/** @param names of `ABLATION_NAMES` */
export function planAblations(names: readonly string[], scale: AblationScale): readonly PlannedAblation[] {
  return names.map((id) => ({ ...ABLATIONS[id], id, cases: ABLATIONS[id].cases(scale) }));
}

function ladderCases({ cacheBytes, zoneBytes: usualZoneBytes, seed }: AblationScale): readonly AblationCase[] {
  const isLarge = cacheBytes >= LADDER_ZONES * LADDER_ZONE_BYTES;
  const zoneBytes = isLarge ? LADDER_ZONE_BYTES : usualZoneBytes;
  const sets = zoneBytes / 4096 - FRAME_PAGES;
  const rungs = (Object.keys(RUNGS) as Rung[]).map((rung) => ({
    ...nemoCase(rung, { ...RUNGS[rung], flushThreshold: 0.015 }),
    ...{ zoneBytes, mostTurns: LADDER_TURNS, stream: () => newObjects(seed) },
    knownFill: { simulated: knownFill(rung, sets, NEW_OBJECTS_SIGMA) ?? null, published: PUBLISHED_FILL[rung] },
  }));
  return [
    // Without known figures of its own a rung is not held against published ones of other sizes.
    ...rungs.map(({ knownFill: known, ...rung }) => (known.simulated === null ? rung : { ...rung, knownFill: known })),
    {
      ...nemoCase("B+P+W", { writeBack: "hot-and-cold" }),
      knownFill: { simulated: null, published: PUBLISHED_FILL["B+P+W"] },
    },
  ];
}

function sweep(values: readonly number[], unit: string, options: (value: number) => NemoOptions): AblationCase[] {
  return values.map((value) => nemoCase(`${value} ${unit}`, options(value), value));
}

function nemoCase(label: string, options: NemoOptions, at: number | null = null): AblationCase {
  return { label, at, subject: nemo(label, options) };
}
