/**
 * The bench's result as it is kept in `bench/results/*.json` and printed by `--json`. Types only. Other programs read
 * it: names of fields stay, new ones may be added.
 */
import type { FirstPromptBytes, SystemName } from "./contender-protocol.ts";
import type { DeviceFigures } from "./device-figures.ts";

/** What a row was measured for. */
export type Scenario =
  /** Forced decode under a limit. */
  | "limited"
  /** The same with memory for everything. */
  | "fits"
  /** Process start to first token, from a cold cache. */
  | "cold";

export interface ResultRow {
  readonly system: SystemName;
  readonly scenario: Scenario;
  /** Memory of the contender's cgroup; of our budget alone where no cgroup could be made. */
  readonly memoryBytes: number;
  /** `memoryBytes` over the model file's size. */
  readonly memoryFraction: number;
  /** `undefined` for llama.cpp, which has none. */
  readonly policy: string | undefined;
  /** False: the same policy with demand reads only. */
  readonly prefetch: boolean | undefined;
  readonly promptTokens: number;
  /** Runs that ended with figures, of how many. The figures below are medians over them, null when there is none. */
  readonly runs: number;
  readonly attempts: number;
  /** How the other runs ended. */
  readonly failures: readonly string[];
  readonly tokensPerSecond: number | null;
  readonly ttftMs: number | null;
  readonly tpotMs: { readonly p50: number | null; readonly p95: number | null };
  /** Share of expert uses that were complete in memory; null for llama.cpp. */
  readonly hitRate: number | null;
  /** Read from storage per counted token. */
  readonly bytesPerToken: number | null;
  /** Waiting for reads, per counted token; null for llama.cpp, which does not know. */
  readonly stallMs: number | null;
  /** Read from storage by the whole process before the first token was known, Node and libraries included. */
  readonly bytesBeforeFirstToken: number | null;
  /** The model's part of that and what it had to be, of the first run; null for llama.cpp and where all is resident. */
  readonly firstPrompt: FirstPromptBytes | null;
  readonly peakRssBytes: number | null;
  /** Highest charge of the cgroup, page cache included. */
  readonly cgroupPeakBytes: number | null;
  readonly majorFaultsPerToken: number | null;
  /** Share of next-token predictions equal to llama.cpp's in the same cell; null for llama.cpp itself. */
  readonly agreement: number | null;
  /**
   * The device's speed right before and after the row's own runs, bytes per second: O_DIRECT reads like the engine's, on
   * their own. Null where it was not asked.
   */
  readonly deviceBytesPerSecond: number | null;
  /** The same with every request somewhere else in the file. */
  readonly deviceRandomBytesPerSecond: number | null;
  /**
   * The larger of compute alone and missed bytes over the speed that the device had around the run; null without a
   * "fits" row of the system.
   */
  readonly limitMs: number | null;
  /** Mean time of a token over `limitMs`. */
  readonly overLimit: number | null;
  /** Bytes read over stall time, as a share of the device's speed. */
  readonly readSpeedShare: number | null;
  /** tok/s over llama.cpp's in the same cell. */
  readonly speedup: number | null;
}

/** One of the project's own goals and what was measured for it. */
export interface Target {
  readonly name: string;
  readonly wanted: string;
  /** Null when the runs that would show it are missing. */
  readonly measured: number | null;
  readonly met: boolean | null;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
}

export interface BenchConfiguration {
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Machine;
  readonly threads: number;
  readonly nodeFlags: readonly string[];
  readonly modelFile: string;
  readonly modelBytes: number;
  /** Block device below the model, and its read-ahead during the runs. */
  readonly device: string | undefined;
  readonly readAheadKb: number | undefined;
  /** How memory was limited: the kernel's cgroup, or only our own budget, and why. */
  readonly memoryLimit: string;
  readonly pageCache: string;
  /** Where the forced tokens come from. */
  readonly domains: readonly string[];
  /** Tokens of a run that is no cold start, and of them those before the count; null where there was none. */
  readonly decodeTokens: number | null;
  readonly warmupTokens: number | null;
  readonly repetitions: number;
}

export interface BenchResult {
  readonly kind: "memory";
  /** ISO 8601. */
  readonly date: string;
  /** False while cells are missing: the bench still runs, or was interrupted. */
  readonly complete: boolean;
  readonly elapsedMs: number;
  readonly configuration: BenchConfiguration;
  /** The middle one of all probes. The device's speed drifts; each row has that of its own minutes. */
  readonly device: DeviceFigures | undefined;
  readonly limits: {
    /** Time of a token with everything in memory, ms, by system. */
    readonly computeMs: Readonly<Partial<Record<SystemName, number>>>;
    /** Slowest, median and fastest of all probes. */
    readonly deviceBytesPerSecond: number | null;
    readonly deviceSlowestBytesPerSecond: number | null;
    readonly deviceFastestBytesPerSecond: number | null;
  };
  readonly rows: readonly ResultRow[];
  readonly targets: readonly Target[];
  /** What a reader has to know to trust the figures: downgrades, killed runs. */
  readonly notes: readonly string[];
}
