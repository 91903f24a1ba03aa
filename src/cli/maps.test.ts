import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SimulationRow } from "../simulate/simulation-row.ts";
import { importRouteTrace } from "../trace/index.ts";
import { STREAMING, warmset } from "./command-line.test-data.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-maps-"));
const trace = path.join(folder, "gptoss");
const env = { XDG_CACHE_HOME: path.join(folder, "cache") };

beforeAll(async () => {
  const csv = path.join(folder, "gptoss.route.csv");
  const packed = fileURLToPath(new URL("../../test/traces/gptoss.route.csv.gz", import.meta.url));
  writeFileSync(csv, gunzipSync(readFileSync(packed)));
  await importRouteTrace(csv, trace);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("maps of a trace are written, told of, and begun with by a simulated finemoe", async () => {
  const file = path.join(folder, "gptoss.maps");
  const made = await warmset(["maps", trace, "--out", file, "--capacity", "50", "--encoding", "u8", "--json"], { env });
  expect(made.exitCode).toBe(0);
  const document = JSON.parse(made.stdout) as Record<string, unknown>;
  expect(document).toMatchObject({ rows: 50, capacity: 50, encoding: "u8", layers: 36, experts: 128, hiddenSize: 0 });
  expect(document.mapsRecorded as number).toBeGreaterThan(50);
  expect(document.notes).toEqual([expect.stringMatching(/no router probabilities/)]);

  const policy = "finemoe:store=frozen,distance=4,search=trajectory";
  const simulate = ["simulate", trace, "--policies", `lru,${policy}`, "--cache", "10%", "--disk", "2", "--json"];
  const { stdout, exitCode } = await warmset([...simulate, "--maps", file], { env });
  expect(exitCode).toBe(0);
  const { rows } = JSON.parse(stdout) as { rows: SimulationRow[] };
  expect(rows.map((row) => row.policy)).toEqual(["lru", policy]);
  expect(rows[1].policyFigures).toMatchObject({ storeRows: 50, storeFrozen: 1, storeUpdates: 0 });
  expect(rows[1].policyFigures?.forecastLayers).toBeGreaterThan(1000);
});

test("what is missing or wrong is a usage error or says what is wrong", async () => {
  const nowhere = await warmset(["maps", trace], { env });
  expect([nowhere.exitCode, nowhere.stderr]).toEqual([2, expect.stringMatching(/--out FILE/)]);
  const absent = await warmset(["simulate", trace, "--policies", "finemoe", "--maps", "/none"], { env });
  expect([absent.exitCode, absent.stderr]).toEqual([2, expect.stringMatching(/--maps \/none/)]);
  const other = path.join(folder, "no.maps");
  writeFileSync(other, "nothing");
  const damaged = await warmset(["simulate", trace, "--policies", "finemoe", "--maps", other], { env });
  expect([damaged.exitCode, damaged.stderr]).toEqual([1, expect.stringMatching(/no file of expert maps/)]);
});

test("the demo model says the same under finemoe, whose mechanisms have all run", async () => {
  const run = async (policy: string) => {
    const prompt = ["--raw", "-p", "Once upon a time there was a", "-n", "24", "--temp", "0", "--json"];
    const { stdout, stderr, exitCode } = await warmset(["run", "demo", ...STREAMING, "--policy", policy, ...prompt], {
      env,
    });
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    return JSON.parse(stdout) as { tokens: number[]; policyFigures: Record<string, number> | null };
  };
  const [lru, finemoe, plus] = [
    await run("lru"),
    await run("finemoe:distance=3,inflight=4"),
    await run("finemoe-plus"),
  ];
  expect(finemoe.tokens).toEqual(lru.tokens);
  expect(plus.tokens).toEqual(lru.tokens);
  expect(lru.policyFigures).toBeNull();
  for (const { policyFigures } of [finemoe, plus]) {
    for (const figure of [
      "semanticSearches",
      "trajectorySearches",
      "forecastLayers",
      "storeUpdates",
      "searchP50Us",
      "storeBytes",
    ])
      expect(policyFigures?.[figure], figure).toBeGreaterThan(0);
    expect(policyFigures).toMatchObject({ searchWaits: 0, iterationsByTokenIdOnly: 0, layersWithoutProbabilities: 0 });
  }
  expect(plus.policyFigures?.mixOutcomes).toBeGreaterThan(0);
}, 120_000);
