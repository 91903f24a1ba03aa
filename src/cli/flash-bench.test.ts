import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import type { FlashBenchResult } from "../flash/bench/results.ts";
import { warmset } from "./command-line.test-data.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-flash-bench-"));
const bench = ["flash", "bench", "--size", "16MiB", "--turns", "0.3"];
afterAll(() => rmSync(folder, { recursive: true }));

test("a row of every engine, kept and shown as a page too", async () => {
  const out = path.join(folder, "result.json");
  const page = path.join(folder, "result.html");
  const { exitCode, stdout } = await warmset([...bench, "--json", "--out", out, "--html", page]);
  expect(exitCode).toBe(0);
  const result = JSON.parse(stdout) as FlashBenchResult;
  expect(JSON.parse(readFileSync(out, "utf8"))).toEqual(result);
  expect(new Set(result.rows.map(({ engine }) => engine))).toEqual(
    new Set(["nemo", "set", "log", "kangaroo", "fairywren"]),
  );
  for (const row of result.rows) {
    expect(row).toMatchObject({ wrongValues: 0, steady: false, latencyUs: null });
    expect(row.alwa).toBeGreaterThan(0);
    expect(row.missRatio).toBeGreaterThan(0);
    expect(row.bitsPerObject.all).toBeGreaterThan(0);
  }
  expect(result).toMatchObject({
    complete: true,
    configuration: { cacheBytes: 2 ** 24, seed: 1, workload: "nemo-mix" },
  });
  expect(result.configuration.command).not.toContain(folder);
  expect(readFileSync(page, "utf8")).toContain("Write amplification while the cache turns over");

  const rendered = await warmset(["flash", "bench", "--render", out, "--json"]);
  expect(JSON.parse(rendered.stdout)).toEqual(result);
});

test("the same seed gives the same table, another one another", async () => {
  const table = async (seed: string) => {
    const { stdout } = await warmset([...bench, "--engines", "nemo", "--seed", seed, "--json"]);
    return (JSON.parse(stdout) as FlashBenchResult).rows.map(({ alwa, missRatio }) => [alwa, missRatio]);
  };
  expect(await table("5")).toEqual(await table("5"));
  expect(await table("5")).not.toEqual(await table("6"));
});

test("a published trace in place of a workload, once through", async () => {
  const trace = path.join(folder, "cluster.csv");
  const row = (i: number) => `${i},key-${i % 700},7,${200 + (i % 700)},1,get,0\n`;
  writeFileSync(trace, Array.from({ length: 2100 }, (_, i) => row(i)).join(""));
  const { stdout } = await warmset([...bench, "--engines", "log", "--trace", trace, "--json"]);
  const { rows, configuration } = JSON.parse(stdout) as FlashBenchResult;
  expect(configuration.workload).toBe("trace cluster.csv");
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ wrongValues: 0, residentObjects: 700 });
  // Each key is missed and filled the first time of three.
  expect(rows[0].missRatio).toBeCloseTo(1 / 3, 5);

  appendFileSync(trace, "2100,short\n2101,missed,6,0,1,get,0\n");
  const damaged = [...bench, "--engines", "log", "--trace", trace, "--trace-missed", "300"];
  const refused = await warmset(damaged);
  expect([refused.exitCode, refused.stdout]).toEqual([2, ""]);
  expect(refused.stderr).toContain("line 2101");
  const lenient = await warmset([...damaged, "--trace-bad-rows", "1", "--json"]);
  const { rows: again, notes } = JSON.parse(lenient.stdout) as FlashBenchResult;
  expect(again[0]).toMatchObject({ residentObjects: 701 });
  expect(notes).toEqual(["1 wrong rows of cluster.csv were left out."]);

  const absent = await warmset([...bench, "--engines", "log", "--trace", path.join(folder, "none.csv")]);
  expect([absent.exitCode, absent.stdout]).toEqual([2, ""]);
  expect(absent.stderr).toContain("none.csv");
});

test("ablations alone, as text", async () => {
  const few = ["--engines", "none", "--ablations", "write-back", "--ablation-size", "16MiB"];
  const { exitCode, stdout, stderr } = await warmset([...bench, ...few]);
  expect(exitCode).toBe(0);
  for (const text of ["Write-back of an evicted set-group", "hot and cold"]) expect(stdout).toContain(text);
  expect(stdout).not.toContain("Goal");
  expect(stderr).toContain("nemo (hot) on simulated zones");
});

test("on a real file: calls are timed, and nothing is left there", async () => {
  const device = path.join(folder, "device");
  const args = [...bench, "--turns", "0.1", "--engines", "nemo,set", "--device", device, "--json"];
  const { exitCode, stdout } = await warmset(args);
  expect(exitCode).toBe(0);
  const { rows } = JSON.parse(stdout) as FlashBenchResult;
  expect(rows.map(({ device }) => device)).toEqual(["zones in a file", "blocks in a file"]);
  for (const { latencyUs } of rows) expect(latencyUs?.get.p99).toBeGreaterThanOrEqual(latencyUs?.get.p50 ?? Infinity);
  expect(existsSync(device)).toBe(false);
  expect(stdout).not.toContain(folder);

  writeFileSync(device, "somebody's");
  const refused = await warmset(args);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("is there already");
  expect(readFileSync(device, "utf8")).toBe("somebody's");
});

test("what is wrong is said before anything runs", async () => {
  const stderrOf = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await warmset(["flash", "bench", ...args]);
    expect([exitCode, stdout]).toEqual([2, ""]);
    return stderr;
  };
  expect(await stderrOf("--engines", "nemo,lava")).toContain("There are nemo, set, log, kangaroo, fairywren");
  expect(await stderrOf("--size", "1MiB")).toContain("16MiB or more");
  expect(await stderrOf("--ablations", "colour")).toContain("--ablations colour");
  expect(await stderrOf("--speed")).toContain("give --device FILE");
  expect(await stderrOf("--render", path.join(folder, "none.json"))).toContain("none.json");
});
