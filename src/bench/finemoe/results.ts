/**
 * The result of `warmset bench --suite finemoe` as it is kept in `bench/results/finemoe.json` and printed by `--json`. Types
 * only. Other programs read it: names of fields stay, new ones may be added.
 */
import type { MachineSource } from "../../simulate/profile.ts";
import type { Machine, Target } from "../results.ts";
import type { Estimate } from "./estimate.ts";
import type { Mode, Source } from "./figures.ts";
import type { SkippedPolicy } from "./policies.ts";
import type { FinemoeRow } from "./row.ts";
import type { ServingFigures } from "./serving.ts";

export interface AblationRow {
  readonly label: string;
  /** Where the axis has numbers. */
  readonly at: number | null;
  readonly row: FinemoeRow;
}

export interface AblationResult {
  readonly id: string;
  readonly title: string;
  /** Of the paper; null for what it does not have. */
  readonly figure: string | null;
  readonly mode: Mode;
  readonly cacheShare: number;
  readonly rows: readonly AblationRow[];
}

/** A recorded run of a real model: hits alone, since its machine is not this one. */
export interface RealTraceRow {
  readonly trace: string;
  readonly policy: string;
  readonly cacheShare: number;
  /** Of decode steps. */
  readonly hitRate: number;
  readonly bytesPerToken: number;
}

/** Something the paper reports, and the same here. */
export interface PublishedComparison {
  readonly name: string;
  /** As printed, or worked out from what is. */
  readonly published: string;
  readonly here: string;
  /** The same order or sign; null when it cannot be said. */
  readonly agrees: boolean | null;
}

export interface FinemoeTarget extends Target {
  readonly source: Source;
  /** What lies between the measured value and chance, where it was estimated. */
  readonly interval?: Estimate;
  /** Which row it is about, or against which it was held. */
  readonly detail: string;
}

export interface FinemoeConfiguration {
  readonly command: string;
  readonly warmset: string;
  readonly machine: Machine;
  /** Which model's experts: name and bytes. */
  readonly model: string;
  readonly expertBytes: readonly number[];
  readonly expertsUsed: number;
  readonly experts: number;
  readonly tokenCycleBytes: number;
  readonly trace: string;
  readonly trainPrompts: number;
  readonly testPrompts: number;
  readonly heldOutShare: number;
  readonly cacheShares: readonly number[];
  readonly policies: readonly string[];
  /** What the simulated machine is, and where its figures are from. */
  readonly drive: MachineSource;
  readonly driveBytesPerSecond: number;
  readonly compute: MachineSource;
  /** Of measured runs; null where there was none. */
  readonly measured: {
    readonly modelFile: string;
    readonly requests: number;
    readonly decodeTokensPerRequest: number;
    readonly runs: number;
    readonly threads: number;
    readonly pageCache: string;
    /** By O_DIRECT reads like the engine's own before each run: middle one, bytes per second. */
    readonly driveBytesPerSecond: number | null;
  } | null;
}

export interface FinemoeResult {
  readonly kind: "finemoe";
  /** ISO 8601. */
  readonly date: string;
  /** False while runs are missing: the bench still runs, or was interrupted. */
  readonly complete: boolean;
  readonly elapsedMs: number;
  readonly configuration: FinemoeConfiguration;
  readonly rows: readonly FinemoeRow[];
  readonly skipped: readonly SkippedPolicy[];
  readonly serving: readonly ServingFigures[];
  readonly ablations: readonly AblationResult[];
  readonly realTraces: readonly RealTraceRow[];
  readonly published: readonly PublishedComparison[];
  readonly targets: readonly FinemoeTarget[];
  readonly notes: readonly string[];
}
