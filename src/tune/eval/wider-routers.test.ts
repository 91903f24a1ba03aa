import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type GateValues, type RouterArtifact, readBaseModel, writeRouterSafetensors } from "../../adapter/index.ts";
import { writeInflated } from "../../bench/inflate.ts";
import { openGguf } from "../../gguf/index.ts";
import { DEMO_MODEL } from "../../llama/demo-model.test-data.ts";
import { Randomness } from "../../predict/randomness.ts";
import { DocumentRunner } from "./document-runner.ts";
import { widerRouters } from "./wider-routers.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-wider-test-"));
const wideModel = path.join(folder, "wide.gguf");
const router = path.join(folder, "moved.safetensors");
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(async () => {
  const source = openGguf(DEMO_MODEL);
  const innerWidth = source.metadata.number("qwen3moe.expert_feed_forward_length");
  await writeInflated(source, wideModel, { width: 1024, innerWidth });
  const { architecture, experts, used, width, gates } = readBaseModel(DEMO_MODEL);
  const layers = gates.slice(2, 5).map(({ block, weights, bias, sha256 }) => {
    const random = new Randomness(3, block);
    return { block, bias, gate: weights.map((value) => value + 0.03 * random.normal()), baseSha256: sha256 };
  });
  const delta = { architecture, experts, used, width, method: "moved at random", layers };
  await writeRouterSafetensors(router, { delta, report: {} });
}, 60_000);

const gatesOf = ({ delta }: RouterArtifact): GateValues[] =>
  delta.layers.map(({ block, gate, bias }) => ({ block, weights: gate, bias }));

it("routes and predicts in the inflated model as in the small one", () => {
  const tokens = Int32Array.from({ length: 24 }, (_, i) => 20 + ((i * 37) % 900));
  const run = (model: string, gates: readonly GateValues[]) => {
    using runner = new DocumentRunner({ model, documentTokens: tokens.length, session: { threads: 1 } });
    using reference = runner.predictionRows();
    runner.use({ gates: [] });
    runner.forced([{ domain: "text", tokens }], reference, true);
    runner.use({ gates });
    return runner.forced([{ domain: "text", tokens }], reference, false)[0];
  };
  const artifact = widerRouters(DEMO_MODEL, router, readBaseModel(wideModel));
  const small = run(DEMO_MODEL, gatesOf(widerRouters(DEMO_MODEL, router, readBaseModel(DEMO_MODEL))));
  const wide = run(wideModel, gatesOf(artifact));
  expect(wide.experts).toEqual(small.experts);
  expect(small.drift!.kl).toBeGreaterThan(0.01);
  expect(wide.drift!.kl).toBeCloseTo(small.drift!.kl, 4);
  expect(wide.drift!.trustKl).toBeCloseTo(small.drift!.trustKl, 4);
});

it("refuses a model that is not the wider form of the one that was tuned for", async () => {
  const other = path.join(folder, "other.safetensors");
  const wide = readBaseModel(wideModel);
  const stranger = {
    ...wide,
    gates: wide.gates.map((gate) => ({ ...gate, weights: gate.weights.map((value) => 2 * value) })),
  };
  expect(() => widerRouters(DEMO_MODEL, router, stranger)).toThrow("has not the routers of the model");
  expect(() => widerRouters(wideModel, router, wide)).toThrow("of another model");
  expect(() => widerRouters(DEMO_MODEL, other, wide)).toThrow("ENOENT");
});
