import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { readHeldOutTexts } from "./held-out.ts";
import { createMemoryCgroup } from "./memory-cgroup.ts";
import type { BenchResult } from "./results.ts";
import { runSuite } from "./run-suite.ts";
import type { Cell } from "./suite-plan.ts";

const models = fileURLToPath(new URL("../../models", import.meta.url));
const modelPath = path.join(models, "demo-moe-q8_0.gguf");
const texts = readHeldOutTexts([path.join(models, "text")]);
/** 30 times the little model: what Node itself needs is not the point here. */
const cell: Cell = {
  scenario: "limited",
  memoryFraction: 30,
  promptTokens: 4,
  decodeTokens: 8,
  warmupTokens: 2,
  contenders: [{ system: "llama.cpp" }, { system: "warmset", policy: "lru", prefetch: true }],
};

test("a suite runs its cells and returns rows, conditions and targets", async () => {
  const steps: string[] = [];
  const result = await runSuite({
    modelPath,
    texts,
    cells: [cell],
    targetPolicy: "lru",
    repetitions: 2,
    threads: 1,
    onProgress: (message) => steps.push(message),
  });
  expect(result.rows.map(({ system, runs, failures }) => [system, runs, failures])).toEqual([
    ["llama.cpp", 2, []],
    ["warmset", 2, []],
  ]);
  for (const row of result.rows) {
    expect(row.tokensPerSecond).toBeGreaterThan(1);
    expect(row.ttftMs).toBeGreaterThan(10);
  }
  expect(result.rows[1].agreement).toBe(1);
  expect(result.configuration).toMatchObject({ modelFile: "demo-moe-q8_0.gguf", threads: 1, repetitions: 2 });
  expect(result.configuration.domains).toEqual(["javascript", "math", "prose", "python"]);
  expect(result.targets.length).toBeGreaterThan(5);
  // Both orders: A B, then B A.
  expect(steps.filter((step) => step.includes("run ")).map((step) => step.split(": ")[1])).toEqual([
    "llama.cpp",
    "warmset lru",
    "warmset lru",
    "llama.cpp",
  ]);
  expect(JSON.parse(JSON.stringify(result)).rows.length).toBe(2);
});

test("a contender that fails has its row, the others too, and the result is handed over after each cell", async () => {
  const kept: BenchResult[] = [];
  const failing: Cell = { ...cell, contenders: [{ system: "warmset", policy: "no-such-policy", prefetch: true }] };
  const result = await runSuite({
    modelPath,
    texts,
    cells: [failing, { ...cell, contenders: cell.contenders.slice(1) }],
    targetPolicy: "lru",
    repetitions: 1,
    threads: 1,
    onResult: (soFar) => kept.push(soFar),
  });
  expect(kept.map(({ complete, rows }) => [complete, rows.length])).toEqual([
    [false, 1],
    [true, 2],
  ]);
  expect(result.rows[0]).toMatchObject({ runs: 0, attempts: 1, tokensPerSecond: null });
  expect(result.rows[0].failures[0]).toMatch(/no-such-policy/);
  expect(result.rows[1]).toMatchObject({ runs: 1, failures: [] });
  // Right before and right after each run.
  expect(result.rows[1].deviceBytesPerSecond).toBeGreaterThan(1e6);
});

test("an interrupted suite rejects and leaves no cgroup behind", async () => {
  const controller = new AbortController();
  const running = runSuite({
    modelPath,
    texts,
    cells: [{ ...cell, decodeTokens: 1600 }],
    targetPolicy: "lru",
    repetitions: 1,
    threads: 1,
    onProgress: () => setTimeout(() => controller.abort(new Error("enough")), 200),
    signal: controller.signal,
  });
  await expect(running).rejects.toThrow("enough");
  expect(cgroupsOfThisProcess()).toEqual([]);
});

test("a limit beyond the machine's memory is left out, and the notes say so", async () => {
  const cells = [{ ...cell, memoryFraction: 1e9 }];
  const { rows, notes } = await runSuite({ modelPath, texts, cells, targetPolicy: "lru" });
  expect(rows).toEqual([]);
  expect(notes.join()).toMatch(/left out/);
});

function cgroupsOfThisProcess(): string[] {
  const probe = createMemoryCgroup(2 ** 26);
  if (!probe.made) return [];
  const { folder } = probe.cgroup;
  probe.cgroup[Symbol.dispose]();
  return readdirSync(path.dirname(folder)).filter((name) => name.includes(`bench-${process.pid}-`));
}
