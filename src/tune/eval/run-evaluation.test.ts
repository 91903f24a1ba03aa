import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readBaseModel, writeRouterSafetensors } from "../../adapter/index.ts";
import { DEMO_MODEL } from "../../llama/demo-model.test-data.ts";
import { Randomness } from "../../predict/randomness.ts";
import type { EvaluationJob, EvaluationResult, VariantFigures } from "./evaluation.ts";
import { runEvaluation } from "./run-evaluation.ts";
import { deploymentCell } from "./ship-gates.ts";

const TEXTS = ["prose", "python"].map((name) => ({ path: path.join(path.dirname(DEMO_MODEL), "text", `${name}.txt`) }));
const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-eval-test-"));
const router = path.join(folder, "moved.safetensors");
let result: EvaluationResult;

beforeAll(async () => {
  const base = readBaseModel(DEMO_MODEL);
  const { architecture, experts, used, width } = base;
  const layers = base.gates.map(({ block, weights, bias, sha256 }) => {
    const random = new Randomness(7, block);
    return { block, bias, gate: weights.map((value) => value + 0.02 * random.normal()), baseSha256: sha256 };
  });
  const delta = { architecture, experts, used, width, method: "moved at random", layers };
  await writeRouterSafetensors(router, { delta, report: {} });
  result = await runEvaluation(job());
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true }));

function job(): EvaluationJob {
  return {
    model: DEMO_MODEL,
    routers: [
      { name: "full", path: router, scale: 1 },
      { name: "half", path: router, scale: 0.5 },
      { name: "off", path: router, scale: 0 },
    ],
    cacheBias: [0.05, 0.3],
    combine: false,
    random: true,
    text: { kind: "texts", texts: TEXTS, documentTokens: 64, documents: 5 },
    generate: { promptTokens: 16, tokens: 16, temperature: 0 },
    cacheShare: 0.5,
    seed: 1,
    engine: {
      ...{ memory: { kind: "all" }, policy: "lru", microBatchTokens: undefined, threads: 1 },
      ...{ backend: undefined, io: undefined, reservedBytes: 0, verbose: false },
    },
  };
}

const variant = (name: string) => result.variants.find((one) => one.name === name)!;

it("compares every variant that was asked for", () => {
  expect(result.variants.map(({ name }) => name)).toEqual([
    ...["base", "noise floor", "full", "half", "off", "random change", "cache-prior 0.05", "cache-prior 0.3"],
  ]);
  expect(result.documents).toEqual({ count: 10, tokens: 640, domains: ["prose", "python"] });
});

it("a scale of 0 is the base in every figure", () => {
  const { drift, forced, generated } = variant("off");
  expect(drift).toMatchObject({ meanKl: { value: 0 }, topAgreement: { value: 1 }, perplexityChange: { value: 0 } });
  expect(drift.keptMass?.value).toBeCloseTo(1, 6);
  expect(drift.choiceAgreement?.value).toBeGreaterThan(0.999);
  expect({ ...forced, eorChange: null, caches: [] }).toEqual({ ...variant("base").forced, caches: [] });
  expect(generated?.eor).toEqual(variant("base").generated?.eor);
});

it("drift grows with the scale, and the random change strays as far as the first tuned routers", () => {
  const [half, full] = [variant("half").drift, variant("full").drift];
  expect(half.meanKl.value).toBeGreaterThan(0);
  expect(full.meanKl.value).toBeGreaterThan(2 * half.meanKl.value);
  expect(full.trustKl!.value).toBeGreaterThan(half.trustKl!.value);
  expect(full.keptMass!.value).toBeLessThan(half.keptMass!.value);
  const random = variant("random change").drift.trustKl!.value / full.trustKl!.value;
  expect(random).toBeGreaterThan(0.8);
  expect(random).toBeLessThan(1.25);
});

it("cache-prior routing trades misses for KL, and without a lambda changes what batches alone change", () => {
  const [floor, small, large] = ["noise floor", "cache-prior 0.05", "cache-prior 0.3"].map(variant);
  expect(floor.swapRate).toBe(0);
  expect(floor.drift.meanKl.value).toBeLessThan(1e-3);
  expect(large.swapRate).toBeGreaterThan(small.swapRate!);
  expect(large.drift.meanKl.value).toBeGreaterThan(small.drift.meanKl.value);
  const misses = [floor, small, large].map(({ forced }) => deploymentCell(forced.caches, 16)!.missesPerToken.value);
  expect(misses[1]).toBeLessThan(misses[0]);
  expect(misses[2]).toBeLessThan(0.8 * misses[1]);
});

it("judges tuned routers, with numbers, and leaves open what nobody measured", () => {
  const { gates } = variant("full");
  expect(gates.find(({ name }) => name === "perplexity")).toMatchObject({ passed: expect.any(Boolean) });
  expect(gates.find(({ name }) => name === "tasks")).toMatchObject({ passed: null });
  expect(variant("base").gates).toEqual([]);
});

it("caches that go on from document to document miss less, and nothing else changes", async () => {
  const quick = { ...job(), random: false, generate: undefined };
  const warm = await runEvaluation({
    ...{ ...quick, warmCaches: true, cacheBias: [] },
    routers: [{ name: "full", path: router, scale: 1 }],
  });
  expect([warm.warmCaches, result.warmCaches]).toEqual([true, false]);
  for (const name of ["base", "full"]) {
    const own = warm.variants.find((one) => one.name === name)!;
    expect(missesOf(own)).toBeLessThan(missesOf(variant(name)));
    expect(own.forced.eor).toEqual(variant(name).forced.eor);
  }

  const short: EvaluationJob = {
    ...{ ...quick, routers: [], cacheBias: [0.3] },
    text: { kind: "texts", texts: TEXTS, documentTokens: 32, documents: 1 },
  };
  const [cold, lasting] = [await runEvaluation(short), await runEvaluation({ ...short, warmCaches: true })];
  // The second document begins with the first one's experts, and stays with them where it can.
  expect(missesOf(lasting.variants[2])).toBeLessThan(missesOf(cold.variants[2]));
  expect(lasting.variants[2].swapRate).not.toBe(cold.variants[2].swapRate);
}, 240_000);

function missesOf({ forced }: VariantFigures): number {
  return deploymentCell(forced.caches, 16)!.missesPerToken.value;
}

it("has intervals by document, and sums by domain", () => {
  const { forced, domains } = variant("full");
  expect(forced.eorChange?.interval?.[0]).toBeLessThan(forced.eorChange!.value);
  expect(forced.srp).toBeGreaterThan(0.3);
  expect(forced.srp).toBeLessThan(1);
  expect(forced.usageEntropy).toBeGreaterThan(0.9);
  expect(forced.usageEntropy).toBeLessThan(1);
  expect(domains.map(({ domain }) => domain)).toEqual(["prose", "python"]);
  expect(domains.reduce((sum, { drift }) => sum + drift.predictions, 0)).toBe(630);
});
