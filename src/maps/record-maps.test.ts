import { describe, expect, test } from "vitest";
import { NO_TOKEN } from "./map-shape.ts";
import { layerOfMap, randomEmbedding, randomMap, randomNumbers } from "./random-maps.test-data.ts";
import { MapRecorder, type RecordMode } from "./record-maps.ts";

const shape = { layers: 3, experts: 4, hiddenSize: 2 };
const LAST = shape.layers - 1;

interface Given {
  readonly embedding: number[] | undefined;
  readonly map: Float32Array;
  readonly tokenId: number;
}

function recorder(mode: RecordMode) {
  const given: Given[] = [];
  const maps = new MapRecorder({
    shape,
    mode,
    onMap: (embedding, map, tokenId) =>
      given.push({ embedding: embedding && [...embedding], map: map.slice(), tokenId }),
  });
  return { maps, given };
}

const random = randomNumbers(1);
const tokens = Array.from({ length: 6 }, (_, i) => ({
  id: 100 + i,
  map: randomMap(shape, random),
  embedding: randomEmbedding(shape, random),
}));

/** Some tokens in one micro-batch; the last layer computes only the last `outputs` of them. */
function run(
  maps: MapRecorder,
  request: number,
  from: number,
  to: number,
  outputs = to - from,
  phase = "prefill",
): void {
  const batch = tokens.slice(from, to);
  maps.batch({
    phase: phase as "prefill",
    request,
    tokens: batch.length,
    tokenIds: Int32Array.from(batch, ({ id }) => id),
    embeddings: Float32Array.from(batch.flatMap(({ embedding }) => [...embedding])),
  });
  for (let layer = 0; layer < shape.layers; layer++) {
    const computed = layer === LAST ? batch.slice(batch.length - outputs) : batch;
    if (computed.length === 0) continue;
    // Longer than needed, as the engine's is.
    const probabilities = new Float32Array(99);
    probabilities.set(computed.flatMap(({ map }) => [...layerOfMap(map, shape, layer)]));
    maps.observe(layer, probabilities, computed.length);
  }
}

const expectToken = (given: Given, token: number) =>
  expect(given).toEqual({ embedding: [...tokens[token].embedding], map: tokens[token].map, tokenId: tokens[token].id });

describe("a prompt of n tokens with all outputs", () => {
  test.each([
    ["token", 4],
    ["last-token", 1],
    ["mean", 1],
  ] as const)("%s gives %i rows", (mode, rows) => {
    const { maps, given } = recorder(mode);
    run(maps, 0, 0, 4);
    maps.finish();
    expect(given).toHaveLength(rows);
    if (mode === "token") given.forEach((row, i) => void expectToken(row, i));
    if (mode === "last-token") expectToken(given[0], 3);
    if (mode === "mean") {
      const mean = (values: (token: (typeof tokens)[0]) => ArrayLike<number>, i: number) =>
        tokens.slice(0, 4).reduce((sum, token) => sum + values(token)[i] / 4, 0);
      given[0].map.forEach(
        (p, i) =>
          void expect(p).toBeCloseTo(
            mean(({ map }) => map, i),
            6,
          ),
      );
      given[0].embedding?.forEach(
        (e, i) =>
          void expect(e).toBeCloseTo(
            mean(({ embedding }) => embedding, i),
            6,
          ),
      );
      expect(given[0].tokenId).toBe(NO_TOKEN);
    }
  });
});

describe("a prompt of two micro-batches of which only the last token has an output", () => {
  test.each(["token", "last-token"] as const)("%s gives that token", (mode) => {
    const { maps, given } = recorder(mode);
    run(maps, 0, 0, 3, 0);
    run(maps, 0, 3, 5, 1);
    run(maps, 0, 5, 6, 1, "decode");
    expect(given).toHaveLength(2);
    expectToken(given[0], 4);
    expectToken(given[1], 5);
  });

  test("mean takes from each layer the tokens that it computed", () => {
    const { maps, given } = recorder("mean");
    run(maps, 0, 0, 3, 0);
    run(maps, 0, 3, 5, 1);
    maps.finish();
    expect(given).toHaveLength(1);
    for (let j = 0; j < shape.experts; j++) {
      const early = tokens.slice(0, 5).reduce((sum, { map }) => sum + map[j] / 5, 0);
      expect(given[0].map[j]).toBeCloseTo(early, 6);
      expect(given[0].map[LAST * 4 + j]).toBeCloseTo(tokens[4].map[LAST * 4 + j], 6);
    }
  });
});

describe.each(["token", "last-token", "mean"] as const)("%s", (mode) => {
  test("a decode step is one row, given at its last layer", () => {
    const { maps, given } = recorder(mode);
    run(maps, 0, 2, 3, 1, "decode");
    expectToken(given[0], 2);
    run(maps, 0, 3, 4, 1, "decode");
    expectToken(given[1], 3);
    maps.finish();
    expect(given).toHaveLength(2);
  });

  test("two requests do not mix", () => {
    const { maps, given } = recorder(mode);
    run(maps, 0, 0, 1);
    run(maps, 1, 1, 2);
    maps.finish();
    expect(given).toHaveLength(2);
    expectToken(given[0], 0);
    expectToken(given[1], 1);
  });

  test("nothing partial is given: not all layers, or one left out", () => {
    const { maps, given } = recorder(mode);
    run(maps, 0, 0, 3, 0);
    run(maps, 1, 0, 3, 0);
    const batch = {
      phase: "decode" as const,
      request: 1,
      tokens: 1,
      tokenIds: Int32Array.of(1),
      embeddings: undefined,
    };
    maps.batch(batch);
    maps.observe(0, tokens[0].map, 1);
    maps.observe(2, tokens[0].map, 1);
    maps.batch(batch);
    maps.finish();
    expect(given).toEqual([]);
    run(maps, 2, 0, 1, 1, "decode");
    expect(given).toHaveLength(1);
    expectToken(given[0], 0);
  });
});
