import { describe, expect, test } from "vitest";
import type { ModelShape } from "../cache/shape.ts";
import { drive } from "./driven-policy.test-data.ts";
import { LearnedStateError } from "./learned-state-error.ts";
import { lfu } from "./lfu.ts";
import { layerProximity, type MoeInfinityOptions, moeInfinity } from "./moe-infinity.ts";

const shape: ModelShape = { layers: 4, experts: 4, expertsUsed: 1, expertBytes: [10, 10, 10, 10] };
const key = (layer: number, expert: number) => layer * 4 + expert;

/** A cache that holds everything unless told otherwise, and nothing but what was read ahead in the token asked for. */
function open(options: MoeInfinityOptions = {}, slots = 16) {
  const policy = moeInfinity(options);
  const driven = drive(shape, slots * 10, policy);
  const { iteration, routed, arrive } = driven;
  /** One token of a request: its choice in each layer. */
  const token = (request: number, choices: readonly number[], phase: "prefill" | "decode" = "decode") => {
    iteration(request, phase);
    choices.forEach((expert, layer) => {
      routed(layer, [[expert]]);
      arrive();
    });
  };
  return { ...driven, policy, token };
}

/** What a fresh cache reads ahead in a new request once its first layer has chosen `expert`, everything else absent. */
function readAhead(options: MoeInfinityOptions, learned: Uint8Array | undefined, expert: number): number[] {
  const { iteration, routed, arrive, told, cache } = open({ ...options, learned });
  iteration(100);
  routed(0, [[expert]]);
  arrive();
  told();
  cache.speculate(1000);
  return told().map((line) => Number(line.replace("prefetch ", "")));
}

const A = [0, 1, 2, 3];
const B = [1, 0, 3, 2];

describe("moe-infinity", () => {
  test("layer proximity, by hand, of four layers", () => {
    const table = [-1, 0, 1, 2].map((now) =>
      [0, 1, 2, 3].filter((layer) => layer > now).map((layer) => layerProximity(layer, now, 4)),
    );
    expect(table).toEqual([[0.75, 0.5, 0.25, 0], [0.75, 0.5, 0.25], [0.75, 0.5], [0.75]]);
  });

  test("a repeated request is predicted from its own matrix", () => {
    const { token, policy } = open();
    for (let i = 0; i < 3; i++) token(0, A);
    for (let i = 0; i < 3; i++) token(1, B);
    const learned = policy.learned?.();
    expect(readAhead({}, learned, 0)).toEqual([key(1, 1), key(2, 2), key(3, 3)]);
    expect(readAhead({}, learned, 1)).toEqual([key(1, 0), key(2, 3), key(3, 2)]);
  });

  test("reads ahead in descending order of share times proximity, over all later layers", () => {
    // Layer 1: shares 1/2 and 1/2, times .75; layer 2: 1 times .5; layer 3: 3/4 and 1/4 times .25.
    const { token, policy } = open();
    for (const choices of [
      [0, 1, 2, 3],
      [0, 2, 2, 3],
      [0, 1, 2, 3],
      [0, 2, 2, 0],
    ])
      token(0, choices);
    expect(readAhead({}, policy.learned?.(), 0)).toEqual([key(2, 2), key(1, 1), key(1, 2), key(3, 3), key(3, 0)]);
  });

  test("before the first layer of a pass popularity predicts, whatever is in the collection", () => {
    const { token, policy } = open();
    for (let i = 0; i < 3; i++) token(0, A);
    for (let i = 0; i < 2; i++) token(1, B);
    const { iteration, told, cache } = open({ learned: policy.learned?.() });
    iteration(7);
    cache.speculate(20);
    // Share 3/5 of A's first two layers, times .75 and .5; B's first has 2/5 times .75.
    expect(told()).toEqual([`prefetch ${key(0, 0)}`, `prefetch ${key(0, 1)}`]);
    expect(policy.prefetchesAtStart).toBe(true);
  });

  test("with an empty collection the experts used most are read ahead", () => {
    const { iteration, routed, arrive, told, cache } = open({}, 2);
    for (const choices of [
      [0, 1, 1, 1],
      [0, 1, 1, 1],
    ]) {
      iteration(0);
      choices.forEach((expert, layer) => {
        routed(layer, [[expert]]);
        arrive();
      });
    }
    iteration(0);
    routed(0, [[0]]);
    arrive();
    told();
    cache.speculate(10);
    expect(told().at(-1)).toBe(`prefetch ${key(1, 1)}`);
    expect(cache.policy.figures?.()).toMatchObject({ eamMatches: 0 });
  });

  test("gives up the least used of the later layers first: Algorithm 1", () => {
    const { token, iteration, routed, arrive, told } = open({}, 5);
    token(0, A);
    told();
    iteration(1);
    // Of the four that are there each is all of its layer's share: weights 1, 3/4, 1/2 and 1/4.
    routed(0, [[1]]);
    arrive();
    routed(1, [[2]]);
    expect(told().filter((line) => line.startsWith("evict"))).toEqual([`evict ${key(0, 1)}`]);
    routed(2, [[0]]);
    expect(told().filter((line) => line.startsWith("evict"))).toEqual([`evict ${key(3, 3)}`]);
  });

  test("prefill and decode have collections of their own", () => {
    const { token, policy } = open();
    token(0, A, "prefill");
    token(0, B, "decode");
    token(1, [2, 2, 2, 2], "decode");
    const { iteration, routed, arrive, told, cache } = open({ learned: policy.learned?.() });
    iteration(5, "prefill");
    routed(0, [[1]]);
    arrive();
    told();
    cache.speculate(10);
    // B began with 1, but only as a decoded request; of the prompts there is A alone.
    expect(told()).toEqual([`prefetch ${key(1, 1)}`]);
  });

  test("a sum blends what several requests did", () => {
    const { token, policy } = open();
    token(0, [0, 1, 1, 1]);
    token(1, [0, 2, 1, 1]);
    const learned = policy.learned?.();
    expect(readAhead({ match: "best" }, learned, 0)).toEqual([key(1, 1), key(2, 1), key(3, 1)]);
    expect(readAhead({ match: "sum" }, learned, 0)).toEqual([key(2, 1), key(1, 1), key(1, 2), key(3, 1)]);
  });

  test("what was learned is kept to the last request, within the capacity, and only for its shape", () => {
    const { token, policy } = open();
    token(0, A);
    token(1, B);
    const learned = policy.learned?.() as Uint8Array;
    // One place: the request that came last stays.
    expect(readAhead({ eamc: 1 }, learned, 0)).toEqual([key(1, 0), key(2, 3), key(3, 2)]);
    const again = open({ learned }).policy.learned?.();
    expect(again).toEqual(learned);
    const other = { ...shape, layers: 2, expertBytes: [10, 10] };
    expect(() => drive(other, 80, moeInfinity({ learned }))).toThrow(LearnedStateError);
    expect(() => drive(shape, 80, moeInfinity({ learned: learned.subarray(0, 30) }))).toThrow(/wrong length/);
    expect(() => drive(shape, 80, moeInfinity({ learned: new Uint8Array(3) }))).toThrow(/another format/);
  });
});

describe("moe-infinity-shipped", () => {
  test("counts uses only while an expert is cached", () => {
    const one: ModelShape = { layers: 1, experts: 4, expertsUsed: 1, expertBytes: [10] };
    const evictions = (policy: ReturnType<typeof lfu>) => {
      const { iteration, routed, arrive, told } = drive(one, 20, policy);
      for (const expert of [0, 0, 0, 1, 1, 1, 1, 2, 2, 0, 3]) {
        iteration();
        routed(0, [[expert]]);
        arrive();
      }
      return told().filter((line) => line.startsWith("evict"));
    };
    // 0 comes back after three uses that LFU remembers.
    expect(evictions(lfu())).toEqual(["evict 0", "evict 2", "evict 1"]);
    expect(evictions(lfu({ sinceLoaded: true }))).toEqual(["evict 0", "evict 2", "evict 0"]);
    expect(lfu({ sinceLoaded: true }).name).toBe("moe-infinity-shipped");
  });
});
