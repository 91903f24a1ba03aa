/** The stock path: nothing of warmset but the file that it wrote. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeTinyModel, TINY_MODELS, tinyModel } from "../../test/tiny-models/index.ts";
import { exportRouter, readBaseModel, writeLoraAdapter } from "../adapter/index.ts";
import { DEMO_MODEL, largestDifference, randomRouters } from "../adapter/random-routers.test-data.ts";
import { copyMetadata, copyTensor, openGguf, readTensor, type TensorSource, writeGguf } from "../gguf/index.ts";
import { probeAdapter } from "./adapter-probe.ts";
import { loadLibraries } from "./libraries.ts";
import { loadLoraAdapter } from "./lora-adapter.ts";
import { loadModel } from "./model.ts";
import { dequantize } from "./quantize.ts";
import { type RouterLogits, routerLogits } from "./router-logits.ts";
import { GgmlType } from "./structs.ts";

const folder = mkdtempSync(join(tmpdir(), "lora-adapter-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TOKENS = Int32Array.from({ length: 24 }, (_, i) => 3 + ((i * 37) % 290));

/** A model, an adapter for it, and copies of the model that are patched with the same routers. */
async function prepare(name: string, path: string) {
  const base = readBaseModel(path);
  const artifact = randomRouters(base);
  const adapter = join(folder, `${name}.lora.gguf`);
  await writeLoraAdapter(adapter, artifact, base);
  const patched = async (scale: number): Promise<string> => {
    const copy = join(folder, `${name}.${scale}.gguf`);
    copyFileSync(path, copy);
    await exportRouter({ input: adapter, output: copy, form: "in-place", model: copy, scale });
    return copy;
  };
  return { path, base, adapter, patched };
}

function withAdapter(path: string, adapterPath: string, scales: readonly number[]): RouterLogits[] {
  using model = loadModel(loadLibraries(), path);
  const adapter = loadLoraAdapter(model, adapterPath);
  return scales.map((scale) =>
    routerLogits({ ...{ model, tokens: TOKENS, exactAttention: true }, adapters: [{ adapter, scale }] }),
  );
}

function without(path: string): RouterLogits {
  using model = loadModel(loadLibraries(), path);
  return routerLogits({ model, tokens: TOKENS, exactAttention: true });
}

function expectSameRouters(a: RouterLogits, b: RouterLogits, tolerance: number): void {
  expect([...a.routers.keys()]).toEqual([...b.routers.keys()]);
  for (const [block, logits] of a.routers)
    expect(largestDifference(logits, b.routers.get(block) as Float32Array), `block ${block}`).toBeLessThan(tolerance);
}

/**
 * The demo model with all weights in float32: products with Q8_0 weights round their inputs to 8 bits, where a difference in
 * the seventh digit becomes one in the third.
 */
async function floatDemo(): Promise<string> {
  const gguf = openGguf(DEMO_MODEL);
  const libraries = loadLibraries();
  const tensors = gguf.tensors.map((tensor): TensorSource => {
    if (tensor.type === GgmlType.F32) return copyTensor(gguf, tensor);
    const elements = tensor.shape.reduce((product, length) => product * length, 1);
    const values = dequantize(libraries, tensor.type, readTensor(gguf, tensor), elements);
    return { name: tensor.name, shape: tensor.shape, type: GgmlType.F32, data: new Uint8Array(values.buffer) };
  });
  const path = join(folder, "demo-f32.gguf");
  await writeGguf(path, { metadata: copyMetadata(gguf), tensors });
  return path;
}

test("on the demo model the adapter is the patch: same routing, router logits to 1e-5, logits to 1e-4", async () => {
  const { path, adapter, patched } = await prepare("demo", await floatDemo());
  const [one, half, zero] = withAdapter(path, adapter, [1, 0.5, 0]);
  const base = without(path);
  for (const [lora, scale] of [
    [one, 1],
    [half, 0.5],
  ] as const) {
    const file = without(await patched(scale));
    expect([...lora.adapted]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(lora.chosen).toEqual(file.chosen);
    expectSameRouters(lora, file, 1e-5);
    expect(largestDifference(lora.logits, file.logits)).toBeLessThan(1e-4);
    expect(lora.chosen).not.toEqual(base.chosen);
  }
  expect(zero.logits).toEqual(base.logits);
  expect(zero.routers).toEqual(base.routers);
});

test("llama.cpp says why it refuses an adapter", async () => {
  const { adapter } = await prepare("refused", DEMO_MODEL);
  using other = loadModel(loadLibraries(), await makeTinyModel(folder, tinyModel("olmoe")));
  expect(() => loadLoraAdapter(other, adapter)).toThrow(/mismatch.*model that it was made for/s);
  const damaged = join(folder, "damaged.gguf");
  writeFileSync(damaged, "GGUF and nothing else");
  expect(() => loadLoraAdapter(other, damaged)).toThrow(expect.objectContaining({ name: "AdapterLoadError" }));
});

/** Their routers are products outside `build_lora_mm`, where no adapter is applied. */
const NOT_APPLIED: ReadonlySet<string> = new Set(["kimi-k3"]);

test.each(TINY_MODELS.map(({ name }) => name))(
  "%s: an adapter works as a patch does, or is said not to",
  async (name) => {
    const { path, base, adapter, patched } = await prepare(name, await makeTinyModel(folder, tinyModel(name)));
    const probe = probeAdapter(path, adapter);
    const [one, zero] = withAdapter(path, adapter, [1, 0]);
    const plain = without(path);
    expect(zero.logits).toEqual(plain.logits);
    expect(zero.routers).toEqual(plain.routers);
    expect(probe.routers.map(({ block }) => block)).toEqual(base.gates.map(({ block }) => block));
    if (NOT_APPLIED.has(name)) {
      expect(probe.routers.every(({ applied, largestChange }) => !applied && largestChange === 0)).toBe(true);
      expect(probe.changesOutput).toBe(false);
      expect(one.logits).toEqual(plain.logits);
      return;
    }
    expect(probe.routers.every(({ applied, largestChange }) => applied && largestChange > 1e-3)).toBe(true);
    expect(probe.changesOutput).toBe(true);
    const file = without(await patched(1));
    const [first] = one.routers.keys();
    const logits = (of: RouterLogits) => of.routers.get(first) as Float32Array;
    expect(largestDifference(logits(one), logits(file))).toBeLessThan(1e-5 * Math.max(1, Math.max(...logits(file))));
    expect(one.chosen.get(first)).toEqual(file.chosen.get(first));
  },
);
