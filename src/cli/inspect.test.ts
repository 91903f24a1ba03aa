import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { splitGguf } from "../gguf/index.ts";
import { warmset } from "./command-line.test-data.ts";
import type { ModelDescription } from "./model-description.ts";
import { DEMO_MODEL } from "./model-options.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-inspect-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const inspect = async (file: string) =>
  JSON.parse((await warmset(["inspect", file, "--json"])).stdout) as ModelDescription;

test("the demo model's figures are those of its card", async () => {
  expect(await inspect("demo")).toMatchObject({
    path: DEMO_MODEL,
    architecture: "qwen3moe",
    layers: 8,
    moeLayers: 8,
    experts: 32,
    expertsUsed: 4,
    expertBytes: 104_448,
    expertBytesTotal: 8 * 32 * 104_448,
    tokenCycleBytes: 8 * 4 * 104_448,
    fileBytes: 31_052_832,
    parameters: 28_906_240,
    activeParameters: 6_886_144,
    hiddenSize: 256,
    contextLength: 512,
    vocabularySize: 4096,
    hasChatTemplate: true,
  });
});

test("bytes of experts, dense weights and header add up to the file", async () => {
  const { expertBytesTotal, denseBytes, fileBytes, bytesByType } = await inspect("demo");
  expect(expertBytesTotal + denseBytes).toBe(Object.values(bytesByType).reduce((sum, bytes) => sum + bytes, 0));
  expect(fileBytes - expertBytesTotal - denseBytes).toBeLessThan(300_000);
});

test("a split model is one model with its files", async () => {
  const [first, second] = await splitGguf(DEMO_MODEL, path.join(folder, "demo"), { maxShardBytes: 16e6 });
  const description = await inspect(second);
  const { path: _, ...whole } = await inspect("demo");
  expect(description).toMatchObject({ experts: whole.experts, tokenCycleBytes: whole.tokenCycleBytes });
  expect(description.files.map((file) => file.path)).toEqual([first, second]);
  expect((await warmset(["inspect", first])).stdout).toMatch(/in 2 files.*demo-00001-of-00002\.gguf/s);
});

test("layers that differ are listed, dense ones counted", async () => {
  const file = await makeTinyModel(folder, tinyModel("glm4moe"));
  const { layers, moeLayers, perLayer, unusedBytes, expertBytes } = await inspect(file);
  expect(layers).toBeGreaterThan(moeLayers);
  expect(unusedBytes).toBeGreaterThan(0);
  expect(Math.max(...perLayer.map((layer) => layer.expertBytes))).toBe(expertBytes);
  const { stdout } = await warmset(["inspect", file]);
  expect(stdout).toMatch(/layers +5: 3 with experts, 2 without/);
  expect(stdout).toMatch(/blocks 1, 3 +8 experts, 2 used .*down q5_0\n +block 2 +8 experts, 2 used .*down q8_0/);
});
