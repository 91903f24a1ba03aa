import { describe, expect, test } from "vitest";
import type { ExpertKey } from "../../cache/shape.ts";
import { totalCounters } from "../../cache/statistics.ts";
import { policyByName } from "../by-name.ts";
import { PolicySwitchError } from "../policy-switches.ts";
import { driveFineMoe, rowOf } from "./driven-finemoe.test-data.ts";
import { syntheticText, topOf } from "./synthetic-text.test-data.ts";

const text = syntheticText();
const { shape } = text;
const total = shape.layers * shape.experts;
const keysOf = (layer: number, map: ArrayLike<number>) =>
  topOf(rowOf(shape, map, layer), shape.expertsUsed).map((expert) => (layer * shape.experts + expert) as ExpertKey);

describe("finemoe", () => {
  test("edge 1: with an empty store nothing is forecast and nothing read ahead", () => {
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=2", { slots: total });
    driven.begin([3]);
    driven.route(0, [rowOf(shape, text.map(3), 0)]);
    driven.arrive();
    driven.told();
    expect(driven.speculate()).toBe(0);
    expect(driven.told()).toEqual([]);
    // Semantic and trajectory search have run and found nothing.
    expect(driven.figures()).toMatchObject({ forecastLayers: 0, searchesWithoutMatch: 2, storeRows: 0, readsAhead: 0 });
  });

  test("a token seen before is read ahead, the likelier and the sooner first, one at a time", () => {
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=3", { slots: total });
    const map = text.map(2);
    driven.token(2, map);
    for (const key of Array.from({ length: total }, (_, i) => i as ExpertKey)) {
      // Empties the cache, as eviction would.
      if (driven.cache.has(key)) driven.cache.cancelled(key);
    }
    const again = driveFineMoe(shape, "finemoe:mode=inline,distance=3", {
      slots: total,
      resources: { learned: driven.policy.learned?.() ?? new Uint8Array() },
    });
    again.begin([2]);
    const ahead: string[] = [];
    while (again.speculate() > 0) {
      ahead.push(...again.told());
      expect(again.speculate()).toBe(0);
      again.arrive();
    }
    // The semantic search plans the first three layers; p / (t + 1) is the order.
    const expected = [0, 1, 2]
      .flatMap((layer) => keysOf(layer, map).map((key) => ({ key, priority: map[key] / (layer + 1) })))
      .sort((a, b) => b.priority - a.priority)
      .map(({ key }) => `prefetch ${key}`);
    expect(ahead).toEqual(expected);
    expect(again.figures()).toMatchObject({
      forecastLayers: 3,
      selectedK: 3,
      scoreTo100: 3,
      iterationsByTokenIdOnly: 1,
    });
  });

  test("each layer's router makes a forecast for the layer d ahead", () => {
    const first = driveFineMoe(shape, "finemoe:mode=inline,distance=2", { slots: total });
    const map = text.map(1);
    first.token(1, map);
    const learned = first.policy.learned?.() ?? new Uint8Array();
    // Another token id without embeddings: no semantic match, the trajectory is the same.
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=2,inflight=8", {
      slots: total,
      resources: { learned },
    });
    driven.begin([4]);
    expect(driven.speculate()).toBe(0);
    driven.route(0, [rowOf(shape, map, 0)]);
    driven.arrive();
    driven.told();
    driven.speculate();
    expect(driven.told().sort()).toEqual(
      keysOf(2, map)
        .map((key) => `prefetch ${key}`)
        .sort(),
    );
  });

  test("edge 4: with d of all layers or more there is no trajectory search, with d = 1 layer 0 alone is semantic", () => {
    for (const [distance, semantic, trajectory] of [
      [64, shape.layers, 0],
      [shape.layers, shape.layers, 0],
      [1, 1, shape.layers - 1],
      [3, 3, shape.layers - 3],
      [shape.layers - 1, shape.layers - 1, 1],
    ]) {
      const name = `finemoe:mode=inline,distance=${distance}`;
      const first = driveFineMoe(shape, name, { slots: total });
      first.token(0, text.map(0));
      const learned = first.policy.learned?.() ?? new Uint8Array();
      const driven = driveFineMoe(shape, name, { slots: total, resources: { learned } });
      driven.begin([0]);
      expect(driven.figures().forecastLayers).toBe(semantic);
      for (let layer = 0; layer < shape.layers; layer++) driven.route(layer, [rowOf(shape, text.map(0), layer)]);
      // No gap, no overlap: every layer was forecast once, and scored 1 by its own row.
      expect(driven.figures()).toMatchObject({
        forecastLayers: shape.layers,
        trajectorySearches: trajectory,
        scoreTo100: shape.layers,
        forecastUses: shape.layers * shape.expertsUsed,
        forecastUsesSelected: shape.layers * shape.expertsUsed,
      });
    }
  });

  test("edge 2: rows that are no distributions are refused by the store, and counted", () => {
    const driven = driveFineMoe(shape, "finemoe:mode=inline", { slots: total });
    driven.begin([0]);
    for (let layer = 0; layer < shape.layers; layer++) {
      const row = rowOf(shape, text.map(0), layer);
      if (layer === 3) row[0] = Number.NaN;
      driven.route(layer, [row]);
      driven.arrive();
    }
    driven.begin([0]);
    expect(driven.figures()).toMatchObject({ storeRows: 0, storeRowsRefused: 1 });
  });

  test("edge 7: what is found when its layer has run is dropped, and counted", () => {
    const name = "finemoe:mode=timed,distance=1,plan=exact";
    const first = driveFineMoe(shape, name, { slots: total });
    first.token(0, text.map(0));
    const learned = first.policy.learned?.() ?? new Uint8Array();
    const driven = driveFineMoe(shape, name, { slots: total, resources: { learned } });
    // Layers follow each other faster than a search takes (0.05 ms).
    driven.begin([0]);
    for (let layer = 0; layer < shape.layers; layer++) {
      driven.wait(0.01);
      driven.route(layer, [rowOf(shape, text.map(0), layer)]);
    }
    driven.wait(10);
    driven.begin([1]);
    const { forecastsTooLate, contextsStale, forecastLayersLate, forecastLayers } = driven.figures();
    expect(forecastsTooLate + contextsStale + forecastLayersLate).toBeGreaterThanOrEqual(shape.layers - 1);
    expect(forecastLayers).toBeLessThanOrEqual(1);
  });

  test("edge 8: a row that replaces another while a token runs is what its searches find", () => {
    // The row of a token is stored while the next one runs, between its start and its first router.
    const driven = driveFineMoe(shape, "finemoe:mode=timed,distance=3,capacity=1", { slots: total });
    for (const id of [0, 1, 1]) {
      driven.begin([id]);
      for (let layer = 0; layer < shape.layers; layer++) {
        driven.wait(0.1);
        driven.route(layer, [rowOf(shape, text.map(id), layer)]);
      }
    }
    driven.wait(10);
    driven.begin([0]);
    const figures = driven.figures();
    expect(figures.storeRowsReplaced).toBeGreaterThan(0);
    expect(figures.scoreTo100).toBeGreaterThan(0);
    expect(figures.storeRows).toBe(1);
  });

  test("edge 10: an expert that is on its way when it is demanded is a late hit and never read twice", () => {
    const first = driveFineMoe(shape, "finemoe:mode=inline,distance=2", { slots: total });
    const map = text.map(5);
    first.token(5, map);
    const learned = first.policy.learned?.() ?? new Uint8Array();
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=2,inflight=4", {
      slots: total,
      resources: { learned },
    });
    driven.begin([5]);
    driven.speculate();
    driven.route(0, [rowOf(shape, map, 0)]);
    expect(driven.told().filter((event) => keysOf(0, map).some((key) => event.endsWith(` ${key}`)))).toEqual(
      keysOf(0, map).map((key) => `prefetch ${key}`),
    );
    expect(totalCounters(driven.cache.statistics())).toMatchObject({ lateHits: 2, hits: 0, misses: 0 });
    driven.arrive();
    expect(driven.cache.awaitingCount).toBe(0);
  });

  test("edges 11 and 16: of several tokens in a step each is searched, read ahead is the union, with the highest probability", () => {
    const first = driveFineMoe(shape, "finemoe:mode=inline,distance=2", { slots: total });
    for (const id of [0, 1, 2]) first.token(id, text.map(id));
    const learned = first.policy.learned?.() ?? new Uint8Array();
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=2,inflight=64", {
      slots: total,
      resources: { learned },
    });
    driven.begin([0, 2]);
    driven.speculate();
    const both = [0, 1].flatMap((layer) => [...keysOf(layer, text.map(0)), ...keysOf(layer, text.map(2))]);
    expect(driven.told().sort()).toEqual([...new Set(both)].map((key) => `prefetch ${key}`).sort());
    driven.arrive();
    for (let layer = 0; layer < shape.layers; layer++) {
      driven.route(layer, [rowOf(shape, text.map(0), layer), rowOf(shape, text.map(2), layer)]);
      driven.arrive();
    }
    driven.begin([4]);
    // Each of the two became a row of its own.
    expect(driven.figures()).toMatchObject({ semanticSearches: 3, storeRows: 5 });
  });

  test("edge 12: a full queue drops contexts and says so, and nothing waits", () => {
    const driven = driveFineMoe(shape, "finemoe:mode=timed,distance=1,queue=1", { slots: total });
    for (const id of [0, 1, 0, 1]) driven.token(id, text.map(id));
    const { contextsDropped, storeUpdatesDropped, searchWaits } = driven.figures();
    expect(contextsDropped).toBeGreaterThan(0);
    expect(storeUpdatesDropped).toBeGreaterThan(0);
    expect(searchWaits).toBe(0);
  });

  test("a prompt is not forecast unless told to, becomes one row, and makes probabilities uniform", () => {
    const rows = (ids: readonly number[], layer: number) => ids.map((id) => rowOf(shape, text.map(id), layer));
    for (const [name, searches] of [
      ["finemoe:mode=inline", 0],
      ["finemoe:mode=inline,prefill=on", 1],
    ] as const) {
      const driven = driveFineMoe(shape, name, { slots: total });
      driven.token(1, text.map(1));
      const { semanticSearches: before } = driven.figures();
      driven.begin([0, 1, 2], { phase: "prefill", request: 1 });
      expect(driven.figures().semanticSearches - before).toBe(searches);
      for (let layer = 0; layer < shape.layers; layer++) {
        // The last layer computes the token whose output is wanted.
        driven.route(layer, rows(layer === shape.layers - 1 ? [2] : [0, 1, 2], layer));
        driven.arrive();
      }
      driven.begin([3]);
      expect(driven.figures().storeRows).toBe(2);
    }
  });

  test("record=token keeps every token of a prompt, record=mean one mean", () => {
    for (const [record, rows] of [
      ["token", 3],
      ["mean", 1],
      ["last-token", 1],
    ] as const) {
      const driven = driveFineMoe(shape, `finemoe:mode=inline,record=${record}`, { slots: total });
      driven.begin([0, 1, 2], { phase: "prefill" });
      for (let layer = 0; layer < shape.layers; layer++) {
        driven.route(
          layer,
          [0, 1, 2].map((id) => rowOf(shape, text.map(id), layer)),
        );
        driven.arrive();
      }
      driven.begin([0]);
      expect(driven.figures().storeRows).toBe(rows);
    }
  });

  test("a frozen store that was given takes no row, one that starts empty is filled", () => {
    const first = driveFineMoe(shape, "finemoe:mode=inline,store=frozen", { slots: total });
    first.token(0, text.map(0));
    const learned = first.policy.learned?.() ?? new Uint8Array();
    const driven = driveFineMoe(shape, "finemoe:mode=inline,store=frozen", { slots: total, resources: { learned } });
    driven.token(1, text.map(1));
    driven.begin([1]);
    expect(driven.figures()).toMatchObject({ storeRows: 1, storeFrozen: 1 });
    expect(driven.policy.learned?.()).toEqual(learned);
  });

  test("edge 13: maps of another shape or model are refused", () => {
    const first = driveFineMoe(shape, "finemoe:mode=inline", { slots: total, resources: { modelHash: "aa" } });
    first.token(0, text.map(0));
    const maps = first.policy.learned?.() ?? new Uint8Array();
    const other = { ...shape, experts: 9 };
    expect(() => driveFineMoe(other, "finemoe", { slots: total, resources: { maps } })).toThrow(/6 layers x 8 experts/);
    expect(() => driveFineMoe(shape, "finemoe", { slots: total, resources: { maps, modelHash: "bb" } })).toThrow(/aa/);
  });

  test("embeddings are used where there are any: tokens never seen find the nearest", () => {
    const embedding = (...values: number[]) => ({ embeddings: Float32Array.from(values) });
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=2", { slots: total });
    driven.token(0, text.map(0), embedding(1, 0, 0, 0));
    driven.token(1, text.map(1), embedding(0, 1, 0, 0));
    const learned = driven.policy.learned?.() ?? new Uint8Array();
    const again = driveFineMoe(shape, "finemoe:mode=inline,distance=2,inflight=64", {
      slots: total,
      resources: { learned },
    });
    again.begin([5], embedding(0.1, 2, 0.1, 0));
    again.speculate();
    const expected = [0, 1].flatMap((layer) => keysOf(layer, text.map(1)));
    expect(again.told().sort()).toEqual(expected.map((key) => `prefetch ${key}`).sort());
    expect(again.figures().iterationsByTokenIdOnly).toBe(0);
    // Made without embeddings, a store still serves a model that has them: by token ids.
    const bare = driveFineMoe({ ...shape, hiddenSize: 0 }, "finemoe:mode=inline", { slots: total });
    bare.token(0, text.map(0));
    const byId = driveFineMoe(shape, "finemoe:mode=inline", {
      slots: total,
      resources: { maps: bare.policy.learned?.() ?? new Uint8Array() },
    });
    byId.begin([0], embedding(1, 0, 0, 0));
    expect(byId.figures()).toMatchObject({ iterationsByTokenIdOnly: 1, scoreTo100: 6 });
  });

  test("switches that it does not have, or values that they cannot take, are refused", () => {
    expect(() => policyByName("finemoe:ensemble=on")).toThrow(PolicySwitchError);
    expect(() => policyByName("finemoe:threshold=none")).toThrow(/one of paper, coverage, fixed-k, budget/);
    expect(() => policyByName("finemoe:distance=0")).toThrow(/from 1 to 64/);
    expect(policyByName("finemoe-plus:ensemble=off,neighbours=1").needs.nextGate).toBe(false);
    expect(policyByName("finemoe-plus").needs.nextGate).toBe(true);
  });
});
