import { describe, expect, test } from "vitest";
import { encodeStore } from "../../maps/index.ts";
import { memoryTrace } from "../../trace/memory-trace.ts";
import { NO_ID, PREFILL } from "../../trace/trace.ts";
import { driveFineMoe } from "./driven-finemoe.test-data.ts";
import { fillStore } from "./fill-store.ts";
import { syntheticText } from "./synthetic-text.test-data.ts";

const text = syntheticText({ samples: 2, tokens: 30 });
const length = text.shape.layers * text.shape.experts;

describe("a store filled from a trace", () => {
  test("has a row for each token, with its embedding and its id", async () => {
    const { store, maps, samples, tokens } = await fillStore(text.source, { embeddings: text.embeddings });
    expect({ maps, samples, tokens, rows: store.size }).toEqual({ maps: 60, samples: 2, tokens: 60, rows: 60 });
    const [sample] = text.samples;
    const row = new Float32Array(text.shape.experts);
    const embedding = new Float32Array(4);
    const expected = new Float32Array(4);
    for (const at of [0, 7, 29]) {
      const id = (sample.tokens as Int32Array)[at];
      expect(store.tokenId(at)).toBe(id);
      store.readRow(at, 3, row);
      const from = at * length + 3 * text.shape.experts;
      for (const [expert, p] of row.entries()) expect(p).toBeCloseTo((sample.probs as Float32Array)[from + expert], 6);
      store.readEmbedding(at, embedding);
      text.embeddings.rows(Int32Array.of(id), expected);
      expect(embedding).toEqual(expected);
    }
  });

  test("takes a prompt as one row, and none of tokens that were not computed in the last layer", async () => {
    const samples = text.samples.map((sample) => {
      const experts = sample.experts.slice();
      const perToken = text.shape.layers * text.shape.expertsUsed;
      // A prompt of ten tokens in one pass, of which the last layer computed the last.
      for (let token = 0; token < 9; token++)
        experts.fill(NO_ID, (token + 1) * perToken - text.shape.expertsUsed, (token + 1) * perToken);
      const phases = sample.phases.map((phase, token) => (token < 10 ? PREFILL : phase));
      const batches = sample.batches.map((_, token) => Math.max(0, token - 9));
      return { ...sample, experts, phases, batches };
    });
    const source = memoryTrace(text.source.description, samples);
    for (const [record, rows] of [
      ["token", 42],
      ["last-token", 42],
      ["mean", 42],
    ] as const) {
      const { store } = await fillStore(source, { record });
      expect(store.size).toBe(rows);
    }
    const { store } = await fillStore(source, { record: "last-token" });
    expect(store.tokenId(0)).toBe((samples[0].tokens as Int32Array)[9]);
    expect(store.shape.hiddenSize).toBe(0);
  });

  test("holds no more than its capacity, and is one that finemoe begins with", async () => {
    const { store, maps } = await fillStore(text.source, { capacity: 20, embeddings: text.embeddings, distance: 3 });
    expect({ size: store.size, maps, replaced: store.replaced }).toEqual({ size: 20, maps: 60, replaced: 40 });
    const driven = driveFineMoe(text.shape, "finemoe:mode=inline,distance=3,store=frozen", {
      slots: 48,
      resources: { maps: encodeStore(store) },
    });
    const embeddings = new Float32Array(4);
    text.embeddings.rows(Int32Array.of(2), embeddings);
    driven.begin([2], { embeddings });
    expect(driven.figures()).toMatchObject({ storeRows: 20, storeFrozen: 1, forecastLayers: 3 });
  });

  test("is made of the chosen experts' weights where a trace has no more", async () => {
    const bare = syntheticText({ samples: 1, tokens: 5, probabilities: false });
    const { store } = await fillStore(bare.source);
    const row = new Float32Array(bare.shape.experts);
    store.readRow(0, 0, row);
    expect([...row].filter((p) => p > 0)).toEqual([0.5, 0.5]);
  });
});
