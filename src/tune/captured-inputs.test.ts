import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { record } from "../../test/recording/recording.ts";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import { NO_ID } from "../trace/trace.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { CapturedInputs, captureTrace, inputsRoom, readLayerInputs } from "./captured-inputs.ts";
import { GateProduct } from "./gate-product.ts";
import { readBaseGates } from "./router-delta.ts";
import { chooseExperts } from "./router-forward.ts";
import { readRouterRules, tracedScoring } from "./router-rule.ts";
import { SLOW_WIDTH, slowTrace } from "./slow-inputs.test-data.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "captured-inputs-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

test("gives back the inputs of each layer, by document, and leaves nothing in the directory", async () => {
  const trace = slowTrace({ documents: 7, tokens: 10 });
  const told: number[] = [];
  using inputs = await captureTrace(trace, { directory: folder, onProgress: (tokens) => told.push(tokens) });
  expect(fs.readdirSync(folder)).toEqual([]);
  expect([inputs.tokens, inputs.documents.length, told.at(-1)]).toEqual([70, 7, 70]);
  const samples = [];
  for (const { index } of trace.parts)
    for await (const sample of trace.samples(index, { hidden: true })) samples.push(sample);
  for (const layer of [0, 1]) {
    const own = readLayerInputs(inputs.files, layer, [6, 2]);
    expect([...own.documents]).toEqual([...new Array(10).fill(6), ...new Array(10).fill(2)]);
    for (const [row, sample] of [...new Array(10).fill(samples[6]), ...new Array(10).fill(samples[2])].entries()) {
      const at = ((row % 10) * 2 + layer) * SLOW_WIDTH;
      expect(own.hidden.subarray(row * SLOW_WIDTH, (row + 1) * SLOW_WIDTH)).toEqual(
        sample.hidden.subarray(at, at + SLOW_WIDTH),
      );
      expect(own.phases[row]).toBe(sample.phases[row % 10]);
    }
  }
});

test("refuses what does not fit, tokens that a router never saw, and stops when told", async () => {
  using inputs = new CapturedInputs({ layers: 2, width: 3, directory: folder });
  expect(() => inputs.append(new Uint8Array(4), "text", new Float32Array(23))).toThrow(RangeError);
  const trace = slowTrace({ documents: 1, tokens: 4 });
  const samples = [];
  for await (const sample of trace.samples(0, { hidden: true })) samples.push(sample);
  const [sample] = samples;
  sample.experts.fill(NO_ID, 3, 6);
  await expect(captureTrace(memoryTrace(trace.description, [sample]))).rejects.toMatchObject({
    ...{ name: "TuneError", kind: "too-little-data" },
  });
  await expect(captureTrace(slowTrace(), { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
});

test("a document can come in pieces, and one that was cut short is no document", () => {
  using inputs = new CapturedInputs({ layers: 2, width: 3, directory: folder, tokens: 9 });
  const hidden = Float32Array.from({ length: 5 * 2 * 3 }, (_, i) => i);
  inputs.append(new Uint8Array(5), "whole", hidden);
  inputs.extend(hidden.subarray(0, 2 * 6), 2);
  expect(() => inputs.endDocument(new Uint8Array(5), "text")).toThrow(RangeError);
  inputs.extend(hidden.subarray(2 * 6), 3);
  inputs.endDocument(new Uint8Array(5), "pieces");
  expect(inputs.documents.map(({ first, tokens }) => [first, tokens])).toEqual([
    [0, 5],
    [5, 5],
  ]);
  for (const layer of [0, 1])
    expect(readLayerInputs(inputs.files, layer, [1]).hidden).toEqual(readLayerInputs(inputs.files, layer, [0]).hidden);
});

test("says that there is no room before anything is written", () => {
  const tokens = 2 ** 40;
  expect(() => new CapturedInputs({ layers: 2, width: 3, directory: folder, tokens })).toThrow(/Set TMPDIR/);
  expect(fs.readdirSync(folder)).toEqual([]);
  const { neededBytes, freeBytes } = inputsRoom({ layers: 2, width: 3, directory: folder }, 10);
  expect(neededBytes).toBe(240);
  expect(freeBytes).toBeGreaterThan(240);
});

const TEXT = path.join(import.meta.dirname, "../../models/text/prose.txt");

/** A choice bias, groups and a gate bias among them. */
test.each(["qwen3moe", "deepseek2", "gpt-oss"])(
  "the gates of %s choose what the engine chose on its inputs",
  async (name) => {
    const model = await makeTinyModel(folder, tinyModel(name));
    const directory = path.join(folder, name);
    const texts = [{ path: TEXT }];
    const { samples, description } = await record({ model, directory, texts, samples: 2, hidden: true });
    using inputs = await captureTrace(await openTrace(directory), { directory: folder });
    const gguf = openGguf(model);
    const layout = readMoeLayout(gguf);
    const rules = readRouterRules(gguf, layout, tracedScoring(description.model.scoring)!);
    const { expertsUsed, moeBlocks } = description.model;
    let same = 0;
    let slots = 0;
    for (const [layer, { weights, bias }] of readBaseGates(gguf, layout).entries()) {
      const { hidden, tokens, width } = readLayerInputs(inputs.files, layer, [0, 1]);
      const product = new GateProduct({ width, experts: layout.expertsPerLayer, batchTokens: 50 });
      product.setGate(weights);
      const ids = chooseExperts(product.logits(hidden, tokens, bias), tokens, rules[layer]);
      let row = 0;
      for (const { length, experts } of samples)
        for (let t = 0; t < length; t++, row++)
          for (let rank = 0; rank < expertsUsed; rank++, slots++)
            if (experts[(t * moeBlocks.length + layer) * expertsUsed + rank] === ids[row * expertsUsed + rank]) same++;
    }
    expect(slots).toBeGreaterThan(500);
    expect(same / slots).toBeGreaterThan(0.999);
  },
);
