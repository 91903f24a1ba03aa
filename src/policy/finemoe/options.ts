/**
 * What can be said about the `finemoe` policies: every variant that the paper leaves open, or that published code does
 * differently, has a switch, and the paper's own setting is the default. Only the reading of switches; what each does
 * stands where it is used.
 */
import type { LayerPlan, RecordMode, SearchParts } from "../../maps/index.ts";
import type { PolicySwitches } from "../policy-switches.ts";
import { EVICTION_RULES, type EvictionRule } from "./eviction.ts";
import { SELECTION_THRESHOLDS, type SelectionThreshold } from "./select-experts.ts";

export const RECORD_MODES = ["token", "last-token", "mean"] as const satisfies readonly RecordMode[];

export const SEARCH_MODES = ["inline", "worker", "timed"] as const;
/** Where searches run: in the model's own thread, in another, or in a simulated time. */
export type SearchMode = (typeof SEARCH_MODES)[number];

export interface FineMoeOptions {
  /** Which experts of a forecast are read ahead. @default "paper" */
  readonly threshold: SelectionThreshold;
  /** d: layers between what is observed and what is forecast. @default 6, less in models with fewer layers */
  readonly distance: number;
  /** C: rows of the store. @default 1000, or what a given store has */
  readonly capacity: number | undefined;
  /** How the tokens of a prompt become rows of the store. @default "last-token" */
  readonly record: RecordMode;
  /** "frozen": a store that was given takes no rows. One that starts empty is filled either way. @default "online" */
  readonly store: "online" | "frozen";
  /** Layers that a trajectory search plans: l+d alone, or all from there on. @default "exact" */
  readonly plan: LayerPlan;
  /** Forecasts for prompts too. @default false */
  readonly prefill: boolean;
  /** Speculative reads of experts under way at once. @default 1 */
  readonly inflight: number;
  /** Contexts that wait for their search at most. @default 32 */
  readonly queue: number;
  /** @default "pfreq" */
  readonly eviction: EvictionRule;
  /** Tokens after which a use counts half in `pfreq` and `lfu`. @default Infinity */
  readonly halfLife: number;
  /** @default "both" */
  readonly search: SearchParts;
  /** @default the host's: a worker in the engine, simulated time in a replay */
  readonly mode: SearchMode | undefined;
  /** Which of several rows of one token stands for it. @default "first", "mean" in `finemoe-plus` */
  readonly sameToken: "first" | "mean";
  readonly ideas: FineMoeIdeas;
}

/** What `finemoe-plus` adds, each on its own; all off is `finemoe`, decision for decision. */
export interface FineMoeIdeas {
  /** Read ahead only what saves more than it costs, on the link as busy as it is. */
  readonly admission: boolean;
  /** Learn how often a forecast probability becomes a use. */
  readonly calibration: boolean;
  /** Neighbours whose rows are blended; 1 is the best match alone. */
  readonly neighbours: number;
  /** Mix the forecast with what else is known of the layer. */
  readonly ensemble: boolean;
  /** The next layer's own router, on the running layer's state, as one of the ensemble's voices. */
  readonly nextGate: boolean;
  /** Give up what is expected to be used last. */
  readonly nextUse: boolean;
  /** Keep the favourites of the first layers, and bring them back before the next token begins. */
  readonly firstLayers: boolean;
}

export const NO_IDEAS: FineMoeIdeas = {
  admission: false,
  calibration: false,
  neighbours: 1,
  ensemble: false,
  nextGate: false,
  nextUse: false,
  firstLayers: false,
};

/** More neighbours than this blend away what tells iterations apart, and only cost time. */
const MOST_NEIGHBOURS = 64;
const DEFAULT_NEIGHBOURS = 8;

/** @throws PolicySwitchError */
export function fineMoeOptions(switches: PolicySwitches, { plus = false } = {}): FineMoeOptions {
  return {
    threshold: switches.word("threshold", SELECTION_THRESHOLDS) ?? "paper",
    distance: switches.integer("distance", 1, 64) ?? 6,
    capacity: switches.integer("capacity", 1, 1 << 20),
    record: switches.word("record", RECORD_MODES) ?? "last-token",
    store: switches.word("store", ["online", "frozen"]) ?? "online",
    plan: switches.word("plan", ["exact", "band", "window"]) ?? "exact",
    prefill: switches.flag("prefill") ?? false,
    inflight: switches.integer("inflight", 1, 4096) ?? 1,
    queue: switches.integer("queue", 1, 4096) ?? 32,
    eviction: switches.word("eviction", EVICTION_RULES) ?? "pfreq",
    halfLife: switches.number("halflife", 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY,
    search: switches.word("search", ["semantic", "trajectory", "both"]) ?? "both",
    mode: switches.word("mode", SEARCH_MODES),
    sameToken: switches.word("same-token", ["first", "mean"]) ?? (plus ? "mean" : "first"),
    ideas: plus ? ideas(switches) : NO_IDEAS,
  };
}

function ideas(switches: PolicySwitches): FineMoeIdeas {
  const ensemble = switches.flag("ensemble") ?? true;
  return {
    admission: switches.flag("admission") ?? true,
    calibration: switches.flag("calibration") ?? true,
    neighbours: switches.integer("neighbours", 1, MOST_NEIGHBOURS) ?? DEFAULT_NEIGHBOURS,
    ensemble,
    nextGate: switches.flag("next-gate") ?? ensemble,
    nextUse: switches.flag("next-use") ?? true,
    firstLayers: switches.flag("first-layers") ?? true,
  };
}
