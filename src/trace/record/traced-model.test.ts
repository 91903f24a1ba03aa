import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../../test/tiny-models/index.ts";
import { openGguf, splitGguf } from "../../gguf/index.ts";
import { DEMO_MODEL } from "../../llama/demo-model.test-data.ts";
import { routerTypes, scoringText, tracedModel } from "./traced-model.ts";

const folder = mkdtempSync(join(tmpdir(), "traced-model-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a model is described by its header", () => {
  const model = tracedModel(DEMO_MODEL);
  expect(model).toMatchObject({
    name: "demo-moe",
    architecture: "qwen3moe",
    blocks: 8,
    moeBlocks: [0, 1, 2, 3, 4, 5, 6, 7],
    experts: 32,
    expertsUsed: 4,
    sharedExperts: 0,
    expertBytes: Array(8).fill(104_448),
  });
  const { shards } = openGguf(DEMO_MODEL);
  const header = readFileSync(DEMO_MODEL).subarray(0, shards[0].dataOffset);
  expect(model.hash).toBe(createHash("sha256").update(header).digest("hex"));
  expect(routerTypes(DEMO_MODEL)).toBe("F32");
});

test("the tokenizer's hash is the tokens' alone, the model's that of every shard's header", async () => {
  const mixtral = await makeTinyModel(folder, tinyModel("mixtral"));
  const gptOss = await makeTinyModel(folder, tinyModel("gpt-oss"));
  const shards = await splitGguf(mixtral, join(folder, "split"), { maxTensorsPerShard: 20 });
  expect(shards.length).toBeGreaterThan(1);
  const [one, other, split] = [mixtral, gptOss, shards[1]].map((file) => tracedModel(file));
  // All tiny models have one vocabulary, at different places of their files.
  expect(new Set([one.tokenizerHash, other.tokenizerHash, split.tokenizerHash]).size).toBe(1);
  expect(one.tokenizerHash).not.toBe(tracedModel(DEMO_MODEL).tokenizerHash);
  expect(new Set([one.hash, other.hash, split.hash]).size).toBe(3);
  expect(split.hash).toBe(tracedModel(shards[0]).hash);
});

test("layers without experts and shared experts are told apart", async () => {
  const file = await makeTinyModel(folder, tinyModel("deepseek2"));
  const model = tracedModel(file);
  expect(model.moeBlocks[0]).toBe(1);
  expect(model.blocks).toBeGreaterThan(model.moeBlocks.length);
  expect(model.sharedExperts).toBe(1);
  expect(scoringText(file, "sigmoid")).toBe("sigmoid, bias, 4 groups");
  expect(scoringText(DEMO_MODEL, "logits")).toBe("softmax of the chosen");
});
