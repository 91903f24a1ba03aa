import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { totalCounters } from "../../src/cache/statistics.ts";
import { splitGguf } from "../../src/gguf/index.ts";
import { loadLibraries, loadModel } from "../../src/llama/index.ts";
import { firstDifference } from "./conversation.ts";
import { type ModelUnderTest, runEngine, StockTranscripts } from "./engine.ts";
import { allRuns, type IdentityRun, runName } from "./run-plan.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const folder = mkdtempSync(join(tmpdir(), "identity-demo-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TEXT =
  "Once upon a time there was a little fox who lived at the edge of the forest. Every morning she looked at the river " +
  "and asked how the water knew where to go, and why the birds were gone in winter. def add(a, b): return a + b. The capital of France is Paris, and 12 + 30 = 42.";

describe("the demo model says what stock llama.cpp says", () => {
  const stock = new StockTranscripts();
  let model: ModelUnderTest;

  beforeAll(async () => {
    const [split = ""] = await splitGguf(DEMO_MODEL, join(folder, "demo"), { maxShardBytes: 9e6 });
    using loaded = loadModel(loadLibraries(), DEMO_MODEL);
    const words = loaded.vocabulary.tokenize(TEXT);
    expect(words.length).toBeGreaterThan(62);
    model = {
      single: DEMO_MODEL,
      split,
      words,
      length: { promptTokens: 40, answerTokens: 8 },
      contextSize: 256,
      microBatchTokens: 32,
      threads: 1,
    };
  }, 60_000);

  function check(run: IdentityRun, tested: ModelUnderTest): void {
    const { transcript, statistics, microBatchTokens, resident } = runEngine(tested, run);
    const expected = stock.of(tested, microBatchTokens);
    expect(transcript.tokens).toEqual(expected.tokens);
    expect(firstDifference(transcript, expected)).toBe(-1);
    expect(resident).toBe(run.budget === "all");
    if (statistics.cache === undefined) return;
    const { misses, evictionsForDemand, evictionsForPrefetch, discards } = totalCounters(statistics.cache);
    expect(misses).toBeGreaterThan(0);
    expect(evictionsForDemand + evictionsForPrefetch + discards).toBeGreaterThan(0);
  }

  test.each(allRuns().map((run) => ({ run, name: runName(run) })))("with $name", ({ run }) => check(run, model));

  // Short: threads that spin at ggml's barriers lose a time slice at each when something else wants their cores.
  test("on two threads", () => {
    const run = { budget: "quarter", policy: "next-use", addition: "+next-gate", file: "single" } as const;
    check(
      { ...run, storage: "owned, direct", recyclePages: true },
      { ...model, threads: 2, length: { promptTokens: 12, answerTokens: 2 } },
    );
  });
});
