import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Match, noMatch } from "./best-matches.ts";
import { ExpertMapStore } from "./expert-map-store.ts";
import { NO_ROW } from "./map-shape.ts";
import { blendMatches } from "./neighbour-blend.ts";
import { cosine, layerOfMap, randomEmbedding, randomMap, randomNumbers } from "./random-maps.test-data.ts";
import { SemanticSearch } from "./semantic-search.ts";
import { TrajectorySearch } from "./trajectory-search.ts";
import { MAP_ENCODINGS } from "./value-codes.ts";

const shape = { layers: 5, experts: 7, hiddenSize: 9 };

function readMap(store: ExpertMapStore, row: number): Float32Array {
  const map = new Float32Array(shape.layers * shape.experts);
  for (let layer = 0; layer < shape.layers; layer++) store.readRow(row, layer, map, layer * shape.experts);
  return map;
}

/** Every row's cosine over the first layers, from scratch. */
function recomputed(store: ExpertMapStore, map: Float32Array, layers: number): number[] {
  return Array.from({ length: store.size }, (_, row) => cosine(map, readMap(store, row), layers * shape.experts));
}

function expectSameScores(
  trajectory: TrajectorySearch,
  store: ExpertMapStore,
  map: Float32Array,
  layers: number,
): void {
  const rows = new Int32Array(store.size);
  const scores = new Float32Array(store.size);
  expect(trajectory.nearest(store.size, rows, scores)).toBe(store.size);
  const expected = recomputed(store, map, layers);
  rows.forEach((row, i) => {
    expect(Math.abs(scores[i] - expected[row])).toBeLessThan(1e-6);
    if (i > 0) expect(scores[i]).toBeLessThanOrEqual(scores[i - 1]);
  });
  expect(trajectory.best(noMatch())).toEqual(store.size === 0 ? noMatch() : { row: rows[0], score: scores[0] });
}

describe("trajectory search", () => {
  test.each(MAP_ENCODINGS)(
    "incremental scores are the recomputed ones, also after rows were replaced on the way, %s",
    (encoding) => {
      fc.assert(
        fc.property(
          fc.integer({ min: 0 }),
          fc.integer({ min: 1, max: 13 }),
          fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
          (seed, capacity, insertions) => {
            const random = randomNumbers(seed);
            const store = new ExpertMapStore({ shape, capacity, prefetchDistance: 2, encoding });
            const insert = () => store.insert(randomEmbedding(shape, random), randomMap(shape, random));
            for (let i = 0; i < capacity - 1; i++) insert();
            const trajectory = new TrajectorySearch(store);
            for (let iteration = 0; iteration < 2; iteration++) {
              trajectory.reset();
              const map = randomMap(shape, random);
              for (let layer = 0; layer < shape.layers; layer++) {
                trajectory.observe(layer, layerOfMap(map, shape, layer));
                if (insertions[layer]) insert();
                expectSameScores(trajectory, store, map, layer + 1);
              }
            }
          },
        ),
        { numRuns: 40 },
      );
    },
  );

  test.each(MAP_ENCODINGS)("a stored iteration scores 1 at every layer and finds itself, %s", (encoding) => {
    const random = randomNumbers(2);
    const store = new ExpertMapStore({ shape, capacity: 50, prefetchDistance: 2, encoding });
    for (let i = 0; i < 50; i++) store.insert(undefined, randomMap(shape, random));
    const trajectory = new TrajectorySearch(store);
    const into: Match = noMatch();
    for (const row of [0, 17, 49]) {
      trajectory.reset();
      const map = readMap(store, row);
      for (let layer = 0; layer < shape.layers; layer++) {
        trajectory.observe(layer, layerOfMap(map, shape, layer));
        trajectory.best(into);
        expect(into.row).toBe(row);
        expect(into.score).toBeCloseTo(1, 6);
      }
    }
  });

  test("an empty store and an iteration without a layer give nothing", () => {
    const store = new ExpertMapStore({ shape, prefetchDistance: 2 });
    const trajectory = new TrajectorySearch(store);
    trajectory.observe(0, layerOfMap(randomMap(shape, randomNumbers(1)), shape, 0));
    expect(trajectory.best(noMatch()).row).toBe(NO_ROW);
    trajectory.reset();
    store.insert(undefined, randomMap(shape, randomNumbers(1)));
    expect(trajectory.best(noMatch()).row).toBe(NO_ROW);
  });

  test("of equal scores the lower row comes first, and nothing observed has cosine 0", () => {
    const store = new ExpertMapStore({ shape, prefetchDistance: 2 });
    const map = randomMap(shape, randomNumbers(3));
    for (let i = 0; i < 6; i++) store.insert(undefined, map);
    const trajectory = new TrajectorySearch(store);
    trajectory.observe(0, new Float32Array(shape.experts));
    expect(trajectory.best(noMatch())).toEqual({ row: 0, score: 0 });
    trajectory.observe(1, layerOfMap(map, shape, 1));
    const rows = new Int32Array(3);
    expect(trajectory.nearest(3, rows, new Float32Array(3))).toBe(3);
    expect([...rows]).toEqual([0, 1, 2]);
  });

  test("layers come in order", () => {
    const trajectory = new TrajectorySearch(new ExpertMapStore({ shape, prefetchDistance: 2 }));
    expect(() => trajectory.observe(1, new Float32Array(shape.experts))).toThrow("layer 0 comes next");
  });

  test("early abandonment keeps the best rows, with the scores that they have in full", () => {
    const random = randomNumbers(4);
    const store = new ExpertMapStore({ shape, capacity: 300, prefetchDistance: 2 });
    for (let i = 0; i < 300; i++) store.insert(undefined, randomMap(shape, random));
    const narrow = new TrajectorySearch(store, { abandon: { layers: 2, rows: 40 } });
    for (let iteration = 0; iteration < 3; iteration++) {
      const map = randomMap(shape, random);
      narrow.reset();
      for (let layer = 0; layer < 2; layer++) narrow.observe(layer, layerOfMap(map, shape, layer));
      const after2 = recomputed(store, map, 2);
      const kept = new Set([...after2.keys()].sort((a, b) => after2[b] - after2[a]).slice(0, 40));
      for (let layer = 2; layer < 5; layer++) narrow.observe(layer, layerOfMap(map, shape, layer));
      const rows = new Int32Array(300);
      const scores = new Float32Array(300);
      expect(narrow.nearest(300, rows, scores)).toBe(40);
      expect(new Set(rows.subarray(0, 40))).toEqual(kept);
      const full = recomputed(store, map, 5);
      for (let i = 0; i < 40; i++) expect(scores[i]).toBeCloseTo(full[rows[i]], 6);
    }
  });

  test("early abandonment of equal rows keeps the lowest", () => {
    const store = new ExpertMapStore({ shape, capacity: 20, prefetchDistance: 2 });
    const map = randomMap(shape, randomNumbers(5));
    for (let i = 0; i < 20; i++) store.insert(undefined, map);
    const narrow = new TrajectorySearch(store, { abandon: { layers: 1, rows: 4 } });
    narrow.observe(0, layerOfMap(map, shape, 0));
    const rows = new Int32Array(20);
    expect(narrow.nearest(20, rows, new Float32Array(20))).toBe(4);
    expect([...rows.subarray(0, 4)]).toEqual([0, 1, 2, 3]);
  });
});

describe("semantic search", () => {
  test.each(MAP_ENCODINGS)("finds the highest cosine, %s", (encoding) => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), fc.integer({ min: 1, max: 13 }), (seed, rowsStored) => {
        const random = randomNumbers(seed);
        const store = new ExpertMapStore({ shape, capacity: 13, prefetchDistance: 2, encoding });
        for (let i = 0; i < rowsStored; i++) store.insert(randomEmbedding(shape, random), randomMap(shape, random));
        const query = randomEmbedding(shape, random);
        const expected = Array.from({ length: rowsStored }, (_, row) => {
          const embedding = new Float32Array(shape.hiddenSize);
          store.readEmbedding(row, embedding);
          return cosine(query, embedding);
        });
        const { row, score } = new SemanticSearch(store).best(query, noMatch());
        expect(Math.abs(score - expected[row])).toBeLessThan(1e-6);
        expect(score).toBeGreaterThan(Math.max(...expected) - 1e-6);
      }),
      { numRuns: 40 },
    );
  });

  test("zero vectors have cosine 0; without embeddings or rows there is nothing", () => {
    const store = new ExpertMapStore({ shape, prefetchDistance: 2 });
    const search = new SemanticSearch(store);
    const zero = new Float32Array(shape.hiddenSize);
    expect(search.best(zero, noMatch()).row).toBe(NO_ROW);
    store.insert(zero, randomMap(shape, randomNumbers(1)));
    expect(search.best(randomEmbedding(shape, randomNumbers(2)), noMatch())).toEqual({ row: 0, score: 0 });
    const bare = new ExpertMapStore({ shape: { ...shape, hiddenSize: 0 }, prefetchDistance: 2 });
    bare.insert(undefined, randomMap(shape, randomNumbers(1)), 4);
    expect(new SemanticSearch(bare).best(zero, noMatch()).row).toBe(NO_ROW);
    const rows = new Int32Array(2);
    expect(new SemanticSearch(bare).rowsOfToken(4, rows)).toBe(1);
    expect(new SemanticSearch(bare).rowsOfToken(5, rows)).toBe(0);
  });

  test("a negative cosine stays negative, so that nothing is trusted", () => {
    const store = new ExpertMapStore({ shape, prefetchDistance: 2 });
    const embedding = randomEmbedding(shape, randomNumbers(1));
    store.insert(embedding, randomMap(shape, randomNumbers(1)));
    expect(
      new SemanticSearch(store).best(
        embedding.map((value) => -value),
        noMatch(),
      ).score,
    ).toBeCloseTo(-1, 6);
  });
});

describe("blend", () => {
  const probabilities = Float32Array.from([0, 0, 1, 0, 0, 0, 0, 1]);
  const input = { probabilities, targets: 2, experts: 2, matches: 2 };

  test("weighs neighbours by the softmax of their scores", () => {
    const into = new Float32Array(3);
    const score = blendMatches({ ...input, scores: Float32Array.of(0.9, 0.9 - 0.05 * Math.log(3)) }, 1, into, 1);
    expect(into[0]).toBe(0);
    expect(into[1]).toBeCloseTo(0.75, 5);
    expect(into[2]).toBeCloseTo(0.25, 5);
    expect(score).toBeCloseTo(0.9 - 0.25 * 0.05 * Math.log(3), 5);
  });

  test("nothing of nothing", () => {
    const into = Float32Array.of(5, 5);
    expect(blendMatches({ ...input, matches: 0, scores: new Float32Array(0) }, 0, into)).toBe(0);
    expect([...into]).toEqual([0, 0]);
  });
});
