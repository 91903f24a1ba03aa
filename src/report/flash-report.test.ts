/** What the page of a flash run says, and that it needs nothing but itself. */
import { expect, test } from "vitest";
import { flashResultOf, flashRowOf, publishedRows } from "../flash/bench/bench-rows.test-data.ts";
import { judgeFlash, SPEED } from "../flash/bench/targets.ts";
import { flashText } from "../flash/bench/text.ts";
import { flashFigures, renderFlashHtml } from "./flash-report.ts";

const rows = publishedRows();
const ladder = {
  ...{ id: "ladder", title: "The ladder", setting: "new objects" },
  rows: ["naive", "B+P"].map((label) => ({
    ...{ label, at: null, row: flashRowOf("nemo", 1.5, { variant: label, missRatio: null }) },
    knownFill: { simulated: 0.7, published: 0.6413 },
  })),
};
const sweep = {
  ...{ id: "threshold", title: "The threshold", setting: "nemo" },
  rows: [1, 2, 3].map((at) => ({ label: `${at} %`, at, row: flashRowOf("nemo", at, { variant: `${at} %` }) })),
};
const speed = [
  {
    ...{ what: SPEED.flashGets, inFlight: 32, perSecond: 80_000, devicePerSecond: 100_000, p99Us: 300 },
    ...{ deviceP99Us: 200, detail: "on a file" },
  },
];

test("the page has the figures, every row, the goals and the command, and loads nothing", () => {
  const result = flashResultOf({ notes: ["A note & more"], targets: judgeFlash(rows, [], []) });
  const page = renderFlashHtml(result);
  for (const text of [
    "nemo",
    "fairywren",
    "kangaroo (sets on a drive)",
    "55.6",
    "11 of 11 goals met",
    "A note &amp; more",
  ])
    expect(page).toContain(text);
  expect(page).toContain("warmset flash bench &lt;script&gt;");
  expect(page).not.toMatch(/<script|<link|(?:src|href)="(?!#)/);
  expect(flashFigures(result).map(({ id }) => id)).toEqual(["alwa-by-turn", "bits-by-engine"]);
});

test("ablations, speed and times get parts of their own", () => {
  const latencyUs = { get: { p50: 1.5, p99: 120, p9999: 900 }, put: { p50: 2, p99: 3, p9999: Number.NaN } };
  const result = flashResultOf({ rows: [flashRowOf("nemo", 1.5, { latencyUs })], ablations: [ladder, sweep], speed });
  const page = renderFlashHtml(result);
  for (const text of ["The ladder", "The threshold", "gets from flash", "Times of calls"]) expect(page).toContain(text);
  expect(flashFigures(result).map(({ id }) => id)).toContain("ablation-ladder");
});

test("goals that are not met are named first, and an unfinished run says so", () => {
  const missing = rows.map((row) => (row.engine === "nemo" ? { ...row, alwa: 3, steady: false } : row));
  const page = renderFlashHtml(flashResultOf({ rows: missing, targets: judgeFlash(missing, [], []), complete: false }));
  expect(page).toContain("Not met: ALWA of nemo, wanted 1.4 to 1.7, here 3.000.");
  expect(page).toContain("1 of 6 rows ended before a steady state.");
  expect(page).toContain("The run was not finished.");
});

test("nothing but ablations or speed is a page too", () => {
  expect(renderFlashHtml(flashResultOf({ rows: [], speed }))).toContain("No goal could be judged");
});

test("the text for a terminal has a line for each row, rung, speed and goal", () => {
  const text = flashText(
    flashResultOf({ ablations: [ladder, sweep], speed, targets: judgeFlash(rows, [ladder], speed) }),
  );
  for (const part of ["nemo ", "naive", "2 %", "gets from flash", "ALWA of fairywren"]) expect(text).toContain(part);
  expect(text.split("\n").some((line) => line.startsWith("kangaroo") && line.includes("55.60"))).toBe(true);
});
