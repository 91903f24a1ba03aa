import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeTinyModel, TINY_MODELS } from "../../test/tiny-models/index.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { gateHash, interpolateGates, readBaseGates } from "./router-delta.ts";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "router-delta-")));
afterAll(() => rmSync(folder, { recursive: true }));

async function tinyGates(name: string) {
  const gguf = openGguf(await makeTinyModel(folder, TINY_MODELS.find((spec) => spec.name === name)!));
  const layout = readMoeLayout(gguf);
  return { layout, gates: readBaseGates(gguf, layout) };
}

test("reads the gates of a file, with the bias where there is one", async () => {
  const { layout, gates } = await tinyGates("gpt-oss");
  expect(gates.map(({ block }) => block)).toEqual(layout.moeLayers.map(({ blockIndex }) => blockIndex));
  for (const { weights, bias, sha256 } of gates) {
    expect(weights.length).toBe(layout.hiddenSize * layout.expertsPerLayer);
    expect(bias?.length).toBe(layout.expertsPerLayer);
    expect(sha256).toBe(gateHash(weights, bias));
  }
  expect(new Set(gates.map(({ sha256 }) => sha256)).size).toBe(gates.length);
  expect((await tinyGates("qwen3moe")).gates[0].bias).toBeUndefined();
});

test("gates between the two: 0 is the base and 1 the tuned one, bit for bit; other models are refused", async () => {
  const { gates } = await tinyGates("gpt-oss");
  const [first] = gates;
  const tuned = {
    ...{ block: first.block, baseSha256: first.sha256 },
    gate: first.weights.map((value, i) => value * 1.1 + i * 1e-3),
    bias: first.bias!.map((value) => value + 1),
  };
  const at = (alpha: number) => interpolateGates(gates, { layers: [tuned] }, alpha);
  expect(at(0)[0]).toEqual({ block: first.block, weights: first.weights, bias: first.bias });
  expect(at(1)[0]).toEqual({ block: first.block, weights: tuned.gate, bias: tuned.bias });
  expect(at(1)[1].weights).toBe(gates[1].weights);
  for (const [i, value] of at(0.5)[0].weights.entries())
    expect(value).toBeCloseTo((first.weights[i] + tuned.gate[i]) / 2, 5);
  for (const wrong of [
    { ...tuned, baseSha256: "0".repeat(64) },
    { ...tuned, block: 99 },
  ])
    expect(() => interpolateGates(gates, { layers: [wrong] }, 1)).toThrow(
      expect.objectContaining({ name: "TuneError", kind: "wrong-model" }),
    );
});
