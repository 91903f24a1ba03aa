import { expect, test } from "vitest";
import { flashRowOf, publishedRows } from "./bench-rows.test-data.ts";
import type { FlashAblation, FlashRow, SpeedRow } from "./results.ts";
import { judgeFlash, SPEED } from "./targets.ts";

const verdicts = (...args: Parameters<typeof judgeFlash>) =>
  Object.fromEntries(judgeFlash(...args).map(({ name, met }) => [name, met]));

test("rows as published meet every goal", () => {
  const all = verdicts(publishedRows(), [], []);
  expect(Object.keys(all)).toHaveLength(11);
  expect(Object.values(all).every((met) => met === true)).toBe(true);
});

test("each figure out of its range is a goal not met", () => {
  const missed = (engine: FlashRow["engine"], change: Partial<FlashRow>) =>
    judgeFlash(
      publishedRows().map((row) => (row.engine === engine && row.variant === "" ? { ...row, ...change } : row)),
      [],
      [],
    )
      .filter(({ met }) => met === false)
      .map(({ name }) => name);
  expect(missed("nemo", { alwa: 1.75 })).toEqual(["ALWA of nemo"]);
  expect(missed("log", { alwa: 1.2 })).toEqual(["ALWA of log"]);
  expect(missed("set", { alwa: 17.6 })).toEqual(["ALWA of set over 4,096 / mean object"]);
  expect(missed("fairywren", { alwa: 13 })).toEqual(["ALWA of fairywren"]);
  expect(missed("fairywren", { alwa: 16.8 })).toEqual(["ALWA of set over that of fairywren"]);
  expect(missed("kangaroo", { alwa: 10 })).toEqual(["ALWA of kangaroo over that of set"]);
  expect(missed("set", { wrongValues: 1 })).toEqual(["values that were wrong"]);
  expect(missed("nemo", { bitsPerObject: { index: 200, buffers: 0, hotness: 0, all: 200 } })).toEqual([
    "index bits of log over the most of any other",
  ]);
});

test("what did not run is open, and nothing at all is judged of nothing", () => {
  const alone = verdicts([flashRowOf("nemo", 1.5)], [], []);
  expect(alone["ALWA of nemo"]).toBe(true);
  expect(alone["ALWA of fairywren"]).toBeNull();
  expect(verdicts([], [], [])).toEqual({});
});

test("a rung is held against what is known for it, new objects alone or all of them", () => {
  const rung = (label: string, fresh: number, all: number, simulated: number | null, published: number | null) => ({
    ...{ label, at: null, row: flashRowOf("nemo", 1.5, { fillRate: { fresh, all } }) },
    knownFill: { simulated, published },
  });
  const ladder: FlashAblation = {
    ...{ id: "ladder", title: "", setting: "" },
    rows: [
      rung("naive", 0.12, 0.12, 0.124, 0.0678),
      rung("B", 0.7, 0.7, 0.457, 0.3132),
      rung("B+P+W", 0.7, 0.88, null, 0.8934),
    ],
  };
  const all = verdicts([], [ladder], []);
  expect(all["fill rate, naive"]).toBe(true);
  expect(all["fill rate, B"]).toBe(false);
  expect(all["fill rate, B+P+W"]).toBe(true);
});

test("beyond the paper counts what misses no more and answers nothing wrongly", () => {
  const beyond = (...changes: readonly Partial<FlashRow>[]): FlashAblation => ({
    ...{ id: "beyond", title: "", setting: "" },
    rows: [{}, ...changes].map((change, i) => ({
      ...{ label: String(i), at: null },
      row: flashRowOf("nemo", 1.5, { missRatio: 0.2, ...change }),
    })),
  });
  const alwa = (...changes: readonly Partial<FlashRow>[]) =>
    judgeFlash([], [beyond(...changes)], []).find(({ name }) => name.startsWith("least ALWA"));
  expect(alwa({ alwa: 1.3 }, { alwa: 1.4 })).toMatchObject({ met: true, detail: '1.30 of "1" and 1.50' });
  expect(alwa({ alwa: 1.3, missRatio: 0.21 }, { alwa: 1.4, wrongValues: 1 })?.met).toBe(false);
  expect(alwa({ alwa: 1.6 })?.met).toBe(false);
});

test("speed is judged against the device's own", () => {
  const row = (what: string, perSecond: number, devicePerSecond: number | null, p99Us: number | null): SpeedRow => ({
    ...{ what, inFlight: 32, perSecond, devicePerSecond, p99Us, deviceP99Us: 200, detail: "" },
  });
  const speed = [
    row(SPEED.ramGets, 500_000, null, null),
    row(SPEED.flashGets, 80_000, 100_000, 300),
    row(SPEED.sets, 160_000, null, null),
    row(SPEED.zoneWrites, 700e6, 1e9, null),
  ];
  const all = verdicts([], [], speed);
  expect(all["gets from RAM each second"]).toBe(true);
  expect(all["gets from flash over the device's reads, 32 in flight"]).toBe(true);
  expect(all["their p99 over the device's, 32 in flight"]).toBe(true);
  expect(all["sets each second"]).toBe(true);
  expect(all["zone writes over the device's sequential speed"]).toBe(false);
});
