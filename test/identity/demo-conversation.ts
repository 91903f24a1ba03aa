/** The conversation with the demo model that gates for policies and hints hold: a prompt of several micro-batches, a tight cache. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadLibraries, loadModel } from "../../src/llama/index.ts";
import type { ModelUnderTest } from "./engine.ts";
import type { IdentityRun } from "./run-plan.ts";

export const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const TEXT = join(import.meta.dirname, "../../models/text/prose.txt");

export const TIGHT_RUN: IdentityRun = {
  budget: "quarter",
  ...{ policy: "lru", addition: "", file: "single", storage: "owned, direct", recyclePages: true },
};

export function demoModel(): ModelUnderTest {
  using loaded = loadModel(loadLibraries(), DEMO_MODEL);
  return {
    ...{ single: DEMO_MODEL, split: DEMO_MODEL, contextSize: 512, microBatchTokens: 32, threads: 1 },
    words: loaded.vocabulary.tokenize(readFileSync(TEXT, "utf8").slice(0, 1500)),
    length: { promptTokens: 100, answerTokens: 17 },
  };
}
