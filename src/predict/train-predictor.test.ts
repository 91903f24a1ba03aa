import { describe, expect, test } from "vitest";
import type { RouterWeights } from "../gguf/index.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import type { TraceSample } from "../trace/trace.ts";
import { lookAhead } from "./look-ahead.ts";
import { splitSamples } from "./sample-split.ts";
import { teacherTrace } from "./teacher-trace.test-data.ts";
import { trainPredictor } from "./train-predictor.ts";
import { readTrainingSet, sampleLengths } from "./training-set.ts";

describe("training", () => {
  test("recovers a linear teacher with one matrix", async () => {
    const { predictor, heldOut, training } = await trainPredictor(teacherTrace(), {
      ...{ kind: "linear", window: 2, epochs: 300 },
    });
    expect(predictor.heads.map(({ layer, distance }) => [layer, distance])).toEqual([
      [0, 1],
      [0, 2],
      [1, 1],
    ]);
    for (const { predictor: found, popularity, previousToken, tokens } of predictor.recall) {
      expect(found).toBeGreaterThan(0.95);
      expect(popularity).toBeLessThan(0.4);
      expect(previousToken).toBeLessThan(0.4);
      expect(tokens).toBe(heldOut.tokens);
    }
    expect(training.samples + heldOut.samples).toBe(40);
  });

  test("needs inner units for a bent teacher", async () => {
    const trace = teacherTrace({ bent: true, layers: 2, samples: 80 });
    const [straight] = (await trainPredictor(trace, { kind: "linear", epochs: 60 })).predictor.recall;
    const [bent] = (await trainPredictor(trace, { width: 64, epochs: 60 })).predictor.recall;
    // By its signs an input says nothing of its size: a matrix learns what is popular, and no more.
    expect(straight.predictor).toBeLessThan(straight.popularity + 0.05);
    expect(bent.predictor).toBeGreaterThan(straight.predictor + 0.15);
  });

  test("is the same with any number of threads, and however little memory there is", async () => {
    const trace = teacherTrace({ layers: 4 });
    const train = async (options: { threads?: number; memoryBytes?: number }) => {
      const { predictor } = await trainPredictor(trace, { width: 8, epochs: 2, window: 2, ...options });
      return { heads: predictor.heads, recall: predictor.recall };
    };
    const one = await train({ threads: 1 });
    expect(await train({ threads: 2 })).toEqual(one);
    expect(await train({ threads: 2, memoryBytes: 1 })).toEqual(one);
  });

  test("imitates who was chosen where the gates' distributions were not recorded", async () => {
    const { predictor, targets } = await trainPredictor(teacherTrace({ probs: false }), {
      kind: "linear",
      epochs: 100,
    });
    expect(targets).toBe("choices");
    for (const { predictor: found } of predictor.recall) expect(found).toBeGreaterThan(0.9);
  });

  test("tells of its progress, and ends when told to", async () => {
    const controller = new AbortController();
    const steps = new Set<string>();
    const training = trainPredictor(teacherTrace(), {
      width: 64,
      epochs: 100_000,
      signal: controller.signal,
      onProgress: ({ step, tokensDone, tokens }) => {
        expect(tokensDone).toBeLessThanOrEqual(tokens);
        steps.add(step);
        if (step === "training") controller.abort(new Error("enough"));
      },
    });
    await expect(training).rejects.toThrow("enough");
    expect([...steps]).toEqual(["reading", "training"]);
  });

  test("refuses what it cannot be made from", async () => {
    const trace = teacherTrace();
    await expect(trainPredictor(trace, { stride: 2 })).rejects.toThrow(/A stride of 2 leaves nothing .* less than 2/);
    await expect(trainPredictor(teacherTrace({ samples: 1 }))).rejects.toThrow(/1 sample/);
    const { description } = trace;
    const without = { ...description, columns: { ...description.columns, hiddenWidth: 0 } };
    await expect(trainPredictor(memoryTrace(without, []))).rejects.toThrow(/without the router's inputs/);
    const unknown = { ...description, model: { ...description.model, hash: null } };
    await expect(trainPredictor(memoryTrace(unknown, []))).rejects.toThrow(/no hash/);
  });
});

test("no token of a prompt held out is trained on", async () => {
  const trace = teacherTrace({ layers: 2 });
  const lengths = await sampleLengths(trace);
  const split = splitSamples(lengths, { seed: 1, maxTokens: 1e9 });
  const set = await readTrainingSet(trace, lengths, split, { from: 0, to: 1, nearest: 1, farthest: 1 });
  const hidden = set.layers[0]?.hidden as Float32Array;
  const inputsOf = (rows: Int32Array) => new Set(Array.from(rows, (row) => hidden[row * set.hiddenSize]));
  const samples: TraceSample[] = [];
  for (const { index } of trace.parts)
    for await (const sample of trace.samples(index, { hidden: true })) samples.push(sample);
  const firstInputs = (places: readonly number[]) =>
    new Set(
      places.flatMap((place) =>
        Array.from({ length: samples[place].length }, (_, t) => samples[place].hidden?.[t * 2 * set.hiddenSize]),
      ),
    );
  expect(inputsOf(set.training)).toEqual(firstInputs(split.training));
  expect(inputsOf(set.heldOut)).toEqual(firstInputs(split.heldOut));
  // The token before is one of the same sample.
  for (const rows of [set.training, set.heldOut])
    for (const [i, row] of rows.entries()) expect(set.before[row]).toBe(i % lengths[0] === 0 ? -1 : rows[i - 1]);
});

test("the look-ahead is the later router on inputs that another norm has scaled", () => {
  const routers: RouterWeights = {
    ...{ hiddenSize: 2, experts: 2 },
    weights: [new Float32Array(4), Float32Array.of(1, 2, 3, 4)],
    norms: [Float32Array.of(2, 0), Float32Array.of(6, 5)],
  };
  expect([...lookAhead(routers, 0, 1)]).toEqual([3, 0, 0, 9, 0, 0]);
  expect([...lookAhead({ ...routers, norms: [undefined, undefined] }, 0, 1)]).toEqual([1, 2, 0, 3, 4, 0]);
});
