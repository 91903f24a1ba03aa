import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { LayerPlan, MapForecast, MapSearch, MapSearchOptions, SearchParts } from "./async-search.ts";
import { MapSearchError } from "./async-search.ts";
import { ExpertMapStore, type ExpertMapStoreOptions } from "./expert-map-store.ts";
import { InlineSearch } from "./inline-search.ts";
import { NO_TOKEN } from "./map-shape.ts";
import { layerOfMap, randomEmbedding, randomMap, randomNumbers } from "./random-maps.test-data.ts";
import { TimedSearch } from "./timed-search.ts";
import { WorkerSearch } from "./worker-search.ts";

const shape = { layers: 6, experts: 5, hiddenSize: 4 };

function filledStore(options: Partial<ExpertMapStoreOptions> = {}, rows = 20) {
  const random = randomNumbers(1);
  const store = new ExpertMapStore({ shape, capacity: 20, prefetchDistance: 2, ...options });
  const known = Array.from({ length: rows }, (_, i) => ({
    map: randomMap(shape, random),
    embedding: randomEmbedding(shape, random),
    tokenId: 50 + i,
  }));
  for (const { embedding, map, tokenId } of known) store.insert(embedding, map, tokenId);
  return { store, known };
}

interface Taken {
  readonly kind: string;
  readonly source: number;
  readonly targets: number[];
  readonly rows: number[];
  readonly scores: number[];
  readonly probabilities: number[];
}

function take(search: MapSearch, nowMs = 0): Taken[] {
  const taken: Taken[] = [];
  search.take(nowMs, (forecast: MapForecast) => {
    const { matches, targets, firstTarget, experts } = forecast;
    taken.push({
      kind: forecast.kind,
      source: forecast.sourceLayer,
      targets: Array.from({ length: targets }, (_, i) => firstTarget + i),
      rows: [...forecast.rows.subarray(0, matches)],
      scores: [...forecast.scores.subarray(0, matches)],
      probabilities: [...forecast.probabilities.subarray(0, matches * targets * experts)],
    });
  });
  return taken;
}

/** Plays one map as an iteration, and takes after every step. */
function play(search: MapSearch, map: Float32Array, embedding: Float32Array | undefined, tokenId = NO_TOKEN): Taken[] {
  search.begin(1, embedding, tokenId, 0);
  const taken = take(search);
  for (let layer = 0; layer < shape.layers; layer++) {
    search.observe(layer, layerOfMap(map, shape, layer), 0);
    taken.push(...take(search));
  }
  return taken;
}

describe("inline search", () => {
  test.each([1, 3, 5, 6, 9])("every layer is planned exactly once, d = %i", (prefetchDistance) => {
    const { store, known } = filledStore({ prefetchDistance });
    const taken = play(new InlineSearch({ store }), known[3].map, known[3].embedding);
    expect(taken.flatMap(({ targets }) => targets)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(taken.map(({ kind }) => kind)).toEqual([
      "semantic",
      ...Array(Math.max(0, 6 - prefetchDistance)).fill("trajectory"),
    ]);
  });

  test.each([
    ["exact", "both", [[0, 1], [2], [3], [4], [5]]],
    ["band", "both", [[0, 1], [2, 3, 4, 5], [3, 4, 5], [4, 5], [5]]],
    ["window", "both", [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5]]],
    ["exact", "semantic", [[0, 1, 2, 3, 4, 5]]],
    ["exact", "trajectory", [[2], [3], [4], [5]]],
  ] as [LayerPlan, SearchParts, number[][]][])("plan %s with %s", (layerPlan, parts, targets) => {
    const { store, known } = filledStore();
    const taken = play(new InlineSearch({ store, layerPlan, parts }), known[3].map, known[3].embedding);
    expect(taken.map((forecast) => forecast.targets)).toEqual(targets);
  });

  test("a stored iteration predicts its own rows with score 1", () => {
    const { store, known } = filledStore();
    for (const row of [0, 11, 19]) {
      for (const forecast of play(new InlineSearch({ store }), known[row].map, known[row].embedding)) {
        expect(forecast.rows).toEqual([row]);
        expect(forecast.scores[0]).toBeCloseTo(1, 6);
        const own = forecast.targets.flatMap((layer) => [...layerOfMap(known[row].map, shape, layer)]);
        expect(forecast.probabilities).toEqual(own);
      }
    }
  });

  test("neighbours come best first, each with its rows", () => {
    const { store, known } = filledStore();
    const [semantic, first] = play(new InlineSearch({ store, neighbours: 4 }), known[3].map, known[3].embedding);
    for (const { rows, scores, targets, probabilities } of [semantic, first]) {
      expect(rows).toHaveLength(4);
      expect(rows[0]).toBe(3);
      expect([...scores].sort((a, b) => b - a)).toEqual(scores);
      expect(probabilities).toEqual(
        rows.flatMap((row) => targets.flatMap((layer) => [...layerOfMap(known[row].map, shape, layer)])),
      );
    }
  });

  test("an empty store forecasts nothing, and counts it", () => {
    const { store, known } = filledStore({}, 0);
    const search = new InlineSearch({ store });
    expect(play(search, known[0]?.map ?? randomMap(shape, randomNumbers(1)), new Float32Array(4))).toEqual([]);
    expect(search.counters()).toMatchObject({ semanticSearches: 1, trajectorySearches: 4, emptySearches: 5, waits: 0 });
  });

  test("a known token needs no embedding: the first of its rows, or their mean", () => {
    const { store, known } = filledStore({}, 10);
    store.insert(undefined, known[0].map, 999);
    store.insert(undefined, known[1].map, 999);
    const semantic = (options: Partial<MapSearchOptions>, tokenId = 999) =>
      play(new InlineSearch({ store, ...options }), known[5].map, undefined, tokenId)[0];
    expect(semantic({})).toMatchObject({ kind: "semantic", rows: [10], scores: [1], targets: [0, 1] });
    expect(semantic({ neighbours: 3 })).toMatchObject({ rows: [10, 11], scores: [1, 1] });
    const mean = semantic({ sameTokenRule: "mean", neighbours: 3 });
    expect(mean).toMatchObject({ rows: [10], scores: [1] });
    mean.probabilities.forEach((p, i) => void expect(p).toBeCloseTo((known[0].map[i] + known[1].map[i]) / 2, 6));
    // An unknown one has nothing to go by.
    expect(semantic({}, 998).kind).toBe("trajectory");
  });

  test("updates go into the store; a frozen one takes none", () => {
    for (const frozen of [false, true]) {
      const store = new ExpertMapStore({ shape, prefetchDistance: 2, frozen });
      const search = new InlineSearch({ store });
      const map = randomMap(shape, randomNumbers(7));
      search.update(undefined, map, 3, 0);
      expect(store.size).toBe(frozen ? 0 : 1);
      expect(search.counters().updates).toBe(frozen ? 0 : 1);
    }
  });

  test("after a layer was left out the rest of the iteration is ignored", () => {
    const { store, known } = filledStore();
    const search = new InlineSearch({ store });
    search.begin(1, undefined, NO_TOKEN, 0);
    search.observe(1, layerOfMap(known[0].map, shape, 1), 0);
    search.observe(2, layerOfMap(known[0].map, shape, 2), 0);
    expect(take(search)).toEqual([]);
    expect(play(search, known[0].map, undefined)).toHaveLength(4);
  });

  test("forecasts that were not taken before their layers ran come too late", () => {
    const { store, known } = filledStore();
    const search = new InlineSearch({ store });
    search.begin(1, known[0].embedding, NO_TOKEN, 0);
    for (let layer = 0; layer < 6; layer++) search.observe(layer, layerOfMap(known[0].map, shape, layer), 0);
    expect(take(search)).toEqual([]);
    expect(search.counters()).toMatchObject({ tooLate: 5 });
    search.begin(2, known[0].embedding, NO_TOKEN, 0);
    search.begin(3, known[0].embedding, NO_TOKEN, 0);
    expect(take(search)).toHaveLength(1);
    expect(search.counters()).toMatchObject({ tooLate: 6, droppedForecasts: 0 });
  });
});

describe("timed search", () => {
  const cost = { fixedMs: 1, msPerValue: 0 };

  test("a forecast can be taken when its search has ended, one after another", () => {
    const { store, known } = filledStore();
    const search = new TimedSearch({ store, cost });
    search.begin(1, known[0].embedding, NO_TOKEN, 10);
    expect(take(search, 10.9)).toHaveLength(0);
    search.observe(0, layerOfMap(known[0].map, shape, 0), 10.9);
    expect(take(search, 11)).toMatchObject([{ kind: "semantic" }]);
    expect(take(search, 11.9)).toHaveLength(0);
    expect(take(search, 12)).toMatchObject([{ kind: "trajectory", targets: [2], rows: [0] }]);
    expect(search.counters().p50Us).toBeGreaterThan(900);
    expect(search.counters().p99Us).toBeLessThan(1100);
  });

  test("what is stale when the searcher gets to it is given up, but its layers still count", () => {
    const { store, known } = filledStore();
    const search = new TimedSearch({ store, cost: { fixedMs: 10, msPerValue: 0 } });
    search.begin(1, known[4].embedding, NO_TOKEN, 0);
    for (let layer = 0; layer < 4; layer++) search.observe(layer, layerOfMap(known[4].map, shape, layer), layer);
    // At 10 ms the semantic search has ended, too late; the layers 2 and 3 have passed, 4 and 5 are ahead.
    expect(take(search, 100)).toMatchObject([
      { source: 2, targets: [4], rows: [4] },
      { source: 3, targets: [5], rows: [4] },
    ]);
    expect(search.counters()).toMatchObject({ staleContexts: 2, tooLate: 1, trajectorySearches: 2 });
    search.begin(2, known[4].embedding, NO_TOKEN, 200);
    search.begin(3, known[4].embedding, NO_TOKEN, 201);
    expect(take(search, 300)).toHaveLength(1);
  });

  test("a full queue drops contexts and updates; the next context carries the layers", () => {
    const { store, known } = filledStore();
    const search = new TimedSearch({ store, queue: 2, cost: { fixedMs: 10, msPerValue: 0 } });
    const layer = (l: number, nowMs: number) => search.observe(l, layerOfMap(known[7].map, shape, l), nowMs);
    search.begin(1, known[7].embedding, NO_TOKEN, 0);
    layer(0, 1);
    layer(1, 2);
    layer(2, 3);
    search.update(undefined, known[0].map, 1, 4);
    expect(search.counters()).toMatchObject({ droppedContexts: 1, droppedUpdates: 1 });
    take(search, 20);
    layer(3, 20);
    expect(take(search, 40)).toMatchObject([{ source: 3, targets: [5], rows: [7] }]);
    expect(take(search, 40)).toEqual([]);
    const [best] = play(new InlineSearch({ store }), known[7].map, undefined).slice(-1);
    expect(best).toMatchObject({ source: 3, rows: [7] });
  });

  test("decides the same each time", () => {
    const run = () => {
      const { store } = filledStore({ capacity: 10 }, 10);
      const search = new TimedSearch({ store, cost: { fixedMs: 0.05, msPerValue: 1e-4 } });
      const random = randomNumbers(9);
      const all: Taken[] = [];
      let nowMs = 0;
      for (let iteration = 0; iteration < 30; iteration++) {
        const map = randomMap(shape, random);
        search.begin(iteration, randomEmbedding(shape, random), NO_TOKEN, nowMs);
        for (let layer = 0; layer < shape.layers; layer++) {
          nowMs += 0.2 * random();
          search.observe(layer, layerOfMap(map, shape, layer), nowMs);
          all.push(...take(search, nowMs));
        }
        search.update(undefined, map, iteration, nowMs);
      }
      search.close();
      return { all, counters: search.counters(), version: store.version };
    };
    const first = run();
    expect(first.all.length).toBeGreaterThan(10);
    expect(run()).toEqual(first);
    expect(first.version).toBe(40 - first.counters.droppedUpdates);
  });
});

describe("search in a thread", () => {
  /** As the model's thread does it: without going back to the event loop. */
  function takeWithin(search: MapSearch, timeoutMs: number): Taken[] {
    const end = performance.now() + timeoutMs;
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (performance.now() < end) {
      const taken = take(search);
      if (taken.length > 0) return taken;
      Atomics.wait(pause, 0, 0, 1);
    }
    return [];
  }

  test("finds what the inline search finds, without the event loop, and stores updates", () => {
    const { store, known } = filledStore({ encoding: "u8" });
    const inline = play(new InlineSearch({ store, neighbours: 3 }), known[3].map, known[3].embedding);
    const search = new WorkerSearch({ store, neighbours: 3 });
    search.begin(1, known[3].embedding, NO_TOKEN, 0);
    const taken = takeWithin(search, 10_000);
    for (let layer = 0; layer < 4; layer++) {
      search.observe(layer, layerOfMap(known[3].map, shape, layer), 0);
      taken.push(...takeWithin(search, 10_000));
    }
    expect(taken).toEqual(inline);
    const { version } = store;
    for (let i = 0; i < 5; i++) search.update(known[i].embedding, known[i].map, 1, 0);
    search.close();
    expect(store.version).toBe(version + 5);
    const counters = search.counters();
    expect(counters).toMatchObject({
      semanticSearches: 1,
      trajectorySearches: 4,
      updates: 5,
      waits: 0,
      droppedContexts: 0,
    });
    expect(counters.p99Us).toBeGreaterThan(0);
    search.close();
  });

  test("publishing never waits: what a full queue refuses is counted", () => {
    const { store, known } = filledStore();
    const search = new WorkerSearch({ store, queue: 2 });
    // The thread takes longer than this to start.
    for (let i = 0; i < 50; i++) search.update(undefined, known[0].map, 1, 0);
    const { updates, droppedUpdates } = search.counters();
    expect(updates + droppedUpdates).toBeLessThanOrEqual(50);
    expect(droppedUpdates).toBeGreaterThan(0);
    search.close();
    expect(search.counters().updates + droppedUpdates).toBe(50);
  });

  test("an error in the thread surfaces at the next look", async () => {
    const { store, known } = filledStore();
    const { shared } = store;
    // Three bytes are no row of floats.
    const damaged = Object.create(store, {
      shared: { value: { ...shared, maps: { ...shared.maps, values: new SharedArrayBuffer(3) } } },
    }) as ExpertMapStore;
    const failing = new WorkerSearch({ store: damaged });
    failing.begin(1, known[0].embedding, NO_TOKEN, 0);
    const end = performance.now() + 10_000;
    let error: unknown;
    while (error === undefined && performance.now() < end) {
      await sleep(1);
      try {
        take(failing);
      } catch (caught) {
        error = caught;
      }
    }
    expect(error).toBeInstanceOf(MapSearchError);
    expect(() => failing.observe(0, new Float32Array(5), 0)).toThrow(MapSearchError);
    expect(() => failing.close()).toThrow(MapSearchError);
  });
});
