import { expect, test } from "vitest";
import { renderTable, TableMarkersError, withTable } from "./readme-table.ts";
import { cell, demandOnly, experts, measured, ours, run, stock } from "./report.test-data.ts";
import { resultRows } from "./report.ts";
import type { BenchResult } from "./results.ts";

const half = cell("limited", 0.5, [stock, ours, demandOnly]);
const cold = cell("cold", 0.33, [stock]);
const result: BenchResult = {
  kind: "memory",
  date: "2026-03-04T05:06:07.000Z",
  complete: true,
  elapsedMs: 1000,
  configuration: {
    versions: {},
    machine: { cpu: "Some CPU", cores: 2, memoryBytes: 16e9, kernel: "Linux 6.1" },
    threads: 2,
    nodeFlags: [],
    modelFile: "demo.gguf",
    modelBytes: 6.91e9,
    device: "vda",
    readAheadKb: 128,
    memoryLimit: "cgroup v1",
    pageCache: "dropped before each run",
    domains: ["math", "prose"],
    decodeTokens: 384,
    warmupTokens: 64,
    repetitions: 3,
  },
  device: undefined,
  limits: {
    computeMs: {},
    deviceBytesPerSecond: 1.37e9,
    deviceSlowestBytesPerSecond: 1.21e9,
    deviceFastestBytesPerSecond: 2.4e9,
  },
  rows: resultRows([
    measured(half, stock, ["killed"]),
    measured(half, ours, [run(ours, 100, { bytesRead: 9e8, experts: experts({ hits: 3, misses: 1, stallMs: 400 }) })]),
    measured(half, demandOnly, [run(ours, 130)]),
    measured(cold, stock, [run(stock, 10, { ttftMs: 10_040 })]),
  ]),
  targets: [],
  notes: ["Something was downgraded"],
};

test("a table has one line per contender, and runs without prefetching are for the record only", () => {
  const lines = renderTable(result).split("\n");
  expect(lines.slice(2, 4)).toEqual([
    "| 50 % | llama.cpp | killed by the memory limit |  |  |  |  |  |",
    "| 50 % | warmset (next-use) | 10.00 |  | 100 / 100 | 0.750 | 90 | 40 |",
  ]);
  expect(lines).toContain("| 33 %, prompt of 8 | llama.cpp | 10.04 | 400 |");
  expect(lines.at(-2)).toMatch(
    /Some CPU, 2 threads, device 1\.21 to 2\.40 GB\/s, read_ahead_kb 128, cgroup v1; .* 2026-03-04\.$/,
  );
  expect(lines.at(-1)).toBe("Something was downgraded.");
});

test("only what is between the markers is replaced, however often", () => {
  const text = "# Title\n<!-- bench:memory -->\nstale figures\n<!-- /bench:memory -->\nrest\n";
  const once = withTable(text, result);
  expect(once.startsWith("# Title\n<!-- bench:memory -->\n| memory |")).toBe(true);
  expect(once.endsWith("\n<!-- /bench:memory -->\nrest\n")).toBe(true);
  expect(once).not.toContain("stale");
  expect(withTable(once, result)).toBe(once);
});

test("a text without one pair of markers is refused", () => {
  const pair = "<!-- bench:memory -->\n<!-- /bench:memory -->";
  for (const text of ["", "<!-- bench:memory -->", "<!-- /bench:memory -->", `${pair}\n${pair}`])
    expect(() => withTable(text, result)).toThrow(TableMarkersError);
});
