import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { readBaseModel, writeRouterSafetensors } from "../adapter/index.ts";
import { DEMO_MODEL } from "./bench-model.ts";
import { inflatedModel } from "./inflate.ts";
import { compareGates } from "./same-gates.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-gates-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Gates 1 % off the base's, and one weight of the first layer further. */
async function tuned(model: string, name: string, at: number, by: number): Promise<string> {
  const base = readBaseModel(model);
  const layers = base.gates.map(({ block, weights, sha256 }, i) => {
    const gate = weights.map((value) => 1.01 * value);
    if (i === 0) gate[at] += by;
    return { block, gate, bias: undefined, baseSha256: sha256 };
  });
  const { architecture, experts, used, width } = base;
  const file = path.join(folder, `${name}.safetensors`);
  await writeRouterSafetensors(file, {
    delta: { architecture, experts, used, width, method: "test", layers },
    report: {},
  });
  return file;
}

test("equal gates are equal, a moved weight and one behind the old ones are found", async () => {
  const model = await inflatedModel(DEMO_MODEL, { folder, target: { width: 1024, innerWidth: 128 } });
  const small = { model: DEMO_MODEL, routers: await tuned(DEMO_MODEL, "small", 0, 0) };
  const compared = async (name: string, at: number, by: number) =>
    compareGates(small, { model, routers: await tuned(model, name, at, by) });
  expect(await compared("same", 0, 0)).toEqual({ layers: 8, largestDifference: 0, largestBehind: 0 });
  expect((await compared("moved", 1024 + 5, 1)).largestDifference).toBeGreaterThan(10);
  const behind = await compared("behind", 256, 0.5);
  expect(behind).toEqual({ layers: 8, largestDifference: 0, largestBehind: 0.5 });
});
