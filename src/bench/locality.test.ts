import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compiledModule } from "../compiled-module.ts";

const program = fileURLToPath(compiledModule(import.meta.url, "./locality.js"));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-bench-locality-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("analyses a small trace and says how fast that was", () => {
  const result = path.join(folder, "result.json");
  const args = ["--activations", "20000", "--shapes", "2x8/2,3x4/1", "--runs", "1", "--result", result, "--json"];
  const printed = JSON.parse(
    execFileSync(process.execPath, [program, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  );
  expect(printed).toEqual(JSON.parse(readFileSync(result, "utf8")));
  expect(printed.rows).toHaveLength(4);
  expect(printed.rows[0]).toMatchObject({
    model: "synthetic 2x8 top-2",
    activations: 20_000,
    activationsPerSecond: expect.any(Number),
  });
  for (const { seconds, cpuSeconds, peakRssBytes } of printed.rows) {
    expect(seconds).toBeGreaterThan(0);
    expect(cpuSeconds).toBeGreaterThan(0);
    expect(peakRssBytes).toBeGreaterThan(30e6);
  }
});
