/**
 * The ablations of the paper's figures, as lists of settings: which policy, machine or batch each point of a line has. Pure: what
 * is not in this build is told by whoever runs it.
 */
import { BASELINE, OURS, PAPER } from "./policies.ts";

export interface AblationPoint {
  /** What the point is called on its axis. */
  readonly label: string;
  /** Where the axis has numbers. */
  readonly at?: number;
  readonly policy: string;
  /** Requests decoded together. @default 1 */
  readonly batch?: number;
  /** A drive of this speed instead of the machine's. */
  readonly linkBytesPerSecond?: number;
}

export interface Ablation {
  readonly id: string;
  readonly title: string;
  /** Of the paper; null for what it does not have. */
  readonly figure: string | null;
  readonly points: readonly AblationPoint[];
}

const DISTANCES = [1, 2, 3, 4, 5, 6, 7, 8];
const CAPACITIES = [125, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000];
/** Parts of our own policy that can be switched off one by one. */
const OUR_PARTS = ["learn", "preference", "token", "gate", "prefetch", "prior"];
const BATCHES = [1, 2, 4, 8];
const LINKS_GB = [0.5, 1, 2, 4, 8, 16, 24];

/** Policies that ablations run, with switches and without. */
export const ABLATED: readonly string[] = [BASELINE, PAPER, OURS];

export const ABLATION_NAMES: readonly string[] = [
  ...["search", "threshold", "eviction", "distance", "capacity", "ours", "batch", "link"],
];

/** In the order of `ABLATION_NAMES`. `compared` are the policies whose lines the batch and link ablations show. */
export function ablations(compared: readonly string[]): readonly Ablation[] {
  const switched = (name: string, values: readonly string[]): AblationPoint[] =>
    values.map((value) => ({ label: value, policy: `${PAPER}:${name}=${value}` }));
  const numbered = (name: string, values: readonly number[]): AblationPoint[] =>
    values.map((value) => ({ label: String(value), at: value, policy: `${PAPER}:${name}=${value}` }));
  return [
    {
      ...{ id: "search", title: "Which search predicts", figure: "14a" },
      points: switched("search", ["semantic", "trajectory", "both"]),
    },
    {
      ...{ id: "threshold", title: "How many experts a map selects", figure: "14a" },
      points: switched("threshold", ["paper", "coverage", "fixed-k", "budget"]),
    },
    {
      ...{ id: "eviction", title: "What is given up", figure: "14b" },
      // Belady's rule knows the run to come, which no policy of the engine does: it stands as the ceiling without reading ahead.
      points: [...switched("eviction", ["lru", "lfu", "pfreq"]), { label: "belady", policy: "belady" }],
    },
    {
      ...{ id: "distance", title: "Prefetch distance in layers", figure: "15" },
      points: numbered("distance", DISTANCES),
    },
    { ...{ id: "capacity", title: "Maps in the store", figure: "16a" }, points: numbered("capacity", CAPACITIES) },
    {
      ...{ id: "ours", title: "What each part of warmset earns", figure: null },
      points: [
        { label: "all of it", policy: OURS },
        ...OUR_PARTS.map((part) => ({ label: `without ${part}`, policy: `${OURS}:${part}=off` })),
      ],
    },
    {
      ...{ id: "batch", title: "Requests decoded together", figure: "16b" },
      points: compared.flatMap((policy) =>
        BATCHES.map((batch): AblationPoint => ({ label: `${policy}, ${batch}`, at: batch, policy, batch })),
      ),
    },
    {
      ...{ id: "link", title: "Speed of the link (GB/s)", figure: null },
      points: compared.flatMap((policy) =>
        LINKS_GB.map(
          (speed): AblationPoint => ({
            ...{ label: `${policy}, ${speed}`, at: speed, policy },
            linkBytesPerSecond: speed * 1e9,
          }),
        ),
      ),
    },
  ];
}
