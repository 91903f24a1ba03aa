import { describe, expect, test } from "vitest";
import type { ModelShape } from "../cache/shape.ts";
import { drive } from "./driven-policy.test-data.ts";
import { type MixtralOffloadOptions, mixtralOffload } from "./mixtral-offload.ts";

const shape: ModelShape = { layers: 2, experts: 6, expertsUsed: 2, expertBytes: [10, 10] };
/** Of layer 1 experts 4, then 2, are the likeliest: keys 10 and 8. */
const scores = [0, 1, 5, 2, 7, 3];

/** k experts in each layer, and buffers. */
function open(kept: number, options: MixtralOffloadOptions = {}) {
  const { buffers = 4 } = options;
  const driven = drive(shape, (2 * kept + buffers) * 10, mixtralOffload(options));
  /** A token: its choices in both layers, and what the second layer's router says in the first. */
  const token = (first: number[], second: number[], nextGate?: number[]) => {
    driven.iteration();
    driven.routed(0, [first], nextGate);
    driven.arrive();
    driven.cache.speculate(1000);
    driven.arrive();
    driven.routed(1, [second]);
    driven.arrive();
    driven.cache.releaseAll();
  };
  return { ...driven, token };
}

describe("mixtral-offload", () => {
  test("each layer keeps its k experts used last, whatever other layers need", () => {
    const { token, held } = open(2);
    token([0, 1], [0, 1]);
    token([2, 1], [0, 1]);
    token([3, 2], [0, 1]);
    token([3, 2], [4, 5]);
    expect(held()).toEqual([2, 3, 10, 11]);
  });

  test("k is what the budget leaves to each layer beside the buffers, and one at least", () => {
    const many = drive(shape, 110, mixtralOffload({ buffers: 5 }));
    for (const chosen of [
      [0, 1],
      [2, 3],
      [4, 5],
    ]) {
      many.iteration();
      many.routed(0, [chosen]);
      many.arrive();
    }
    many.cache.releaseAll();
    expect(many.held()).toEqual([2 + 1, 4, 5]);
    const few = drive(shape, 30, mixtralOffload());
    few.iteration();
    few.routed(0, [[0, 1]]);
    few.arrive();
    few.cache.releaseAll();
    expect(few.held()).toEqual([1]);
  });

  test("reads the next layer's likeliest experts ahead, best first, and one of them or none when told to", () => {
    const read = (options: MixtralOffloadOptions) => {
      const { iteration, routed, arrive, told, cache } = open(2, options);
      iteration();
      routed(0, [[0, 1]], scores);
      arrive();
      told();
      cache.speculate(1000);
      return told();
    };
    expect(read({})).toEqual(["prefetch 10", "prefetch 8"]);
    expect(read({ speculate: 1 })).toEqual(["prefetch 10"]);
    expect(read({ speculate: 0 })).toEqual([]);
    expect(mixtralOffload({ speculate: 0 }).needs.nextGate).toBe(false);
  });

  test("asks that nothing is read ahead while a demand waits", () => {
    expect(mixtralOffload().pausesForDemand).toBe(true);
  });

  test("an unused read ahead changes no cache order and frees its buffer", () => {
    const plain = open(2, { speculate: 0 });
    const speculating = open(2);
    for (const { token, told } of [plain, speculating]) {
      token([0, 1], [0, 1], scores);
      token([2, 1], [1, 3], scores);
      told();
      token([3, 1], [0, 5], [9, 8, 7, 6, 5, 4]);
    }
    const demands = (log: string[]) => log.filter((line) => !line.includes("prefetch"));
    expect(speculating.held()).toEqual(plain.held());
    const own = demands(plain.told());
    // 1 is there as a cached expert; 10 and 8 of the two tokens before are gone.
    expect(speculating.cache.statistics().decode).toMatchObject({ prefetchesWasted: 4, prefetchesUsed: 1 });
    expect(own.filter((line) => line.startsWith("evict"))).toEqual(
      demands(speculating.told()).filter((line) => line.startsWith("evict")),
    );
  });

  test("a used read ahead replaces the layer's least lately used", () => {
    const { token, told, held, cache } = open(2);
    token([0, 1], [0, 1]);
    told();
    token([0, 1], [4, 1], scores);
    expect(told()).toEqual(["prefetch 10", "prefetch 8", "evict 8", "evict 6"]);
    expect(held()).toEqual([0, 1, 7, 10]);
    expect(cache.statistics().decode).toMatchObject({ prefetchesUsed: 1, prefetchesWasted: 1 });
  });

  test("reads ahead never take the room of a cached expert", () => {
    const { iteration, routed, arrive, told, cache } = open(2, { buffers: 1 });
    for (const chosen of [
      [0, 1],
      [2, 3],
    ]) {
      iteration();
      routed(0, [chosen]);
      arrive();
      routed(1, [chosen]);
      arrive();
    }
    iteration();
    routed(0, [[2, 3]], scores);
    told();
    cache.speculate(1000);
    expect(told()).toEqual(["prefetch 10"]);
  });

  test("a prompt reads every expert once and leaves k in each layer", () => {
    const { iteration, routed, arrive, told, held, cache } = open(2);
    const prompt = [
      [0, 1],
      [2, 3],
      [4, 5],
    ];
    iteration(0, "prefill", 3);
    for (const layer of [0, 1]) {
      routed(layer, prompt);
      arrive();
    }
    cache.releaseAll();
    expect(told().filter((line) => line.startsWith("demand"))).toHaveLength(12);
    expect(held()).toHaveLength(4);
    expect(held()).toEqual([4, 5, 10, 11]);
  });
});
