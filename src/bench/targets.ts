/** The project's own goals, held against the rows of a suite. Pure; a goal without the runs that would show it is open. */
import type { ComputeMs } from "./report.ts";
import type { ResultRow, Target } from "./results.ts";

/** tok/s over llama.cpp's that the project promises, by memory fraction. */
const SPEEDUPS: readonly (readonly [fraction: number, speedup: number])[] = [
  [0.5, 2.0],
  [0.33, 1.4],
  [0.2, 1.7],
];
/** Time to the first token over llama.cpp's at most, from a cold cache, by tokens of the prompt. */
const FIRST_TOKENS: readonly (readonly [promptTokens: number, share: number])[] = [
  [8, 0.5],
  [64, 0.7],
];
/** Reading is what bounds a token when it takes longer than computing by this much. */
const READ_BOUND = 1.2;

/** Holds the rows against the project's goals. `policy` is the one they are promised for. */
export function judgeTargets(rows: readonly ResultRow[], policy: string, computeMs: ComputeMs): Target[] {
  const find = (wanted: Partial<ResultRow>) =>
    rows.find((row) => Object.entries(wanted).every(([key, value]) => row[key as keyof ResultRow] === value));
  const ours = { system: "warmset", policy, prefetch: true } as const;
  const targets: Target[] = [];
  const add = (name: string, wanted: string, measured: number | null | undefined, met: (value: number) => boolean) => {
    const value = measured ?? null;
    targets.push({ name, wanted, measured: value, met: value === null ? null : met(value) });
  };

  for (const [memoryFraction, speedup] of SPEEDUPS) {
    const row = find({ ...ours, scenario: "limited", memoryFraction });
    const at = `at ${Math.round(memoryFraction * 100)} %`;
    add(`tok/s over llama.cpp's ${at}`, `>= ${speedup}`, row?.speedup, (value) => value >= speedup);
    add(`time of a token over its limit ${at}`, "<= 1.15", row?.overLimit, (value) => value <= 1.15);
    // Without prefetching nothing is read beside the stall, so this row shows how fast the reads themselves are.
    const demand = find({ ...ours, prefetch: false, scenario: "limited", memoryFraction });
    const readMs =
      demand?.bytesPerToken && demand.deviceBytesPerSecond
        ? (1000 * demand.bytesPerToken) / demand.deviceBytesPerSecond
        : 0;
    if (readMs > READ_BOUND * (computeMs.warmset ?? 0))
      add(`reading speed over the device's ${at}`, ">= 0.85", demand?.readSpeedShare, (value) => value >= 0.85);
    const stall = ratio(row?.stallMs, demand?.stallMs);
    add(`stall with prefetching over stall without ${at}`, "< 1", stall, (value) => value < 1);
    const peak = ratio(row?.peakRssBytes, row?.memoryBytes);
    add(`peak RSS over the limit ${at}`, "<= 1", peak, (value) => value <= 1);
  }
  const fits = find({ ...ours, scenario: "fits" });
  add("tok/s over llama.cpp's when all fits", ">= 0.97", fits?.speedup, (value) => value >= 0.97);
  for (const [promptTokens, share] of FIRST_TOKENS) {
    const row = find({ ...ours, scenario: "cold", promptTokens });
    const stock = find({ system: "llama.cpp", scenario: "cold", promptTokens });
    const prompt = `cold, ${promptTokens}-token prompt`;
    const time = ratio(row?.ttftMs, stock?.ttftMs);
    add(`first token over llama.cpp's, ${prompt}`, `<= ${share}`, time, (value) => value <= share);
    const bytes = row?.firstPrompt;
    add(
      `model bytes before it over dense weights and each of its experts ${bytes?.rule ?? "once"}, ${prompt}`,
      "<= 1",
      ratio(bytes?.readBytes, bytes?.neededBytes),
      (value) => value <= 1,
    );
  }
  return targets;
}

function ratio(a: number | null | undefined, b: number | null | undefined): number | null {
  return a === null || a === undefined || !b ? null : a / b;
}
