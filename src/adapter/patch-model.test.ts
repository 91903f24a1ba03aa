import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { type BaseModel, readBaseModel } from "./base-model.ts";
import { writeLoraAdapter } from "./lora-file.ts";
import { patchModel, reversePatch, reversePatchPath } from "./patch-model.ts";
import { DEMO_MODEL, fileHash, randomRouters } from "./random-routers.test-data.ts";
import { writeRouterSafetensors } from "./router-safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "patch-model-"));
afterAll(() => rmSync(folder, { recursive: true }));

const model = join(folder, "model.gguf");
const reversePath = reversePatchPath(model);
const routers = join(folder, "tuned.safetensors");
const adapter = join(folder, "tuned.gguf");
const base = readBaseModel(DEMO_MODEL);
const tuned = randomRouters(base);
await writeRouterSafetensors(routers, tuned);
await writeLoraAdapter(adapter, tuned, base);
const baseHash = fileHash(DEMO_MODEL);

beforeEach(() => {
  copyFileSync(DEMO_MODEL, model);
  rmSync(reversePath, { force: true });
});

/** What a crash in the middle of writing leaves: the first `layers` gates whole, and `bytes` of the next one. */
function writePart({ gguf }: BaseModel, layers: number, bytes: number): void {
  const file = openSync(model, "r+");
  for (const { block, gate } of tuned.delta.layers.slice(0, layers + 1)) {
    const all = new Uint8Array(gate.buffer);
    const part = block < layers ? all : all.subarray(0, bytes);
    writeSync(file, part, 0, part.length, gguf.tensor(`blk.${block}.ffn_gate_inp.weight`)?.offset);
  }
  closeSync(file);
}

test("a patch changes the gates and nothing else, and its reverse gives the file back", async () => {
  expect(await patchModel(model, routers, { reversePath })).toEqual({ layers: 8, before: "old" });
  const patched = readBaseModel(model);
  expect(patched.gates.map(({ weights }) => weights)).toEqual(tuned.delta.layers.map(({ gate }) => gate));
  const [before, after] = [readFileSync(DEMO_MODEL), readFileSync(model)];
  const gates = base.gates.map(({ block }) => base.gguf.tensor(`blk.${block}.ffn_gate_inp.weight`));
  for (const tensor of gates) before.fill(0, tensor?.offset, (tensor?.offset ?? 0) + (tensor?.bytes ?? 0));
  for (const tensor of gates) after.fill(0, tensor?.offset, (tensor?.offset ?? 0) + (tensor?.bytes ?? 0));
  expect(after.equals(before)).toBe(true);

  expect(await patchModel(model, routers, { reversePath })).toEqual({ layers: 8, before: "new" });
  expect(reversePatch(model, reversePath)).toEqual({ layers: 8, before: "old" });
  expect(fileHash(model)).toBe(baseHash);
  expect(reversePatch(model, reversePath)).toEqual({ layers: 8, before: "new" });
  expect(fileHash(model)).toBe(baseHash);
});

test("an adapter can be patched in, at a scale", async () => {
  await patchModel(model, adapter, { reversePath, scale: 0.5 });
  const gate = readBaseModel(model).gates[3].weights;
  const between = base.gates[3].weights.map((value, i) => (value + tuned.delta.layers[3].gate[i]) / 2);
  expect(gate.every((value, i) => Math.abs(value - between[i]) < 1e-7)).toBe(true);
  reversePatch(model, reversePath);
  expect(fileHash(model)).toBe(baseHash);
});

test("routers of another model write no byte and leave no reverse patch", async () => {
  const layers = tuned.delta.layers.map((layer, i) => (i === 7 ? { ...layer, baseSha256: "1".repeat(64) } : layer));
  const other = join(folder, "other.safetensors");
  await writeRouterSafetensors(other, { delta: { ...tuned.delta, layers }, report: {} });
  await expect(patchModel(model, other, { reversePath })).rejects.toMatchObject({ kind: "wrong-base" });
  expect(fileHash(model)).toBe(baseHash);
  expect(existsSync(reversePath)).toBe(false);
});

test.each([
  { layers: 0, bytes: 1 },
  { layers: 3, bytes: 0 },
  { layers: 3, bytes: 10_001 },
  { layers: 7, bytes: 32_767 },
])("a patch that was interrupted in gate $layers, byte $bytes, is finished or undone", async ({ layers, bytes }) => {
  await patchModel(model, routers, { reversePath });
  for (const way of ["finish", "undo"]) {
    copyFileSync(DEMO_MODEL, model);
    writePart(base, layers, bytes);
    if (way === "undo") {
      expect(reversePatch(model, reversePath)).toEqual({ layers: 8, before: "between" });
      expect(fileHash(model)).toBe(baseHash);
      continue;
    }
    expect(await patchModel(model, routers, { reversePath })).toEqual({ layers: 8, before: "between" });
    expect(readBaseModel(model).gates.map(({ weights }) => weights)).toEqual(
      tuned.delta.layers.map(({ gate }) => gate),
    );
    reversePatch(model, reversePath);
    expect(fileHash(model)).toBe(baseHash);
  }
});

test("a patch by adapter that was interrupted is finished with the same adapter", async () => {
  await patchModel(model, adapter, { reversePath });
  const whole = fileHash(model);
  copyFileSync(DEMO_MODEL, model);
  // Gates from the adapter are those of the file up to rounding, so the patched copy gives the bytes.
  reversePatch(model, reversePath);
  await patchModel(model, adapter, { reversePath });
  const bytes = readFileSync(model);
  copyFileSync(DEMO_MODEL, model);
  const file = openSync(model, "r+");
  const { offset = 0 } = base.gguf.tensor("blk.2.ffn_gate_inp.weight") ?? {};
  writeSync(file, bytes, offset, 777, offset);
  closeSync(file);
  expect((await patchModel(model, adapter, { reversePath })).before).toBe("between");
  expect(fileHash(model)).toBe(whole);
});

test("a second patch over another one is refused, and allowed once the first is taken out", async () => {
  const second = join(folder, "second.safetensors");
  await writeRouterSafetensors(second, randomRouters(base, { seed: 2 }));
  await patchModel(model, routers, { reversePath });
  const patched = fileHash(model);
  const reverse = fileHash(reversePath);
  await expect(patchModel(model, second, { reversePath })).rejects.toMatchObject({ kind: "half-patched" });
  expect([fileHash(model), fileHash(reversePath)]).toEqual([patched, reverse]);
  reversePatch(model, reversePath);
  await patchModel(model, second, { reversePath });
  reversePatch(model, reversePath);
  expect(fileHash(model)).toBe(baseHash);
});

test("a reverse patch keeps away from gates that are neither old nor new", async () => {
  await patchModel(model, routers, { reversePath });
  const file = openSync(model, "r+");
  writeSync(file, new Uint8Array([1, 2, 3, 4]), 0, 4, base.gguf.tensor("blk.4.ffn_gate_inp.weight")?.offset);
  closeSync(file);
  const foreign = fileHash(model);
  expect(() => reversePatch(model, reversePath)).toThrow(expect.objectContaining({ kind: "wrong-base" }));
  await expect(patchModel(model, routers, { reversePath })).rejects.toMatchObject({ kind: "wrong-base" });
  expect(fileHash(model)).toBe(foreign);
});

test("routers are no reverse patch", () => {
  expect(() => reversePatch(model, routers)).toThrow(expect.objectContaining({ kind: "unsupported" }));
});
