import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGguf, readTensor } from "../../src/gguf/index.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { type Recorded, record } from "./recording.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const TEXT = join(import.meta.dirname, "../../models/text/prose.txt");

const folder = mkdtempSync(join(tmpdir(), "recording-columns-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("probabilities and router inputs of the demo model", () => {
  let recorded: Recorded;

  beforeAll(async () => {
    const directory = join(folder, "demo");
    recorded = await record({
      model: DEMO_MODEL,
      directory,
      texts: [{ path: TEXT }],
      samples: 2,
      probs: true,
      hidden: true,
    });
  });

  test("are those by which the experts were chosen and weighed", () => {
    const { samples, description } = recorded;
    const { experts: count, expertsUsed, moeBlocks } = description.model;
    expect(description.columns).toEqual({
      weights: true,
      probs: true,
      hiddenWidth: 256,
      tokens: true,
      predictions: true,
    });
    expect(description.model.scoring).toBe("softmax");
    for (const { length, experts, weights, probs } of samples)
      for (let row = 0; row < length * moeBlocks.length; row++) {
        const distribution = Array.from(probs!.subarray(row * count, (row + 1) * count));
        expect(distribution.reduce((total, p) => total + p, 0)).toBeCloseTo(1, 5);
        const best = [...distribution.keys()].sort((a, b) => distribution[b] - distribution[a]).slice(0, expertsUsed);
        expect(Array.from(experts.subarray(row * expertsUsed, (row + 1) * expertsUsed))).toEqual(best);
        const whole = best.reduce((total, expert) => total + distribution[expert], 0);
        for (const [rank, expert] of best.entries())
          expect(weights![row * expertsUsed + rank]).toBeCloseTo(distribution[expert] / whole, 6);
      }
  });

  test("belong together: the file's router makes the probabilities of the inputs", () => {
    const { samples, description } = recorded;
    const { experts: count, moeBlocks } = description.model;
    const width = description.columns.hiddenWidth;
    const gguf = openGguf(DEMO_MODEL);
    for (const [layer, block] of moeBlocks.entries()) {
      const bytes = readTensor(gguf, gguf.tensor(`blk.${block}.ffn_gate_inp.weight`)!);
      const router = new Float32Array(bytes.slice().buffer);
      const [{ length, hidden, probs }] = samples;
      for (let token = 0; token < length; token += 7) {
        const row = token * moeBlocks.length + layer;
        const input = hidden!.subarray(row * width, (row + 1) * width);
        const logits = Array.from({ length: count }, (_, expert) =>
          input.reduce((total, value, i) => total + value * router[expert * width + i], 0),
        );
        const most = Math.max(...logits);
        const shares = logits.map((logit) => Math.exp(logit - most));
        const whole = shares.reduce((total, share) => total + share, 0);
        for (let expert = 0; expert < count; expert++)
          expect(probs![row * count + expert]).toBeCloseTo(shares[expert] / whole, 4);
      }
    }
  });
});

test.each([
  ["mixtral", "softmax"],
  ["gpt-oss", "softmax of the chosen"],
  ["deepseek2", "sigmoid, bias, 4 groups"],
  ["deepseek2-lite", "softmax"],
  ["llama4", "sigmoid"],
])("the description of %s says how its routers score", async (name, scoring) => {
  const model = await makeTinyModel(folder, tinyModel(name));
  const directory = join(folder, `${name}-scoring`);
  const { description } = await record({ model, directory, texts: [{ path: TEXT }], sampleLength: 8, samples: 1 });
  expect(description.model.scoring).toBe(scoring);
  expect(description.recording.start).toBe("BOS added");
});
