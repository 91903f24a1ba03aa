import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { warmset } from "./command-line.test-data.ts";
import type { Check } from "./machine-checks.ts";
import { DEMO_MODEL } from "./model-options.ts";

test("every check has a result, in a few seconds, and nothing is written", async () => {
  const models = path.dirname(DEMO_MODEL);
  const before = readdirSync(models);
  const start = performance.now();
  const { exitCode, stdout } = await warmset(["doctor", models, "--json"]);
  expect(performance.now() - start).toBeLessThan(5000);
  expect(exitCode).toBe(0);
  const { usable, target, checks } = JSON.parse(stdout) as { usable: boolean; target: string; checks: Check[] };
  expect({ usable, target }).toEqual({ usable: true, target: DEMO_MODEL });
  expect(checks.map(({ id }) => id)).toEqual([
    ...["system", "llama", "memory", "pageMoving", "directReads", "aio", "readAhead", "drive"],
  ]);
  const data = (id: string) => checks.find((check) => check.id === id)?.data ?? {};
  expect(data("llama")).toMatchObject({ cpuVariant: expect.stringMatching(/^[a-z0-9_.]+$/) });
  expect(data("memory").automaticBudgetBytes).toBeGreaterThan(2 ** 26);
  expect(readdirSync(models)).toEqual(before);
});

test("the text says what is downgraded, or that nothing is", async () => {
  const { stdout, exitCode } = await warmset(["doctor"]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/ok +llama\.cpp +0\.5\.0/);
  expect(stdout).toMatch(/Nothing is downgraded|: .*\.\n$/);
});

test("a folder without models, or no folder at all, is wrong usage", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-inspect-empty-"));
  try {
    expect(await warmset(["doctor", folder])).toMatchObject({ exitCode: 2, stdout: "" });
    expect(await warmset(["doctor", path.join(folder, "none")])).toMatchObject({ exitCode: 2, stdout: "" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
