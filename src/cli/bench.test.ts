import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import type { BenchResult } from "../bench/results.ts";
import { said, start, warmset } from "./command-line.test-data.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-inspect-bench-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Ten times the little model: what Node itself needs is not the point here. */
const short = ["bench", "demo", "--memory", "300MiB", "--tokens", "8", "--warmup", "2", "--runs", "1", "-t", "1"];

test("both systems get a row with the promised fields, and the result is kept", async () => {
  const out = path.join(folder, "result.json");
  const { exitCode, stdout, stderr } = await warmset([...short, "--policies", "lru", "--json", "--out", out]);
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/llama\.cpp\n.*tok\/s/);
  const result = JSON.parse(stdout) as BenchResult;
  expect(JSON.parse(readFileSync(out, "utf8"))).toEqual(result);
  expect(result.rows.map(({ system, policy }) => [system, policy])).toEqual([
    ["llama.cpp", undefined],
    ["warmset", "lru"],
  ]);
  for (const row of result.rows) {
    expect(row.memoryBytes).toBeCloseTo(300 * 2 ** 20, -4);
    expect(row.tokensPerSecond).toBeGreaterThan(0);
    expect(row.ttftMs).toBeGreaterThan(0);
    expect(row.tpotMs.p95).toBeGreaterThanOrEqual(row.tpotMs.p50 as number);
  }
  for (const field of ["hitRate", "bytesPerToken", "stallMs", "memoryFraction"])
    expect(Object.keys(result.rows[1])).toContain(field);
  expect(Object.keys(result)).toEqual(expect.arrayContaining(["device", "limits"]));
});

test("Ctrl-C ends it, the running contender too", async () => {
  const { child, finished } = start(short);
  await said(child.stderr, "llama.cpp");
  child.kill("SIGINT");
  expect(await finished).toMatchObject({ exitCode: 130, stdout: "" });
});

test.each([
  ["the other suite", ["--live"], "--live is of the suite finemoe"],
  ["this suite", ["--suite", "finemoe"], "--memory is of the suite memory"],
  ["a policy that is not measured", ["--predictor", "none"], "--predictor is for the policy promoe"],
])("an option of %s is not ignored", async (_, args, message) => {
  const { exitCode, stdout, stderr } = await warmset([...short, ...args]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr).toContain(message);
});

test("an unknown policy is refused before anything runs", async () => {
  expect(await warmset([...short, "--policies", "lru,mru"])).toMatchObject({ exitCode: 2, stdout: "" });
});
