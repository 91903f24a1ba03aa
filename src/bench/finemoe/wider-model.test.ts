import { expect, test } from "vitest";
import { randomNumbers } from "../../cache/replay.test-data.ts";
import { decodeStore, ExpertMapStore, encodeStore } from "../../maps/index.ts";
import { PredictorRuntime } from "../../predict/predictor-runtime.ts";
import type { RouterPredictor } from "../../predict/router-predictor.ts";
import { widerPredictor, widerStore } from "./wider-model.ts";

const random = randomNumbers(5);
const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);

test("a store for a wider model has the same maps and tokens, and embeddings with zeros behind", () => {
  const shape = { layers: 2, experts: 3, hiddenSize: 4 };
  const store = new ExpertMapStore({ shape, capacity: 5, prefetchDistance: 1 });
  const map = Float32Array.of(0.5, 0.25, 0.25, 0.1, 0.2, 0.7);
  store.insert(Float32Array.of(1, 2, 3, 4), map, 17);
  store.insert(undefined, map);
  const wider = decodeStore(widerStore(encodeStore(store), { layers: 2, experts: 3, from: 4, to: 6 }), {
    shape: { ...shape, hiddenSize: 6 },
  });
  expect([wider.size, wider.capacity, wider.prefetchDistance]).toEqual([2, 5, 1]);
  expect([wider.tokenId(0), wider.tokenId(1)]).toEqual([17, store.tokenId(1)]);
  const row = new Float32Array(3);
  wider.readRow(0, 1, row);
  for (const [i, value] of [0.1, 0.2, 0.7].entries()) expect(row[i]).toBeCloseTo(value, 6);
  const embedding = new Float32Array(6);
  wider.readEmbedding(0, embedding);
  expect([...embedding]).toEqual([1, 2, 3, 4, 0, 0]);
});

test.each(["mlp", "linear"] as const)(
  "a predictor (%s) for a wider model says the same of an input with zeros behind",
  (kind) => {
    const [from, to, experts, width] = [6, 20, 5, 4];
    const inner = kind === "mlp" ? floats(width * (from + 1)) : undefined;
    const outer = floats(experts * ((kind === "mlp" ? width : from) + 1));
    const predictor: RouterPredictor = {
      model: { name: "test", hash: "a", tokenizerHash: null, layers: 2, experts, expertsUsed: 2, hiddenSize: from },
      ...{ kind, width: kind === "mlp" ? width : 0, stride: 0, window: 1, recall: [], trainingMs: 0 },
      heads: [{ layer: 0, distance: 1, inner, outer }],
    };
    const wider = widerPredictor(predictor, to, "b");
    expect(wider.model).toMatchObject({ hash: "b", hiddenSize: to });
    const input = floats(from);
    const filled = new Float32Array(to);
    filled.set(input);
    const scores = scoresOf(predictor, input);
    const widerScores = scoresOf(wider, filled);
    for (let i = 0; i < experts; i++) expect(widerScores[i]).toBeCloseTo(scores[i], 5);
    expect(new Set(scores).size).toBe(experts);
  },
);

function scoresOf({ model, heads }: RouterPredictor, input: Float32Array): number[] {
  const runtime = new PredictorRuntime(model, heads);
  runtime.read(input, 0);
  return [...runtime.scores(0)];
}
