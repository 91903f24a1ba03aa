import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { start, warmset } from "./command-line.test-data.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "warmset-train-"));
const trace = path.join(folder, "trace");
const file = path.join(folder, "predictor.gguf");
const text = (name: string) => fileURLToPath(new URL(`../../models/text/${name}`, import.meta.url));
const train = (...args: string[]) => warmset(["train-predictor", trace, "--out", file, "--workers", "1", ...args]);

beforeAll(async () => {
  const texts = fs.readdirSync(text("")).filter((name) => name.endsWith(".txt"));
  const { exitCode, stderr } = await warmset([
    ...["trace", "demo", "--text", ...texts.slice(0, 2).map(text), "--out", trace, "--samples", "6"],
    ...["--sample-length", "64", "--probs", "--hidden", "--threads", "1"],
  ]);
  expect(exitCode, stderr).toBe(0);
}, 60_000);
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe("train-predictor", () => {
  test("writes a predictor that the policy promoe runs and is simulated with", async () => {
    const { stdout, exitCode, stderr } = await train("--model", "demo", "--kind", "linear", "--window", "2", "--json");
    expect(exitCode, stderr).toBe(0);
    const made = JSON.parse(stdout);
    expect(made).toMatchObject({
      ...{ file, trace, kind: "linear", width: 0, stride: 0, window: 2, targets: "probabilities" },
      training: { samples: 11 },
      heldOut: { samples: 1, tokens: 64 },
      model: { name: "demo-moe", layers: 8, experts: 32, hiddenSize: 256 },
    });
    expect(made.recall).toHaveLength(13);
    expect(made.recallByDistance).toMatchObject([
      { distance: 1, heads: 7 },
      { distance: 2, heads: 6 },
    ]);
    // It starts from the routers themselves, so little text is enough to be as good.
    const [{ predictor, nextGate, popularity }] = made.recallByDistance;
    expect(nextGate).toBeGreaterThan(popularity + 0.2);
    expect(predictor).toBeGreaterThan(nextGate - 0.05);
    for (const name of ["predictionMs", "memoryBytes", "trainingMs", "tokensPerSecond"])
      expect(made[name]).toBeGreaterThan(0);

    const run = await warmset([
      ...["run", "demo", "--policy", "promoe", "--predictor", file, "--expert-memory", "25%", "--threads", "1"],
      ...["-p", "A fox", "-n", "12", "--temp", "0", "--json"],
    ]);
    expect(run.exitCode, run.stderr).toBe(0);
    const { policyFigures } = JSON.parse(run.stdout);
    expect(policyFigures.rightExperts).toBeGreaterThan(0);
    expect(policyFigures.predictionMs).toBeGreaterThan(0);

    const simulated = await warmset([
      ...["simulate", trace, "--policies", "lru,promoe", "--predictor", file, "--cache", "25%", "--json"],
      ...["--profile", path.join(folder, "none.json")],
    ]);
    expect(simulated.exitCode, simulated.stderr).toBe(0);
    const [lru, promoe] = JSON.parse(simulated.stdout).rows;
    expect(promoe.decodeHitRate).toBeGreaterThan(lru.decodeHitRate);
  });

  test("prints the table, its time, and what a prediction costs", async () => {
    const { stdout, exitCode } = await train("--width", "16", "--epochs", "1", "--quiet");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/7 heads for demo-moe, 16 inner units each/);
    expect(stdout).toMatch(/trained on 704 tokens of 11 samples in .*tokens\/s/);
    expect(stdout).toMatch(/a prediction takes \d+\.\d us/);
    expect(stdout).toMatch(/distance +heads +mlp +next gate +token before +popular\n +1 +7 +\d+\.\d % +- +\d/);
  });

  test("refuses what makes no sense, with what to do", async () => {
    for (const [args, code, problem] of [
      [["train-predictor", trace], 2, /with --out FILE/],
      [["train-predictor", trace, "--out", file, "--kind", "linear", "--width", "8"], 2, /no inner units/],
      [["train-predictor", trace, "--out", file, "--stride", "7"], 1, /less than 7/],
      [["train-predictor", folder, "--out", file], 1, /trace\.json/],
      [["run", "demo", "--policy", "promoe", "--expert-memory", "25%", "-p", "x"], 1, /train-predictor TRACE/],
      [["run", "demo", "--policy", "promoe", "--predictor", text(""), "-p", "x"], 3, /not a regular file/],
    ] as const) {
      const { exitCode, stderr } = await warmset(args);
      expect(stderr).toMatch(problem);
      expect(exitCode).toBe(code);
    }
  });

  test("can be interrupted, and leaves no half file", async () => {
    const target = path.join(folder, "half.gguf");
    const { child, finished } = start(["train-predictor", trace, "--out", target, "--epochs", "100000"]);
    child.stderr?.once("data", () => child.kill("SIGINT"));
    expect((await finished).exitCode).toBe(130);
    expect(fs.readdirSync(folder).filter((name) => name.startsWith("half"))).toEqual([]);
  });
});
