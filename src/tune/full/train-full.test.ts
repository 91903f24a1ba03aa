import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../../test/tiny-models/index.ts";
import { readSafetensors } from "../../adapter/safetensors.ts";
import { openGguf, readMoeLayout, UnsupportedModelError } from "../../gguf/index.ts";
import { loadLibraries, loadModel } from "../../llama/index.ts";
import { readBaseGates } from "../router-delta.ts";
import { makeFloatModel, SMALL_FLOAT_MODELS, someTokens, stockForward } from "./float-models.test-data.ts";
import { evaluateFull, type StepReport, type TrainFullOptions, trainFull } from "./train-full.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "train-full-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
let model = "";
beforeAll(async () => {
  model = await makeFloatModel(folder, SMALL_FLOAT_MODELS[0]);
});

const NO_TERMS = { trust: 0, reuse: 0, smooth: 0, lag: 0, windowEntropy: 0, overlap: 0, balance: 0 };
const DOCUMENTS = Array.from({ length: 6 }, (_, i) => ({ tokens: someTokens(40 + i, i), promptTokens: i }));
const run = (options: Partial<TrainFullOptions> = {}) =>
  trainFull({
    model,
    documents: DOCUMENTS,
    steps: 4,
    stepTokens: 96,
    sequenceTokens: 24,
    threads: 2,
    optimizer: { learningRate: 1e-2, warmupSteps: 1 },
    ...options,
  });
const baseGates = () => {
  const gguf = openGguf(model);
  return readBaseGates(gguf, readMoeLayout(gguf));
};

describe("trainFull", () => {
  test("changes nothing at a learning rate of 0", async () => {
    const { delta } = await run({ optimizer: { learningRate: 0 }, terms: {} });
    expect(delta.layers.map(({ gate, block, baseSha256 }) => ({ weights: gate, block, sha256: baseSha256 }))).toEqual(
      baseGates().map(({ weights, block, sha256 }) => ({ weights, block, sha256 })),
    );
  });

  test("gives the same gates again, and others with another seed", async () => {
    const [first, second, other] = [await run(), await run(), await run({ seed: 2 })];
    expect(second.delta).toEqual(first.delta);
    expect(other.delta).not.toEqual(first.delta);
  });

  test("goes on from a checkpoint as if it had never stopped", async () => {
    const options = { terms: {}, trustBudget: 0.01, task: "half" as const };
    const whole = await run(options);
    const checkpoint = { path: join(folder, "resumed.safetensors"), everySteps: 2 };
    await run({ ...options, checkpoint, steps: 2 });
    const steps: number[] = [];
    let from = -1;
    const resumed = await run({
      ...options,
      checkpoint,
      onEstimate: ({ fromStep, tokens }) => {
        from = fromStep;
        expect(tokens).toBeGreaterThan(0);
      },
      onStep: ({ step }) => steps.push(step),
    });
    expect({ from, steps }).toEqual({ from: 2, steps: [3, 4] });
    expect(resumed.delta).toEqual(whole.delta);
  });

  test("distils the same whether what the original model said is kept, partly kept, or computed again", async () => {
    const gates = async (originalBytes: number) =>
      (await run({ task: "kd", terms: {}, steps: 6, originalBytes })).delta.layers.flatMap(({ gate }) => [...gate]);
    const kept = await gates(2 ** 20);
    for (const other of [await gates(2 ** 14), await gates(0)])
      expect(Math.max(...kept.map((weight, i) => Math.abs(weight - other[i])))).toBeLessThan(1e-4);
  });

  test("holds the divergence of the predictions near its budget", async () => {
    const terms = { weights: { ...NO_TERMS, overlap: 0.3 }, temperature: 0.3 };
    const divergenceAt = async (divergenceBudget: number) => {
      const reports: StepReport[] = [];
      await run({
        ...{ task: "kd", terms, steps: 100, divergenceBudget, warmupLocality: 4 },
        optimizer: { learningRate: 2e-3, warmupSteps: 4, decaySteps: 100 },
        onStep: (report) => reports.push(report),
      });
      return reports.slice(-20).reduce((sum, { divergence }) => sum + divergence, 0) / 20;
    };
    for (const budget of [0.006, 0.02]) {
      const reached = (await divergenceAt(budget)) / budget;
      expect(reached).toBeGreaterThan(0.6);
      expect(reached).toBeLessThan(1.6);
    }
  }, 30_000);

  test("refuses a checkpoint of another run", async () => {
    const checkpoint = { path: join(folder, "other.safetensors"), everySteps: 2 };
    await run({ checkpoint, steps: 2 });
    await expect(run({ checkpoint, seed: 5 })).rejects.toMatchObject({ kind: "bad-checkpoint" });
  });

  test("lowers the cross-entropy of its texts", async () => {
    const reports: StepReport[] = [];
    const { delta } = await run({ steps: 24, onStep: (report) => reports.push(report) });
    const before = await evaluateFull({ model, documents: DOCUMENTS, sequenceTokens: 24 });
    const after = await evaluateFull({
      model,
      documents: DOCUMENTS,
      sequenceTokens: 24,
      gates: delta.layers.map(({ gate }) => gate),
    });
    expect(after.crossEntropy).toBeLessThan(before.crossEntropy - 0.1);
    expect(after.divergence).toBeGreaterThan(0);
    expect(reports.map(({ step }) => step)).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
  });

  test("raises the reuse of experts with the routers' own losses alone, and distillation holds it back", async () => {
    const terms = { weights: { ...NO_TERMS, reuse: 1, smooth: 0.5 } };
    const gatesAfter = async (task: NonNullable<TrainFullOptions["task"]>) =>
      (await run({ steps: 12, terms, task, warmupLocality: 1 })).delta.layers.map(({ gate }) => gate);
    const judged = async (gates?: Float32Array[]) =>
      evaluateFull({ model, documents: DOCUMENTS, sequenceTokens: 24, ...(gates ? { gates } : {}) });
    const before = await judged();
    const alone = await judged(await gatesAfter("none"));
    const held = await judged(await gatesAfter("kd"));
    expect(alone.eor).toBeGreaterThan(before.eor * 1.2);
    expect(held.divergence).toBeLessThan(alone.divergence);
  });

  test("stops when losses are no numbers, and leaves the last sound checkpoint", async () => {
    const checkpoint = { path: join(folder, "diverged.safetensors"), everySteps: 1 };
    await run({ checkpoint, steps: 1 });
    const sound = fs.readFileSync(checkpoint.path);
    // The settings count as the same run's only if they are; so the gates in the checkpoint are made unsound by hand.
    const broken = Buffer.from(sound);
    const dataStart = 8 + Number(broken.readBigUInt64LE());
    for (let i = 0; i < 4 * 200; i += 4) broken.writeFloatLE(Number.POSITIVE_INFINITY, dataStart + i);
    fs.writeFileSync(checkpoint.path, broken);
    const reports: StepReport[] = [];
    await expect(run({ checkpoint, steps: 9, onStep: (report) => reports.push(report) })).rejects.toMatchObject({
      kind: "diverged",
      message: expect.stringContaining(checkpoint.path),
    });
    expect(reports.map(({ skipped }) => skipped)).toEqual([true, true, true]);
    expect(fs.readFileSync(checkpoint.path).equals(broken)).toBe(true);
  });

  test("stops when experts are starved, before that is in the checkpoint", async () => {
    const documents = Array.from({ length: 24 }, (_, i) => ({ tokens: someTokens(48, i) }));
    const checkpoint = { path: join(folder, "collapsed.safetensors"), everySteps: 1 };
    const starving = { ...NO_TERMS, reuse: 1, windowEntropy: 5 };
    const steps: number[] = [];
    const stopped = run({
      ...{ documents, checkpoint, task: "none", steps: 200, stepTokens: 576, warmupLocality: 1 },
      terms: { weights: starving },
      optimizer: { learningRate: 3e-2, warmupSteps: 1 },
      onStep: ({ step }) => steps.push(step),
    });
    await expect(stopped).rejects.toMatchObject({
      kind: "collapsed",
      message: expect.stringMatching(/In MoE layer \d.*collapsed\.safetensors holds the last state that was sound/),
    });
    expect(readSafetensors(checkpoint.path).metadata.step).toBe(String(steps.length - 1));
  });

  // A log callback of a thread that has ended would end the process.
  test("leaves llama.cpp usable in its process, log and all", async () => {
    const libraries = loadLibraries();
    await run({ steps: 1 });
    expect(stockForward(model, someTokens(24, 1), 2).logits.every(Number.isFinite)).toBe(true);
    expect(() => loadModel(libraries, join(folder, "none.gguf"))).toThrow(/failed to open/);
  });

  test("can be called off", async () => {
    const abort = new AbortController();
    const running = run({ steps: 1000, signal: abort.signal, onStep: () => abort.abort(new Error("enough")) });
    await expect(running).rejects.toThrow("enough");
  });

  test.each(["gpt-oss", "deepseek2", "glm4moe", "qwen3moe-scaled", "phimoe"])("refuses %s by name", async (name) => {
    const spec = tinyModel(name);
    const path = await makeTinyModel(folder, spec);
    const refused = await run({ model: path }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UnsupportedModelError);
    expect(refused).toMatchObject({ architecture: spec.architecture });
  });

  test("refuses texts that are too short", async () => {
    await expect(run({ documents: [{ tokens: someTokens(5, 1) }] })).rejects.toMatchObject({
      kind: "too-little-data",
    });
  });
});
