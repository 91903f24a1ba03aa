/** The identity gate must fail when the engine is wrong: here parts of it are broken on purpose. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGguf, readMoeLayout } from "../../src/gguf/index.ts";
import { interpose, type Treatment } from "../faults/interposed-reads.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { firstDifference } from "./conversation.ts";
import { type ModelUnderTest, runEngine, StockTranscripts } from "./engine.ts";
import type { IdentityRun } from "./run-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "teeth-"));
afterAll(() => rmSync(folder, { recursive: true }));

const RUN: IdentityRun = {
  budget: "quarter",
  policy: "lru",
  addition: "",
  file: "single",
  storage: "owned, direct",
  recyclePages: true,
};

// One with gate, up and down, one with gate and up in one product, one with biases, and one whose experts are under a page.
describe.each(["mixtral", "deepseek2-fused", "gpt-oss", "qwen3moe"])("a %s", (name) => {
  const stock = new StockTranscripts();
  let model: ModelUnderTest;
  let stages = 0;

  beforeAll(async () => {
    const single = await makeTinyModel(folder, tinyModel(name));
    stages = readMoeLayout(openGguf(single)).moeLayers[0].slices.length;
    model = {
      single,
      split: single,
      words: Int32Array.from({ length: 96 }, (_, i) => 3 + ((i * 37) % 290)),
      length: { promptTokens: 40, answerTokens: 6 },
      contextSize: 256,
      microBatchTokens: 16,
      threads: 1,
    };
  }, 60_000);

  const sameAsStock = (treat: (tag: number, index: number) => Treatment, run: IdentityRun = RUN): boolean => {
    const openFiles = interpose(({ tag, index }) => (tag < 0 ? "read" : treat(tag, index)));
    const { transcript, microBatchTokens } = runEngine(model, run, { openFiles });
    return firstDifference(transcript, stock.of(model, microBatchTokens)) === -1;
  };

  test("says the same when all is read", () => {
    expect(sameAsStock(() => "read")).toBe(true);
  });

  test("says something else when any one stage of the experts is not read", () => {
    for (let stage = 0; stage < stages; stage++)
      expect(sameAsStock((tag) => (tag % stages === stage ? "forget" : "read"))).toBe(false);
  });

  test("says something else when every 20th read is not done", () => {
    expect(sameAsStock((_, index) => (index % 20 === 0 ? "forget" : "read"))).toBe(false);
  });
});

describe("an evicted expert", () => {
  // Reads are forgotten from the moment when each expert was read once: what is still there then is right.
  test.each([true, false])("is really gone, with recycling %s", async (recyclePages) => {
    const single = await makeTinyModel(folder, tinyModel("mixtral"));
    const model: ModelUnderTest = {
      single,
      split: single,
      words: Int32Array.from({ length: 96 }, (_, i) => 3 + ((i * 37) % 290)),
      length: { promptTokens: 40, answerTokens: 6 },
      contextSize: 256,
      microBatchTokens: 16,
      threads: 1,
    };
    const seen = new Set<number>();
    let again = 0;
    const openFiles = interpose(({ tag }) => {
      if (tag < 0) return "read";
      if (!seen.has(tag)) {
        seen.add(tag);
        return "read";
      }
      again++;
      return "forget";
    });
    const { transcript, microBatchTokens } = runEngine(model, { ...RUN, recyclePages }, { openFiles });
    expect(again).toBeGreaterThan(0);
    expect(firstDifference(transcript, new StockTranscripts().of(model, microBatchTokens))).not.toBe(-1);
  });
});
