import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readBaseModel, readRouterFile } from "../../adapter/index.ts";
import { DEMO_MODEL } from "../../llama/demo-model.test-data.ts";
import { START_WEIGHTS } from "../objective/index.ts";
import { runTuning } from "./run-tuning.ts";
import type { TuningJob, TuningProgress } from "./tuning-job.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-tune-test-"));
const TEXTS = ["prose", "python"].map((name) => ({ path: path.join(path.dirname(DEMO_MODEL), "text", `${name}.txt`) }));
const objective = {
  ...{
    weights: START_WEIGHTS,
    residencyTarget: { kind: "previous" as const },
    window: 32,
    promptWeight: 0.3,
    adaptTrust: true,
    temperature: 0.3,
  },
};
afterAll(() => rmSync(folder, { recursive: true }));

function job(settings: Partial<TuningJob>): TuningJob {
  return {
    ...{ model: DEMO_MODEL, method: "closed-form", out: path.join(folder, "out.gguf") },
    text: { kind: "texts", texts: TEXTS, documentTokens: 96, documents: 6, generate: undefined },
    ...{ heldOutShare: 0.3, trustBudget: 0.05, sweeps: 1 },
    local: { ...objective, steps: 12 },
    full: {
      ...{ ...objective, steps: 2, stepTokens: 64, sequenceTokens: 64, task: "ce", learningRate: 1e-3 },
      ...{
        warmupSteps: 1,
        warmupLocality: 1,
        couple: false,
        divergenceBudget: undefined,
        decay: false,
        stopOnCollapse: true,
      },
    },
    ...{ mus: [8, 2], cacheShare: 0.5, checkpoint: undefined, evaluate: false, threads: 1, seed: 1 },
    engine: {
      ...{ memory: { kind: "all" }, policy: "lru", microBatchTokens: undefined, threads: 1 },
      ...{ backend: undefined, io: undefined, reservedBytes: 0, verbose: false },
    },
    ...settings,
  };
}

const gatesOf = (file: string) => readRouterFile(file, readBaseModel(DEMO_MODEL)).delta;

describe("closed-form", () => {
  it("writes an adapter of this model that keeps neighbours together within its budget", async () => {
    const progress: TuningProgress[] = [];
    const estimates: string[] = [];
    const summary = await runTuning(job({ evaluate: true }), {
      onEstimate: ({ sentences }) => estimates.push(...sentences),
      onProgress: (one) => progress.push(one),
    });
    expect(summary).toMatchObject({ documents: 12, heldOutDocuments: 4, tokens: 12 * 96 });
    for (const { trustKl } of summary.layers) expect(trustKl).toBeLessThanOrEqual(0.05);
    const gained = summary.layers.filter(({ eor, baseEor }) => eor > baseEor);
    expect(gained.length).toBeGreaterThanOrEqual(6);
    const { layers, method } = gatesOf(summary.out);
    expect({ layers: layers.length, method }).toEqual({ layers: summary.layersTuned, method: summary.method });
    expect(estimates.join(" ")).toContain("12 documents, 1,152 tokens");
    expect(new Set(progress.map(({ step }) => step))).toEqual(new Set(["capturing", "tuning", "measuring"]));
    const whole = summary.evaluation!.variants.find(({ scale }) => scale === 1)!;
    expect(whole.forced.eorChange!.value).toBeGreaterThan(0.03);
    expect(summary.recommendedScale === null || summary.recommendedScale <= 1).toBe(true);
  }, 60_000);
});

describe("local", () => {
  it("goes on from its checkpoint, and ends as a run that was never stopped", async () => {
    const settings = (name: string, resume: boolean): Partial<TuningJob> => ({
      ...{ method: "local", sweeps: 2, out: path.join(folder, `${name}.safetensors`) },
      checkpoint: { directory: path.join(folder, name), resume },
    });
    await runTuning(job(settings("whole", false)));
    const stop = new AbortController();
    const stopped = runTuning(job(settings("stopped", false)), {
      signal: stop.signal,
      onProgress: (progress) => {
        if (progress.step === "tuning" && progress.sweep === 2 && progress.tokens > progress.of / 5)
          stop.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    expect(existsSync(path.join(folder, "stopped.safetensors"))).toBe(false);
    expect(existsSync(path.join(folder, "stopped", "sweep-1.safetensors"))).toBe(true);
    await runTuning(job(settings("stopped", true)));
    expect(readFileSync(path.join(folder, "stopped.safetensors"))).toEqual(
      readFileSync(path.join(folder, "whole.safetensors")),
    );
    const other = job({ ...settings("stopped", true), seed: 2 });
    await expect(runTuning(other)).rejects.toMatchObject({ kind: "bad-checkpoint" });
  }, 60_000);

  it("tunes on what the model makes of the texts' starts", async () => {
    const { generate: _, ...text } = {
      ...{ kind: "texts" as const, texts: TEXTS, documentTokens: 64, documents: 2, generate: undefined },
    };
    const generate = {
      ...{ promptTokens: 16, tokens: 24, ignoreEndOfGeneration: true },
      ...{ temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, seed: 1 },
    };
    const summary = await runTuning(job({ method: "local", sweeps: 2, text: { ...text, generate } }));
    expect(summary.tokens).toBe(4 * (16 + 24));
  }, 60_000);
});

it("says what is missing", async () => {
  const one = {
    kind: "texts" as const,
    texts: TEXTS.slice(0, 1),
    documentTokens: 128,
    documents: 1,
    generate: undefined,
  };
  await expect(runTuning(job({ text: one }))).rejects.toMatchObject({ kind: "too-little-data" });
  const nothing = job({ trustBudget: 1e-9 });
  await expect(runTuning(nothing)).rejects.toThrow("Give a larger --budget");
}, 60_000);

// Last: threads that have trained leave llama.cpp's log with a callback that is gone.
describe("full", () => {
  it("trains, keeps a checkpoint, and does not overwrite an earlier one by accident", async () => {
    const full = job({ method: "full", checkpoint: { directory: path.join(folder, "full"), resume: false } });
    const summary = await runTuning(full);
    expect(summary).toMatchObject({ steps: 2, skippedSteps: 0, layersTuned: 8 });
    await expect(runTuning(full)).rejects.toMatchObject({ kind: "bad-checkpoint" });
  }, 60_000);

  it("distils under a budget, and says how far the predictions are", async () => {
    const progress: TuningProgress[] = [];
    const estimates: string[] = [];
    const plain = job({ method: "full" });
    const weights = { trust: 0.2, reuse: 0, smooth: 0, lag: 0, windowEntropy: 0, overlap: 0.5, balance: 0.1 };
    const remoePlus = { weights, adaptTrust: false, task: "kd" as const, divergenceBudget: 0.02, decay: true };
    const summary = await runTuning(
      { ...plain, full: { ...plain.full, ...remoePlus } },
      {
        onEstimate: ({ sentences }) => estimates.push(...sentences),
        onProgress: (one) => progress.push(one),
      },
    );
    expect(summary.method).toBe("full, 2 steps, KL budget 0.02");
    expect(estimates.join(" ")).toMatch(/what the untuned model says takes \d+ KiB/);
    const [first, second] = progress.filter((one) => one.step === "training");
    expect(first.divergence).toBeLessThan(1e-4);
    expect(second.divergence).toBeGreaterThan(first.divergence as number);
  }, 60_000);
});
