import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExpertMapStore } from "./expert-map-store.ts";
import { NO_ROW, NO_TOKEN } from "./map-shape.ts";
import { cosine, randomEmbedding, randomMap, randomNumbers } from "./random-maps.test-data.ts";
import { HALF_VALUES, halfBits, MAP_ENCODINGS } from "./value-codes.ts";

const shape = { layers: 3, experts: 5, hiddenSize: 6 };
const flat = (...layers: number[][]) => Float32Array.from(layers.flat());

function readMap(store: ExpertMapStore, row: number): Float32Array {
  const { layers, experts } = store.shape;
  const map = new Float32Array(layers * experts);
  for (let layer = 0; layer < layers; layer++) store.readRow(row, layer, map, layer * experts);
  return map;
}

describe("rows", () => {
  test.each(MAP_ENCODINGS)("come back as they were, %s", (encoding) => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (seed) => {
        const random = randomNumbers(seed);
        const store = new ExpertMapStore({ shape, capacity: 4, prefetchDistance: 1, encoding });
        for (let row = 0; row < 3; row++) {
          const map = randomMap(shape, random);
          const embedding = randomEmbedding(shape, random);
          expect(store.insert(embedding, map, row + 7)).toBe(row);
          const tolerance = encoding === "f32" ? 0 : encoding === "f16" ? 1e-3 : 1e-2;
          const decoded = readMap(store, row);
          for (let i = 0; i < map.length; i++) expect(Math.abs(decoded[i] - map[i])).toBeLessThanOrEqual(tolerance);
          for (let layer = 0; layer < shape.layers; layer++) {
            const sum = decoded.slice(layer * 5, layer * 5 + 5).reduce((a, b) => a + b);
            expect(Math.abs(sum - 1)).toBeLessThan(1e-5);
          }
          const embedded = new Float32Array(6);
          store.readEmbedding(row, embedded);
          for (let i = 0; i < 6; i++) expect(Math.abs(embedded[i] - embedding[i])).toBeLessThanOrEqual(tolerance);
          expect(store.tokenId(row)).toBe(row + 7);
        }
        expect(store.size).toBe(3);
        expect(store.version).toBe(3);
      }),
      { numRuns: 30 },
    );
  });

  test("that do not sum to 1 are made to", () => {
    const store = new ExpertMapStore({ shape: { layers: 2, experts: 2, hiddenSize: 0 }, prefetchDistance: 1 });
    store.insert(undefined, flat([0.5, 0.52], [3, 1]));
    const [a, b, c, d] = readMap(store, 0);
    expect(a + b).toBeCloseTo(1, 6);
    expect([c, d]).toEqual([0.75, 0.25]);
  });

  test("with numbers that no distribution has are refused and counted", () => {
    const store = new ExpertMapStore({ shape: { layers: 2, experts: 2, hiddenSize: 1 }, prefetchDistance: 1 });
    const good = [0.5, 0.5];
    const bad = [
      [Number.NaN, 1],
      [Number.POSITIVE_INFINITY, 0],
      [-0.1, 1.1],
      [0, 0],
    ];
    for (const layer of bad) expect(store.insert(undefined, flat(good, layer))).toBe(NO_ROW);
    expect(store.insert(undefined, flat(good))).toBe(NO_ROW);
    expect(store.insert(Float32Array.of(Number.NaN), flat(good, good))).toBe(NO_ROW);
    expect(store.refused).toBe(6);
    expect([store.size, store.version]).toEqual([0, 0]);
  });

  test("a frozen store takes none", () => {
    const store = new ExpertMapStore({
      shape: { layers: 1, experts: 2, hiddenSize: 0 },
      prefetchDistance: 1,
      frozen: true,
    });
    expect(store.insert(undefined, flat([1, 0]))).toBe(NO_ROW);
    expect(store.size).toBe(0);
  });

  test("count their bytes with embeddings, as in the specification's table", () => {
    const qwen = { layers: 24, experts: 60, hiddenSize: 2048 };
    const { bytes } = new ExpertMapStore({ shape: qwen, prefetchDistance: 6 });
    const perRow = 5760 + 8192;
    expect(bytes).toBeGreaterThanOrEqual(1000 * perRow);
    // Norms, ids and versions besides.
    expect(bytes).toBeLessThan(1000 * (perRow + 24 * 4 + 64));
  });

  test("sizes that are none are refused", () => {
    expect(() => new ExpertMapStore({ shape, capacity: 0, prefetchDistance: 1 })).toThrow(RangeError);
    expect(() => new ExpertMapStore({ shape: { ...shape, experts: 1.5 }, prefetchDistance: 1 })).toThrow(RangeError);
    expect(() => new ExpertMapStore({ shape, prefetchDistance: 0 })).toThrow(RangeError);
  });
});

describe("a full store", () => {
  const fill = (prefetchDistance: number, capacity = 8) => {
    const random = randomNumbers(1);
    const store = new ExpertMapStore({ shape, capacity, prefetchDistance });
    const rows = Array.from({ length: capacity }, () => ({
      map: randomMap(shape, random),
      embedding: randomEmbedding(shape, random),
    }));
    for (const { map, embedding } of rows) store.insert(embedding, map);
    return { store, rows, random };
  };

  test("gives up the twin of an exact duplicate", () => {
    const { store, rows } = fill(1);
    for (const row of [5, 0, 7]) expect(store.insert(rows[row].embedding, rows[row].map)).toBe(row);
    expect(store.size).toBe(8);
    expect(store.replaced).toBe(3);
  });

  test("replaces the highest redundancy score, recomputed independently", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), fc.integer({ min: 1, max: 4 }), (seed, distance) => {
        const { store, rows } = fill(distance);
        const random = randomNumbers(seed);
        for (let i = 0; i < 5; i++) {
          const map = randomMap(shape, random);
          const embedding = randomEmbedding(shape, random);
          const share = Math.min(1, distance / shape.layers);
          const scores = rows.map(
            (old) => share * cosine(embedding, old.embedding) + (1 - share) * cosine(map, old.map),
          );
          const row = store.insert(embedding, map);
          expect(scores[row]).toBeGreaterThan(Math.max(...scores) - 1e-6);
          rows[row] = { map, embedding };
        }
      }),
      { numRuns: 30 },
    );
  });

  test("with d = L the embedding alone decides", () => {
    const { store, rows } = fill(shape.layers);
    expect(store.insert(rows[2].embedding, rows[6].map)).toBe(2);
  });

  test("two identical new rows end as one", () => {
    const { store, random } = fill(1);
    const map = randomMap(shape, random);
    const embedding = randomEmbedding(shape, random);
    const first = store.insert(embedding, map);
    expect(store.insert(embedding, map)).toBe(first);
    const twins = Array.from({ length: 8 }, (_, row) => cosine(readMap(store, row), map)).filter(
      (score) => score > 0.9999,
    );
    expect(twins).toHaveLength(1);
  });

  test("without embeddings the same token, or else the map, decides", () => {
    const small = { layers: 2, experts: 2, hiddenSize: 0 };
    const store = new ExpertMapStore({ shape: small, capacity: 2, prefetchDistance: 2 });
    store.insert(undefined, flat([1, 0], [1, 0]), 11);
    store.insert(undefined, flat([0, 1], [0, 1]), 12);
    expect(store.insert(undefined, flat([1, 0], [1, 0]), 12)).toBe(1);
    expect(store.insert(undefined, flat([0.9, 0.1], [0.2, 0.8]), NO_TOKEN)).toBe(0);
  });
});

test("halves are rounded to the nearest, ties to even", () => {
  const known: [number, number][] = [
    [0, 0],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65520, 0x7c00],
    [2 ** -24, 1],
    [2 ** -25, 0],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
  ];
  for (const [value, bits] of known) expect(halfBits(value), String(value)).toBe(bits);
  for (let bits = 0; bits < 0x7c00; bits++) expect(halfBits(HALF_VALUES[bits])).toBe(bits);
});
