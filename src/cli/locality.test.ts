import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeSyntheticTrace, syntheticSamples } from "../bench/synthetic-trace.ts";
import type { LocalityReport } from "../locality/report-data.ts";
import { createTrace } from "../trace/index.ts";
import { said, start, warmset } from "./command-line.test-data.ts";

const shape = { layers: 2, experts: 16, expertsUsed: 2, sampleLength: 128, domains: 2 };
let folder: string;
let trace: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-locality-cli-"));
  trace = path.join(folder, "trace");
  await writeTrace(trace, 24 * 128);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function writeTrace(directory: string, tokens: number): Promise<void> {
  await using writer = await createTrace(directory, describeSyntheticTrace(shape));
  for (const sample of syntheticSamples(tokens, shape)) {
    writer.beginSample(sample.domain);
    await writer.append(sample);
    await writer.endSample();
  }
  await writer.finish();
}

test("the verdict comes first, then tables that name T, phase, convention and samples", async () => {
  const { exitCode, stdout, stderr } = await warmset(["locality", trace]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const lines = stdout.split("\n");
  expect(lines[0]).toBe("synthetic 2x16 top-2: 2 MoE layers of 16 experts, 2 used by a token");
  expect(stdout).toMatch(
    /Decode: 3,072 tokens in 24 samples of T = 128, 2 domains, token\/free\n\nsynthetic 2x16 top-2 suits/,
  );
  expect(stdout).toMatch(/\n {2}ratio +experts +size +LRU +LFU +Belady +SCH\(4\) +SCH\(16\) +SCH\(64\) +SCH\(256\)\n/);
  expect(stdout).toMatch(/\n {2}2 \* +8 +32\.0 MiB +\d+\.\d %/);
  expect(stdout).toMatch(/\n {2}m +SRP +95 % interval/);
  expect(stdout).toMatch(/\n {2}domain 1 +12 /);
  expect(stdout).toMatch(/Published models with the same k\/E[^\n]*\n[^\n]*\n {2}Phi-3\.5-MoE +2\/16 +52\.0 %/);
});

test("--json is the whole report", async () => {
  const { stdout } = await warmset([
    "locality",
    trace,
    "--json",
    "--segment",
    "4,8",
    "--cache-ratio",
    "1,2.5",
    "--workers",
    "1",
  ]);
  const report = JSON.parse(stdout) as LocalityReport;
  expect(report).toMatchObject({
    format: "warmset-locality",
    schemaVersion: 1,
    settings: { segmentLengths: [4, 8], headlineSegment: 8, cacheRatios: [1, 2.5], convention: "token/free" },
    phases: [{ phase: "decode", samples: { tokens: 3072, samples: 24 } }],
  });
  expect(report.phases[0].chr.map(({ model }) => model.length)).toEqual([2, 2, 2]);
});

test("options reach the analysis, also from the environment", async () => {
  const args = ["locality", trace, "--json", "--convention", "layer/miss", "--sample-length", "64", "--phase", "all"];
  const { stdout } = await warmset(args, { env: { WARMSET_MICRO_BATCHES: "recorded", WARMSET_SEGMENT: "2" } });
  expect(JSON.parse(stdout)).toMatchObject({
    settings: { sampleLength: 64, convention: "layer/miss", microBatches: "recorded", segmentLengths: [2] },
    phases: [{ phase: "all", samples: { samples: 48, longest: 64 } }],
  });
});

test("reports and figures are written, and named on stderr", async () => {
  const html = path.join(folder, "report.html");
  const svg = path.join(folder, "figures");
  const { exitCode, stdout, stderr } = await warmset(["locality", trace, "--html", html, "--svg", svg]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/Hit rates of one cache/);
  expect(readFileSync(html, "utf8")).toMatch(/^<!doctype html>[\s\S]*<svg[\s\S]*<\/html>\s*$/i);
  const figures = readdirSync(svg);
  expect(figures.length).toBeGreaterThan(5);
  for (const file of [html, ...figures.map((name) => path.join(svg, name))])
    expect(stderr).toContain(`written: ${file}`);
});

test("what is wrong is said in one line", async () => {
  const failure = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await warmset(["locality", ...args]);
    expect(stdout).toBe("");
    return `${exitCode}: ${stderr.trim()}`;
  };
  expect(await failure(path.join(folder, "nowhere"))).toMatch(/^1: error: .*nowhere/);
  expect(await failure(trace, "--segment", "4,x")).toMatch(/^2: .*numbers separated by commas/);
  expect(await failure(trace, "--segment", "1000")).toMatch(/^2: error: A segment can have 1 to 512 tokens/);
  expect(await failure(trace, "--cache-ratio", "9")).toMatch(/^2: error: A cache ratio is above 0 and at most 8 here/);
  expect(await failure(trace, "--phase", "prefill")).toMatch(/^1: error: The trace has no tokens of the phase prefill/);
  expect(await failure(trace, "--vocabulary", path.join(folder, "no.gguf"))).toMatch(/^[13]: error: .*no\.gguf/);
  expect(await failure(trace, "--html", path.join(folder, "no", "such", "place.html"))).toMatch(/^1: error: ENOENT/);
});

test("a damaged trace is named, also by a worker", async () => {
  const broken = path.join(folder, "broken");
  await writeTrace(broken, 512);
  const part = readdirSync(broken, { recursive: true, withFileTypes: true }).find(({ name }) =>
    name.endsWith(".parquet"),
  );
  const file = path.join(part?.parentPath ?? "", part?.name ?? "");
  writeFileSync(file, readFileSync(file).subarray(0, 200));
  const { exitCode, stderr } = await warmset(["locality", broken]);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(path.basename(file));
  expect(stderr).not.toMatch(/mistake in warmset/);
});

test("Ctrl-C ends it at once", async () => {
  const long = path.join(folder, "long");
  await writeTrace(long, 200_000);
  // So many that it takes long enough to be interrupted.
  const segments = Array.from({ length: 100 }, (_, i) => i + 2).join(",");
  const { child, finished } = start(["locality", long, "--segment", segments]);
  await said(child.stderr, "analysing");
  child.kill("SIGINT");
  expect((await finished).exitCode).toBe(130);
});
