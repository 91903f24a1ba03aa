/** What a run of the flash bench found: plain data, as it is kept in a file and drawn in a report. Nothing is worked out here. */
import type { Machine, Target } from "../../bench/results.ts";
import type { EngineName } from "../engine.ts";

/** RAM bits of a resident object. */
export interface BitsPerObject {
  readonly index: number;
  readonly buffers: number;
  readonly hotness: number;
  readonly all: number;
}

/** Microseconds; shares of calls that took no longer. */
export interface LatencyUs {
  readonly p50: number;
  readonly p99: number;
  readonly p9999: number;
}

/** A stretch of a run. */
export interface TurnPoint {
  /** Cache turns at its end: logical bytes admitted over bytes of the cache. */
  readonly turns: number;
  readonly alwa: number;
  readonly dlwa: number;
  /** Null of a stream without gets. */
  readonly missRatio: number | null;
}

/** One engine with one setting on one device: the last cache turn of its run, unless said otherwise. */
export interface FlashRow {
  readonly engine: EngineName;
  /** What differs from the engine's defaults; empty: nothing. */
  readonly variant: string;
  /** What it wrote to, with the reserve behind it. */
  readonly device: string;
  /** Device bytes the engine wrote over key + value bytes of objects newly admitted. */
  readonly alwa: number;
  /** NAND bytes over device bytes. */
  readonly dlwa: number;
  readonly totalWa: number;
  /** Of all gets, the RAM in front included; null of a stream without gets. */
  readonly missRatio: number | null;
  readonly bitsPerObject: BitsPerObject;
  /** Device bytes for each request of the stream: what a setting that admits less is judged by. */
  readonly bytesPerRequest: number;
  /** Flash pages read for each get that reached the engine, and for each that it answered. */
  readonly readAmplification: number | null;
  readonly pagesPerHit: number | null;
  /** Since the engine was opened. */
  readonly fillRate: { readonly fresh: number; readonly all: number };
  /** Shares of objects put, since the engine was opened. */
  readonly fates: Readonly<Record<string, number>>;
  /** What only this engine counts, such as FairyWREN's share of passive migration. */
  readonly details: Readonly<Record<string, number>>;
  readonly meanObjectBytes: number;
  readonly residentObjects: number;
  /** Bytes of the RAM in front. */
  readonly ramBytes: number;
  /** By time of the processor, which other work on the machine does not change; a simulated device's work and the stream's are in it. */
  readonly requestsPerCpuSecond: number;
  /** Null on simulated devices. */
  readonly latencyUs: { readonly get: LatencyUs; readonly put: LatencyUs } | null;
  readonly turns: number;
  /** At least 3 turns, and ALWA of the last one within 1 % of the one before. */
  readonly steady: boolean;
  /** Values that came back and were not the key's; anything but 0 is a mistake of the engine. */
  readonly wrongValues: number;
  readonly curve: readonly TurnPoint[];
  /** Published figures it may be held against, and which it may not. */
  readonly comparable: string;
}

export interface AblationRow {
  readonly label: string;
  /** Where it stands on the axis; null: a name alone. */
  readonly at: number | null;
  readonly row: FlashRow;
  /** Fill rate that is known for this setting, from a simulation of its own (`known-fill.ts`) or published. */
  readonly knownFill?: { readonly simulated: number | null; readonly published: number | null };
}

export interface FlashAblation {
  readonly id: string;
  readonly title: string;
  /** What was held still. */
  readonly setting: string;
  readonly rows: readonly AblationRow[];
}

/** Beside the device's own figures, in the same run. */
export interface SpeedRow {
  readonly what: string;
  readonly inFlight: number;
  /** Of the cache, and of the device alone; null: it has none (RAM). */
  readonly perSecond: number;
  readonly devicePerSecond: number | null;
  readonly p99Us: number | null;
  readonly deviceP99Us: number | null;
  /** Shares of the device's own in all rounds; the figures are medians of them, the detail is the last one's. Absent: one round. */
  readonly shares?: readonly number[];
  readonly detail: string;
}

export interface FlashConfiguration {
  readonly command: string;
  readonly warmset: string;
  readonly machine: Machine;
  readonly workload: string;
  readonly cacheBytes: number;
  readonly zoneBytes: number;
  readonly ramBytes: number;
  readonly seed: number;
  readonly mostTurns: number;
}

export interface FlashTarget extends Target {
  readonly detail: string;
}

export interface FlashBenchResult {
  readonly kind: "flash";
  readonly configuration: FlashConfiguration;
  readonly date: string;
  readonly elapsedMs: number;
  readonly rows: readonly FlashRow[];
  readonly ablations: readonly FlashAblation[];
  readonly speed: readonly SpeedRow[];
  readonly targets: readonly FlashTarget[];
  readonly notes: readonly string[];
  /** False while it runs. */
  readonly complete: boolean;
}
