import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { openGguf } from "../gguf/index.ts";
import { readBaseModel } from "./base-model.ts";
import { type ExportRouterOptions, exportRouter } from "./export-router.ts";
import { DEMO_MODEL, fileHash, largestDifference, randomRouters } from "./random-routers.test-data.ts";
import { readRouterFile } from "./router-file.ts";
import { writeRouterSafetensors } from "./router-safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "export-router-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

const base = readBaseModel(DEMO_MODEL);
const tuned = randomRouters(base);
const original = at("tuned.safetensors");
await writeRouterSafetensors(original, tuned);

const convert = (input: string, output: string, more: Partial<ExportRouterOptions> = {}) =>
  exportRouter({
    ...{ input, output, model: DEMO_MODEL, form: output.endsWith(".gguf") ? "lora" : "safetensors" },
    ...more,
  });

function expectSameGates(path: string, expected: readonly Float32Array[], tolerance: number): void {
  const { layers } = readRouterFile(path, base).delta;
  expect(layers.map(({ block }) => block)).toEqual(base.gates.map(({ block }) => block));
  for (const [i, { gate }] of layers.entries())
    expect(largestDifference(gate, expected[i])).toBeLessThanOrEqual(tolerance);
}

test("a safetensors file gives back what was written, report and all", () => {
  expect(readRouterFile(original, base)).toEqual(tuned);
});

test("an adapter holds the same gates, and goes back to matrices", async () => {
  const summary = await convert(original, at("a.gguf"));
  expect(summary).toMatchObject({ form: "lora", rank: 32, relativeError: 0, layers: 8, method: "random" });
  expect(summary.relativeChange).toBeCloseTo(0.1, 2);
  const gates = tuned.delta.layers.map(({ gate }) => gate);
  // A gate and its change are each rounded to float32.
  expectSameGates(at("a.gguf"), gates, 1e-7);
  await convert(at("a.gguf"), at("b.safetensors"));
  expectSameGates(at("b.safetensors"), gates, 1e-7);
  expect(readRouterFile(at("b.safetensors"), base).report).toEqual(tuned.report);
});

test("the adapter has the names and shapes that llama.cpp wants", async () => {
  await convert(original, at("names.gguf"));
  const { metadata, tensors } = openGguf(at("names.gguf"));
  expect(metadata.string("general.type")).toBe("adapter");
  expect(metadata.string("general.architecture")).toBe("qwen3moe");
  expect(metadata.string("adapter.type")).toBe("lora");
  expect(metadata.number("adapter.lora.alpha")).toBe(32);
  expect(tensors.map(({ name, shape }) => [name, ...shape]).slice(0, 2)).toEqual([
    ["blk.0.ffn_gate_inp.weight.lora_a", 256, 32],
    ["blk.0.ffn_gate_inp.weight.lora_b", 32, 32],
  ]);
});

test("a scale is part of the gates that are written", async () => {
  await convert(original, at("half.safetensors"), { scale: 0.5 });
  await convert(original, at("half.gguf"), { scale: 0.5 });
  await convert(original, at("none.safetensors"), { scale: 0 });
  const between = tuned.delta.layers.map(({ gate }, i) =>
    gate.map((value, j) => (value + base.gates[i].weights[j]) / 2),
  );
  expectSameGates(at("half.safetensors"), between, 1e-7);
  expectSameGates(at("half.gguf"), between, 1e-7);
  expectSameGates(
    at("none.safetensors"),
    base.gates.map(({ weights }) => weights),
    0,
  );
  expect(readRouterFile(at("half.gguf"), base).report).toEqual({ scale: 0.5, measuredAtScale1: tuned.report });
});

test("a smaller rank says what it loses", async () => {
  const { rank, relativeError } = await convert(original, at("r8.gguf"), { rank: 8 });
  expect(rank).toBe(8);
  // Of a random change no direction stands out: 8 of 32 keep about a third of its square.
  expect(relativeError).toBeGreaterThan(0.7);
  expect(relativeError).toBeLessThan(0.9);
  const changes = readRouterFile(at("r8.gguf"), base).delta.layers.map(({ gate }, i) => {
    const [full, own] = [tuned.delta.layers[i].gate, base.gates[i].weights];
    const lost = gate.reduce((sum, value, j) => sum + (value - full[j]) ** 2, 0);
    return Math.sqrt(lost / own.reduce((sum, value, j) => sum + (full[j] - value) ** 2, 0));
  });
  expect(Math.max(...changes)).toBeCloseTo(relativeError ?? 0, 4);
});

test("a model whose routers were tuned is routers too", async () => {
  copyFileSync(DEMO_MODEL, at("tuned-model.gguf"));
  await exportRouter({ input: original, output: at("tuned-model.gguf"), form: "in-place", model: "" });
  const { method } = await convert(at("tuned-model.gguf"), at("difference.gguf"));
  expect(method).toBe("difference to tuned-model.gguf");
  expectSameGates(
    at("difference.gguf"),
    tuned.delta.layers.map(({ gate }) => gate),
    1e-7,
  );
  await expect(convert(DEMO_MODEL, at("nothing.gguf"))).rejects.toMatchObject({ kind: "unsupported" });
});

test("routers of another model are refused, and no file is written", async () => {
  const other = { ...tuned.delta, layers: tuned.delta.layers.map((layer) => ({ ...layer })) };
  other.layers[5] = { ...other.layers[5], baseSha256: "0".repeat(64) };
  await writeRouterSafetensors(at("other.safetensors"), { delta: other, report: {} });
  const tiny = await makeTinyModel(folder, tinyModel("qwen3moe"));
  const before = readdirSync(folder);
  for (const output of [at("refused.gguf"), at("refused.safetensors")])
    await expect(convert(at("other.safetensors"), output)).rejects.toMatchObject({
      name: "AdapterError",
      kind: "wrong-base",
      message: expect.stringContaining("block 5"),
    });
  await expect(convert(original, at("refused.gguf"), { model: tiny })).rejects.toMatchObject({ kind: "wrong-base" });
  await expect(convert(tiny, at("refused.gguf"))).rejects.toMatchObject({ kind: "wrong-base" });
  expect(readdirSync(folder)).toEqual(before);
});

test("a tuned bias goes into matrices and into the model, but into no adapter", async () => {
  const model = await makeTinyModel(folder, tinyModel("gpt-oss"));
  const own = readBaseModel(model);
  expect(own.gates[0].bias).toBeDefined();
  const withBias = randomRouters(own, { bias: true });
  await writeRouterSafetensors(at("bias.safetensors"), withBias);
  await expect(convert(at("bias.safetensors"), at("bias.gguf"), { model })).rejects.toMatchObject({
    kind: "unsupported",
    message: expect.stringContaining("bias"),
  });
  expect(existsSync(at("bias.gguf"))).toBe(false);
  const hash = fileHash(model);
  await exportRouter({ input: at("bias.safetensors"), output: model, form: "in-place", model });
  expect(readBaseModel(model).gates.map(({ bias }) => bias)).toEqual(withBias.delta.layers.map(({ bias }) => bias));
  await exportRouter({ input: `${model}.reverse.safetensors`, output: model, form: "in-place", model });
  expect(fileHash(model)).toBe(hash);
});

test("an aborted export leaves nothing", async () => {
  const before = readdirSync(folder);
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(convert(original, at("aborted.gguf"), { rank: 8, signal })).rejects.toThrow("enough");
  expect(readdirSync(folder)).toEqual(before);
});

test("what is no router file is said to be none", async () => {
  writeFileSync(at("empty.gguf"), "");
  writeFileSync(at("text.gguf"), "Once upon a time there was no adapter in this file.");
  for (const name of ["empty.gguf", "text.gguf"])
    await expect(convert(at(name), at("x.gguf"))).rejects.toMatchObject({ name: "AdapterError", kind: "damaged" });
  await expect(convert(at("missing.gguf"), at("x.gguf"))).rejects.toMatchObject({ code: "ENOENT" });
});
