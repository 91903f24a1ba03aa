import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { readProfile } from "../simulate/profile-file.ts";
import { warmset } from "./command-line.test-data.ts";

// On a file system that has direct reads, which the system's folder for temporary files may lack.
const folder = mkdtempSync(path.join(import.meta.dirname, "../../node_modules/.warmset-calibrate-"));
afterAll(() => rmSync(folder, { recursive: true }));
const env = { XDG_CACHE_HOME: folder };
const profile = path.join(folder, "warmset", "profile.json");

test("with the demo model: drive, computing and the engine's part are measured and kept", async () => {
  const { exitCode, stdout } = await warmset(["calibrate", "demo", "--threads", "1", "--json"], { env });
  expect(exitCode).toBe(0);
  const document = JSON.parse(stdout) as { profile: string; date: string };
  expect(document.profile).toBe(profile);
  const [kept] = readProfile(profile).calibrations;
  const { profile: _, ...printed } = JSON.parse(stdout);
  expect(kept).toEqual(printed);
  const { disk, compute } = kept;
  // The demo model has 30 MB: bursts of more would read places twice.
  expect(disk.model.bursts.map(({ requests }) => requests)).toEqual([1, 2, 4, 8]);
  for (const { ms } of disk.model.bursts) expect(ms).toBeGreaterThan(0);
  expect(disk.model.reportsEvery).toBeGreaterThanOrEqual(1);
  expect(compute?.model.layers).toHaveLength(8);
  expect(compute?.msPerToken).toBeGreaterThan(0);
  for (const { products, beforeRouter } of compute!.model.layers) {
    expect(products).toHaveLength(3);
    expect(beforeRouter.ms + beforeRouter.msPerToken).toBeGreaterThan(0);
    for (const { msPerExpert, msPerUse } of products) expect(msPerExpert + msPerUse).toBeGreaterThanOrEqual(0);
  }
  expect(compute?.engine.msPerStop).toBeGreaterThan(0);
});

test("in words, and without a model only the drive; nothing but the profile is left", async () => {
  const { exitCode, stdout } = await warmset(["calibrate"], { env });
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(
    /1 together .*B\/s[\s\S]*128 together[\s\S]*Computing was not measured[\s\S]*Kept in .*profile\.json/,
  );
  expect(readProfile(profile).calibrations).toHaveLength(2);
  expect(readdirSync(path.dirname(profile))).toEqual(["profile.json"]);
});

test("a model that is none is said to be", async () => {
  const { exitCode, stderr } = await warmset(["calibrate", path.join(os.tmpdir(), "none.gguf")], { env });
  expect(exitCode).toBe(3);
  expect(stderr).toMatch(/none\.gguf: there is no such file/);
});
