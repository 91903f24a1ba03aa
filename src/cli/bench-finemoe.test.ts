import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { FinemoeResult } from "../bench/finemoe/results.ts";
import { warmset } from "./command-line.test-data.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-bench-finemoe-"));
const trace = path.join(folder, "trace");
const prose = fileURLToPath(new URL("../../models/text/prose.txt", import.meta.url));
/** No figures of whoever runs the tests. */
const env = { XDG_CACHE_HOME: path.join(folder, "cache") };
/** The demo model in its own size: what the engine's experts weigh is not the point here. */
const suite = ["bench", "demo", "--suite", "finemoe", "--workers", "1"];

beforeAll(async () => {
  const record = ["trace", "demo", "--text", prose, "--samples", "16", "--prompt-tokens", "8", "--decode", "6"];
  const { exitCode } = await warmset([...record, "--sample-length", "14", "--probs", "--out", trace], { env });
  expect(exitCode).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("rows of every policy and cache, kept and shown as a page too", async () => {
  const out = path.join(folder, "result.json");
  const page = path.join(folder, "result.html");
  const few = [
    "--trace",
    trace,
    "--shares",
    "25,50",
    "--policies",
    "moe-infinity,promoe,no-such-policy",
    "--disk",
    "2",
  ];
  const { exitCode, stdout } = await warmset([...suite, ...few, "--json", "--out", out, "--html", page], { env });
  expect(exitCode).toBe(0);
  const result = JSON.parse(stdout) as FinemoeResult;
  expect(JSON.parse(readFileSync(out, "utf8"))).toEqual(result);
  expect(new Set(result.rows.map(({ policy }) => policy))).toEqual(
    new Set(["on-demand", "lru", "lfu", "belady", "oracle-prefetch", "moe-infinity"]),
  );
  expect(result.rows).toHaveLength(6 * 2 * 2);
  expect(result.skipped.map(({ policy }) => policy)).toEqual(["promoe", "no-such-policy"]);
  expect(result.configuration).toMatchObject({ driveBytesPerSecond: 2e9, cacheShares: [0.25, 0.5], measured: null });
  expect(result.configuration.command).not.toContain(folder);
  expect(readFileSync(page, "utf8")).toContain("Nothing on this page was measured on the engine");

  const again = path.join(folder, "again.html");
  const rendered = await warmset(["bench", "--suite", "finemoe", "--render", out, "--json", "--html", again], { env });
  expect(JSON.parse(rendered.stdout)).toEqual(result);
  expect(readFileSync(again, "utf8")).toBe(readFileSync(page, "utf8"));
});

test("a model that was not traced is refused", async () => {
  const other = path.join(folder, "other.gguf");
  writeFileSync(other, "no model");
  const { exitCode, stderr } = await warmset(["bench", other, "--suite", "finemoe", "--trace", trace], { env });
  expect(exitCode).toBe(3);
  expect(stderr).toContain("other.gguf");
});

test("what is missing or unknown is wrong usage, said before anything runs", async () => {
  const stderrOf = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await warmset([...suite, ...args], { env });
    expect([exitCode, stdout]).toEqual([2, ""]);
    return stderr;
  };
  expect(await stderrOf()).toContain("give --trace DIR");
  expect(await stderrOf("--render", path.join(folder, "none.json"))).toContain("none.json");
  expect(await stderrOf("--trace", trace, "--ablations", "colour")).toContain("--ablations colour");
  expect(await stderrOf("--trace", trace, "--shares", "0")).toContain("percentages");
  expect(await stderrOf("--trace", trace, "--modes", "both", "--live")).toContain("--modes both");
});
