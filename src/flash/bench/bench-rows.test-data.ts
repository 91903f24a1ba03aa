/** Rows of a made-up run, for what judges and draws them. */
import type { EngineName } from "../engine.ts";
import type { FlashBenchResult, FlashRow } from "./results.ts";

export function flashRowOf(engine: EngineName, alwa: number, change: Partial<FlashRow> = {}): FlashRow {
  return {
    ...{ engine, variant: "", device: "simulated zones", alwa, dlwa: 1, totalWa: alwa, missRatio: 0.2 },
    bitsPerObject: { index: 8, buffers: 4, hotness: 0.5, all: 12.5 },
    ...{ bytesPerRequest: 50 * alwa, readAmplification: 1.5, pagesPerHit: 2, fillRate: { fresh: 0.7, all: 0.9 } },
    fates: { flushed: 0.99, writtenBackHot: 0.2 },
    details: {},
    ...{ meanObjectBytes: 246, residentObjects: 1e6, ramBytes: 3e6, requestsPerCpuSecond: 5e5, latencyUs: null },
    ...{ turns: 4, steady: true, wrongValues: 0 },
    curve: [1, 2, 3, 4].map((turns) => ({ turns, alwa, dlwa: 1, missRatio: 0.2 })),
    comparable: "its published figure",
    ...change,
  };
}

/** All engines as published. */
export function publishedRows(): FlashRow[] {
  const bits = (index: number) => ({ index, buffers: 4, hotness: 0.5, all: index + 4.5 });
  return [
    flashRowOf("nemo", 1.56),
    flashRowOf("log", 1.08, { bitsPerObject: bits(104) }),
    flashRowOf("set", 16.6, { device: "simulated drive", dlwa: 3, totalWa: 49.8 }),
    flashRowOf("fairywren", 15.2),
    flashRowOf("kangaroo", 12, { variant: "sets on a drive", device: "simulated drive" }),
    flashRowOf("kangaroo", 55.6),
  ];
}

export function flashResultOf(change: Partial<FlashBenchResult> = {}): FlashBenchResult {
  return {
    kind: "flash",
    configuration: {
      command: "warmset flash bench <script>",
      warmset: "0.0.0",
      machine: { cpu: "a cpu", cores: 2, memoryBytes: 2 ** 34, kernel: "a kernel" },
      ...{ workload: "nemo-mix", cacheBytes: 2 ** 30, zoneBytes: 2 ** 22, ramBytes: 3e6, seed: 1, mostTurns: 8 },
    },
    date: "2026-01-02T03:04:05.000Z",
    elapsedMs: 90_000,
    ...{ rows: publishedRows(), ablations: [], speed: [], targets: [], notes: [], complete: true },
    ...change,
  };
}
