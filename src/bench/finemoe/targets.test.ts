import { expect, test } from "vitest";
import { emptyCounters } from "../../cache/statistics.ts";
import { ALL_BYTES, EXPERT_BYTES, requestOf, runOf } from "./bench-rows.test-data.ts";
import { type FinemoeRow, rowOf } from "./row.ts";
import { judgeFinemoe } from "./targets.ts";

/** Rows of one cell at a quarter of the experts: times by request, hits of 100 look-ups, misses read. */
function cell(figures: Record<string, { ms: readonly number[]; hits: number; ahead?: number }>): FinemoeRow[] {
  const runs = Object.entries(figures).map(([policy, { ms, hits, ahead = 0 }]) =>
    runOf(policy, ms, {
      requests: ms.map((time, request) =>
        requestOf(request, time, {
          decode: {
            ...emptyCounters(),
            ...{ hits, misses: 100 - hits, bytesDemanded: (100 - hits) * EXPERT_BYTES },
            bytesPrefetched: ahead * EXPERT_BYTES,
          },
        }),
      ),
    }),
  );
  const of = (policy: string) => runs.find((run) => run.policy === policy);
  return runs.map((run) => rowOf(run, { expertBytesTotal: ALL_BYTES, floor: of("on-demand"), lru: of("lru") }));
}

const OTHERS = {
  "on-demand": { ms: [40, 41, 42, 43], hits: 0 },
  lru: { ms: [30, 31, 32, 33], hits: 50 },
  belady: { ms: [20, 21, 22, 23], hits: 80 },
  finemoe: { ms: [28, 29, 30, 31], hits: 55 },
};
const metOf = (rows: readonly FinemoeRow[]) =>
  Object.fromEntries(judgeFinemoe(rows).map(({ name, met }) => [name.split(",")[0], met]));

test("all goals are met by a policy that is better in everything; ceilings are nobody's rivals", () => {
  const met = metOf(cell({ ...OTHERS, warmset: { ms: [22, 23, 24, 25], hits: 70 } }));
  expect(Object.keys(met)).toHaveLength(5);
  expect(Object.values(met).every(Boolean)).toBe(true);
});

test("each goal fails for its own reason", () => {
  const worse = (row: { ms: readonly number[]; hits: number; ahead?: number }) =>
    metOf(cell({ ...OTHERS, warmset: row }));
  const slow = worse({ ms: [34, 35, 36, 37], hits: 70 });
  expect(slow["decode time over the best other policy"]).toBe(false);
  expect(slow["decode time over LRU's"]).toBe(false);
  expect(slow["part of the hit rate between LRU and Belady"]).toBe(true);
  expect(worse({ ms: [26, 27, 28, 29], hits: 70 })["decode time over the paper's setting"]).toBe(false);
  expect(worse({ ms: [22, 23, 24, 25], hits: 60 })["part of the hit rate between LRU and Belady"]).toBe(false);
  expect(worse({ ms: [22, 23, 24, 25], hits: 70, ahead: 26 })["bytes read over LRU's"]).toBe(false);
});

test("noise between prompts is no miss", () => {
  const met = metOf(cell({ ...OTHERS, warmset: { ms: [25, 32, 27, 35], hits: 70 } }));
  expect(met["decode time over the best other policy"]).toBe(true);
});

test("noise alone is no excuse: a middle value far above fails, however wide the interval", () => {
  const rows = cell({ ...OTHERS, warmset: { ms: [15, 40, 26, 50], hits: 70 } });
  const goal = judgeFinemoe(rows).find(({ name }) => name.startsWith("decode time over the best other policy"));
  expect(goal?.interval?.low).toBeLessThan(1);
  expect(goal?.measured).toBeGreaterThan(1.05);
  expect(goal?.met).toBe(false);
});

test("goals without their rows are open", () => {
  expect(judgeFinemoe(cell(OTHERS)).every(({ met, measured }) => met === null && measured === null)).toBe(true);
});

test("recorded runs of real models are held against the best of three, in every budget", () => {
  const row = (policy: string, hitRate: number) => ({
    trace: "qwen",
    cacheShare: 0.25,
    bytesPerToken: 1,
    policy,
    hitRate,
  });
  const others = [row("lru", 0.7), row("lfu", 0.72), row("lfu-per-layer", 0.71), row("belady", 0.9)];
  expect(judgeFinemoe([], [...others, row("warmset", 0.75)])).toMatchObject([{ met: true }]);
  expect(judgeFinemoe([], [...others, row("warmset", 0.715)])).toMatchObject([{ met: false }]);
  expect(judgeFinemoe([], others)).toMatchObject([{ met: null }]);
});
