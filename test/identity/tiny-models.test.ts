import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { totalCounters } from "../../src/cache/statistics.ts";
import { openGguf, readMoeLayout, splitGguf } from "../../src/gguf/index.ts";
import { planSlots } from "../../src/memory/expert-placement.ts";
import { PAGE_BYTES } from "../../src/memory/libc.ts";
import { inWholePages, makeTinyModel, TINY_MODELS, type TinyModelSpec } from "../tiny-models/index.ts";
import { firstDifference } from "./conversation.ts";
import { type ModelUnderTest, runEngine, StockTranscripts } from "./engine.ts";
import { type IdentityRun, runName, runsOfModels } from "./run-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "identity-"));
afterAll(() => rmSync(folder, { recursive: true }));

const RUNS = runsOfModels(TINY_MODELS.length);

// Tokens as far apart as the vocabulary allows, never the special ones at its start.
const WORDS = Int32Array.from({ length: 96 }, (_, i) => 3 + ((i * 37) % 290));

async function prepare(spec: TinyModelSpec): Promise<ModelUnderTest> {
  const single = await makeTinyModel(folder, spec);
  const [split = ""] = await splitGguf(single, join(folder, `${spec.name}-split`), { maxTensorsPerShard: 20 });
  return {
    single,
    split,
    words: WORDS,
    length: { promptTokens: 40, answerTokens: 6 },
    contextSize: 256,
    microBatchTokens: 16,
    threads: 1,
  };
}

function expectIdentity(model: ModelUnderTest, stock: StockTranscripts, run: IdentityRun): void {
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
}

describe.each([...TINY_MODELS.entries()].map(([index, spec]) => ({ index, spec, name: spec.name })))(
  "$name says what stock llama.cpp says",
  ({ index, spec }) => {
    const stock = new StockTranscripts();
    let model: ModelUnderTest;

    beforeAll(async () => {
      model = await prepare(spec);
    }, 60_000);

    test.each(RUNS[index].map((run) => ({ run, name: runName(run) })))("with $name", ({ run }) => {
      expectIdentity(model, stock, run);
    });
  },
);

describe.each([...TINY_MODELS.entries()].map(([index, spec]) => ({ index, spec, name: spec.name })))(
  "$name with experts in slots says what stock llama.cpp says",
  ({ index, spec }) => {
    const stock = new StockTranscripts();
    let model: ModelUnderTest;

    beforeAll(async () => {
      model = await prepare(inWholePages(spec));
      const { moeLayers, expertsPerLayer } = readMoeLayout(openGguf(model.single));
      const slices = moeLayers.map((layer) => layer.slices.map((slice) => ({ ...slice, file: slice.shard })));
      expect(planSlots(slices, expertsPerLayer, PAGE_BYTES)).toBeDefined();
    }, 60_000);

    const runs = RUNS[index]
      .filter(({ budget }) => budget === "half" || budget === "smallest")
      .map((run): IdentityRun => (run.storage === "page-cache" ? { ...run, storage: "owned, direct" } : run));
    test.each(runs.map((run) => ({ run, name: runName(run) })))("with $name", ({ run }) => {
      expectIdentity(model, stock, run);
    });
  },
);
