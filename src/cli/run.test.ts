import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { STREAMING, warmset } from "./command-line.test-data.ts";
import type { RunDocument } from "./run-report.ts";

const story = ["run", "demo", ...STREAMING, "-p", "Tell me a story about a fox.", "--seed", "4", "--temp", "0.7"];

describe("run --json", () => {
  test("prints one document with the promised fields", async () => {
    const { exitCode, stdout, stderr } = await warmset([...story, "-n", "24", "--json"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const document = JSON.parse(stdout) as RunDocument;
    const { experts, memory } = document;
    expect(document).toMatchObject({ generatedTokens: 24, promptTokens: 15, stopReason: "length" });
    expect(document.tokens.length).toBe(24);
    expect(document.text.length).toBeGreaterThan(24);
    for (const time of ["ttftMs", "tpotMs", "tokensPerSecond", "startToFirstTextMs"] as const)
      expect(document[time]).toBeGreaterThan(0);
    expect(document.tpotMs).toBeCloseTo(1000 / document.tokensPerSecond, 3);
    expect(document.startToFirstTextMs).toBeGreaterThan(document.ttftMs);
    expect(experts.hitRate).toBeCloseTo(experts.hits / (experts.hits + experts.lateHits + experts.misses), 9);
    expect(experts.bytesDemanded).toBe(experts.misses * 104_448);
    expect(experts.bytesRead).toBeGreaterThan(experts.bytesDemanded);
    expect(experts.evictions).toBeGreaterThan(0);
    expect(experts.stallMs).toBeGreaterThan(0);
    for (const count of ["bytesPrefetched", "bytesWasted"] as const) expect(experts[count]).toBeGreaterThanOrEqual(0);
    expect(memory).toMatchObject({ budgetBytes: null, expertBudgetBytes: 32 * 8 * 104_448 * 0.5, resident: false });
    expect(memory.denseBytes).toBeGreaterThan(4e6);
    expect(memory.kvBytes).toBe(2 * 2 * 8 * 512 * 4 * 32);
    // Both processes: Node alone has more than 40 MB.
    expect(memory.peakRssBytes).toBeGreaterThan(100e6);
    expect(document.load.ms).toBeGreaterThan(10);
    expect(document.load.bytesRead).toBe(memory.denseBytes);
    expect(document.config).toMatchObject({
      hints: null,
      expertMemory: "50%",
      threads: 1,
      contextSize: 512,
      policy: "warmset",
      template: "model",
      sampling: { temperature: 0.7, seed: 4, topK: 40, maxTokens: 24 },
      versions: { warmset: expect.stringMatching(/^\d+\.\d+\.\d+/), llamaCpp: expect.stringMatching(/^0\.5\.0/) },
    });
  });

  test("holds a budget of everything", async () => {
    const smallest = JSON.parse((await warmset(["plan", "demo", "--memory", "1GiB", "--json"])).stdout) as {
      smallestBudgetBytes: number;
    };
    const budgetBytes = smallest.smallestBudgetBytes + 24 * 2 ** 20;
    const { exitCode, stdout } = await warmset([
      ...["run", "demo", "-p", "Tell me a story.", "--memory", String(budgetBytes), "-t", "1", "--json"],
    ]);
    expect(exitCode).toBe(0);
    const { memory } = JSON.parse(stdout) as RunDocument;
    expect(memory).toMatchObject({ budgetBytes, resident: false });
    expect(memory.peakRssBytes).toBeLessThanOrEqual(budgetBytes);
  });
});

test("text goes to stdout and what happened to stderr", async () => {
  const { exitCode, stdout, stderr } = await warmset(story);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^[A-Z].{100,}\n$/s);
  const labels = stderr
    .trim()
    .split("\n")
    .map((line) => line.trim().split(" ")[0]);
  expect(labels).toEqual(["model", "speed", "experts", "read", "memory"]);
});

test("--quiet leaves only the text", async () => {
  expect(await warmset([...story, "-n", "5", "--quiet"])).toMatchObject({ exitCode: 0, stderr: "" });
});

test("the same seed gives the same text, whatever the memory", async () => {
  const [streamed, resident] = await Promise.all([
    warmset([...story, "-n", "40", "-q"]),
    warmset([...story.slice(0, 2), ...story.slice(4), "--expert-memory", "all", "-n", "40", "-q"]),
  ]);
  expect(streamed.stdout).toBe(resident.stdout);
});

test("a prompt can be piped in, and llama.cpp's spellings work", async () => {
  const { stdout, exitCode } = await warmset(
    ["run", "-m", "demo", ...STREAMING, "--raw", "-ub", "8", "--n-predict", "3", "--temp", "0", "-q"],
    { stdin: "Once upon a\n" },
  );
  expect({ stdout, exitCode }).toEqual({ stdout: " time there was\n", exitCode: 0 });
});

test("options come from the environment, and the line wins", async () => {
  const env = {
    WARMSET_PREDICT: "2",
    WARMSET_QUIET: "yes",
    WARMSET_MEMORY: "1GiB",
    WARMSET_TEMP: "0",
    WARMSET_RAW: "1",
  };
  const two = await warmset(["run", "demo", ...STREAMING, "-p", "Once upon a"], { env });
  expect(two).toMatchObject({ exitCode: 0, stdout: " time there\n", stderr: "" });
  const one = await warmset(["run", "demo", ...STREAMING, "-p", "Once upon a", "-n", "1"], { env });
  expect(one.stdout).toBe(" time\n");
});

test("a grammar and a stop text are obeyed", async () => {
  const base = ["run", "demo", ...STREAMING, "-q", "-p", "Tell me a story."];
  expect((await warmset([...base, "--grammar", 'root ::= "yes" | "no"'])).stdout).toMatch(/^(yes|no)\n$/);
  const { stdout } = await warmset([...base, "--temp", "0", "--stop", " a ", "--stop", "."]);
  expect(stdout).not.toMatch(/ a |\./);
});

test("without arguments the help is shown", async () => {
  const { exitCode, stdout, stderr } = await warmset([]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  for (const name of ["run", "chat", "inspect", "plan", "doctor", "bench"]) expect(stdout).toContain(`  ${name} `);
});

describe("what a policy learns", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-run-"));
  const learning = ["--policy", "moe-infinity", "-n", "4"];
  const run = (env: Readonly<Record<string, string>>, ...args: string[]) =>
    warmset([...story, ...learning, ...args], { env: { WARMSET_HOME: folder, ...env } });

  test("is kept for the next run, where it is told to", async () => {
    const kept = path.join(folder, "learned");
    expect(await run({}, "--learned", "off")).toMatchObject({ exitCode: 0 });
    expect(existsSync(kept)).toBe(false);
    const auto = { WARMSET_LEARNED: "auto" };
    expect(await run(auto)).toMatchObject({ exitCode: 0 });
    expect(await run(auto)).toMatchObject({ exitCode: 0, stderr: expect.not.stringMatching(/is not used/) });
    expect(readdirSync(kept)).toEqual([expect.stringMatching(/^[0-9a-f]{16}-moe-infinity-[0-9a-f]{8}\.bin$/)]);
    const own = path.join(folder, "own.bin");
    writeFileSync(own, "something else");
    const first = await run({}, "--learned", own);
    expect(first).toMatchObject({
      exitCode: 0,
      stderr: expect.stringMatching(/note: .*own\.bin is not used: it is no such/),
    });
    expect(await run({}, "--learned", own)).toMatchObject({ stderr: expect.not.stringMatching(/is not used/) });
    rmSync(folder, { recursive: true });
  });
});
