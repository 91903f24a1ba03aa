import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { splitGguf } from "../gguf/index.ts";
import { DEMO_MODEL, loadDemoModel, logitsAfter, smallContext } from "./demo-model.test-data.ts";
import { DisposedError, ModelLoadError } from "./errors.ts";
import { loadLibraries } from "./libraries.ts";
import { loadModel } from "./model.ts";
import { createSampler } from "./sampler.ts";

const libraries = loadLibraries();
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "warmset-model-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("loadModel", () => {
  it("reads the demo model's shape and metadata", () => {
    using model = loadDemoModel();
    expect(model).toMatchObject({
      layers: 8,
      hiddenSize: 256,
      trainedContextSize: 512,
      slidingWindow: 0,
      parameterCount: 28_906_240,
      isRecurrent: false,
      isHybrid: false,
    });
    expect(model.description).toContain("qwen3moe");
    expect(model.weightBytes).toBeGreaterThan(30_000_000);
    expect(model.metadata("general.architecture")).toBe("qwen3moe");
    expect(model.metadata("qwen3moe.expert_count")).toBe("32");
    expect(model.metadata("no.such.key")).toBeUndefined();
    expect(model.chatTemplate).toContain("<|assistant|>");
  });

  it("gives the same logits mapped, read into memory and repacked up to rounding", () => {
    const logits = [{}, { useMmap: false }, { repackWeights: true }].map((options) => {
      using model = loadModel(libraries, DEMO_MODEL, options);
      return logitsAfter(smallContext(model), model.vocabulary.tokenize("Once upon a time"));
    });
    expect(logits[1]).toEqual(logits[0]);
    const best = (row: Float32Array) => row.indexOf(Math.max(...row));
    expect(best(logits[2])).toBe(best(logits[0]));
  });

  it("loads a split model from its first shard and from the list of shards", async () => {
    const shards = await splitGguf(DEMO_MODEL, join(directory, "demo"), { maxTensorsPerShard: 40 });
    expect(shards.length).toBeGreaterThan(1);
    const whole = (() => {
      using model = loadDemoModel();
      return logitsAfter(smallContext(model), [3170, 1452]);
    })();
    for (const path of [shards[0], shards]) {
      using model = loadModel(libraries, path);
      expect(logitsAfter(smallContext(model), [3170, 1452])).toEqual(whole);
    }
  });

  it("says why a file cannot be loaded", () => {
    const missing = join(directory, "missing.gguf");
    expect(() => loadModel(libraries, missing)).toThrow(ModelLoadError);
    expect(() => loadModel(libraries, missing)).toThrow(/No such file/);
    const text = join(directory, "text.gguf");
    writeFileSync(text, "This is not a model.");
    expect(() => loadModel(libraries, text)).toThrow(/magic/);
    const truncated = join(directory, "truncated.gguf");
    writeFileSync(truncated, readFileSync(DEMO_MODEL).subarray(0, 20_000_000));
    expect(() => loadModel(libraries, truncated)).toThrow(/truncated\.gguf.*not within the file bounds/);
  });

  it("reports progress and stops when told to", () => {
    const fractions: number[] = [];
    loadModel(libraries, DEMO_MODEL, { onProgress: (fraction) => fractions.push(fraction) > 0 }).dispose();
    expect(fractions.at(-1)).toBe(1);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(() => loadModel(libraries, DEMO_MODEL, { onProgress: () => false })).toThrow(ModelLoadError);
  });
});

describe("Model.dispose", () => {
  it("disposes everything made from the model, and only once", () => {
    const model = loadDemoModel();
    const context = smallContext(model);
    const other = smallContext(model);
    const sampler = createSampler(model, { grammar: 'root ::= "a"' });
    other.dispose();
    model.dispose();
    model.dispose();
    for (const use of [
      () => context.lastPosition(0),
      () => context.logits(0),
      () => other.clear(),
      () => sampler.accept(1),
      () => sampler.clone(),
      () => model.vocabulary.tokenize("a"),
      () => model.metadata("general.name"),
      () => smallContext(model),
    ]) {
      expect(use).toThrow(DisposedError);
    }
    context.dispose();
    sampler.dispose();
  });

  it("names what was used", () => {
    const model = loadDemoModel();
    const context = smallContext(model);
    context.dispose();
    expect(() => context.timings()).toThrow("The context was used after dispose()");
    model[Symbol.dispose]();
    expect(() => model.metadata("general.name")).toThrow("The model was used after dispose()");
  });
});
