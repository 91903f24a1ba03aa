import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { totalCounters } from "../../src/cache/statistics.ts";
import { splitGguf } from "../../src/gguf/index.ts";
import { makeTinyModel, TINY_MODELS } from "../tiny-models/index.ts";
import { firstDifference } from "./conversation.ts";
import { type ModelUnderTest, runEngine, StockTranscripts } from "./engine.ts";
import { runName, runsOfModel } from "./run-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "identity-"));
afterAll(() => rmSync(folder, { recursive: true }));

// Tokens as far apart as the vocabulary allows, never the special ones at its start.
const WORDS = Int32Array.from({ length: 96 }, (_, i) => 3 + ((i * 37) % 290));

describe.each([...TINY_MODELS.entries()].map(([index, spec]) => ({ index, spec, name: spec.name })))(
  "$name says what stock llama.cpp says",
  ({ index, spec }) => {
    const stock = new StockTranscripts();
    let model: ModelUnderTest;

    beforeAll(async () => {
      const single = await makeTinyModel(folder, spec);
      const [split = ""] = await splitGguf(single, join(folder, `${spec.name}-split`), { maxTensorsPerShard: 20 });
      model = {
        single,
        split,
        words: WORDS,
        length: { promptTokens: 40, answerTokens: 6 },
        contextSize: 256,
        microBatchTokens: 16,
        threads: 1,
      };
    }, 60_000);

    test.each(runsOfModel(index).map((run) => ({ run, name: runName(run) })))("with $name", ({ run }) => {
      const { transcript, statistics, microBatchTokens, resident } = runEngine(model, run);
      const expected = stock.of(model, microBatchTokens);
      expect(transcript.tokens).toEqual(expected.tokens);
      expect(firstDifference(transcript, expected)).toBe(-1);

      expect(resident).toBe(run.budget === "all");
      if (statistics.cache === undefined) return;
      // Nothing was gained by simply keeping everything.
      const { misses, evictionsForDemand, evictionsForPrefetch, discards } = totalCounters(statistics.cache);
      expect(misses).toBeGreaterThan(0);
      expect(evictionsForDemand + evictionsForPrefetch + discards).toBeGreaterThan(0);
      expect(statistics.bytesRead).toBeGreaterThan(0);
    });
  },
);
