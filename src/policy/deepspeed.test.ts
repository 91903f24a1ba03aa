import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Policy } from "../cache/policy.ts";
import { generatedRuns, type RecordedIteration, replay, routing } from "../cache/replay.test-data.ts";
import type { ModelShape } from "../cache/shape.ts";
import { totalCounters } from "../cache/statistics.ts";
import { deepspeed, layerStream } from "./deepspeed.ts";
import { drive } from "./driven-policy.test-data.ts";
import { onDemand } from "./on-demand.ts";

const shape: ModelShape = { layers: 3, experts: 4, expertsUsed: 1, expertBytes: [10, 10, 10] };
const whole = (layer: number) => routing(shape, layer, [[0, 1, 2, 3]]).experts;

/** What a stream does for policies that need whole layers: a layer's other experts behind those chosen. */
function wholeLayers(of: ModelShape, iterations: readonly RecordedIteration[]): readonly RecordedIteration[] {
  return iterations.map(({ phase, stops }) => ({
    phase,
    stops: stops.map((stop) => {
      const all = Array.from({ length: of.experts }, (_, expert) => stop.layer * of.experts + expert);
      return { ...stop, distinct: Int32Array.from(new Set([...stop.distinct, ...all])) };
    }),
  }));
}

describe("bytes of a token with an empty cache", () => {
  test("are all experts, or just those that were routed", () => {
    fc.assert(
      fc.property(generatedRuns({ maxTokens: 1, maxIterations: 1 }), ({ shape, iterations }) => {
        const { layers, experts, expertsUsed, expertBytes } = shape;
        const layerBytes = expertBytes.reduce((sum, bytes) => sum + bytes, 0);
        const budgetBytes = 2 * experts * Math.max(...expertBytes) * layers;
        const read = (policy: Policy, run = iterations) =>
          totalCounters(replay(shape, run, budgetBytes, policy)).bytesDemanded;
        for (const cache of [true, false])
          for (const policy of [deepspeed({ cache }), layerStream({ cache })])
            expect(read(policy, wholeLayers(shape, iterations))).toBe(layerBytes * experts);
        expect(read(onDemand())).toBe(layerBytes * expertsUsed);
      }),
    );
  });
});

describe("deepspeed", () => {
  test("keeps the experts used last, and without a cache none", () => {
    const run = (policy: Policy) => {
      const iteration: RecordedIteration = {
        phase: "decode",
        stops:
          wholeLayers(shape, [{ phase: "decode", stops: [0, 1, 2].map((layer) => routing(shape, layer, [[0]])) }])[0]
            ?.stops ?? [],
      };
      return totalCounters(replay(shape, [iteration, iteration, iteration], 120, policy));
    };
    expect(run(deepspeed()).hits).toBe(24);
    expect(run(deepspeed({ cache: false })).hits).toBe(0);
    expect(deepspeed({ cache: false }).name).toBe("deepspeed");
    for (const policy of [deepspeed(), deepspeed({ cache: false }), layerStream()])
      expect(policy.needs.wholeLayers).toBe(true);
  });
});

describe("layer-stream", () => {
  test("reads the next layer while this one runs, then the first again", () => {
    const { iteration, routed, arrive, told, cache } = drive(shape, 80, layerStream());
    iteration();
    routed(0, [[...whole(0)]]);
    arrive();
    told();
    cache.speculate(25);
    expect(told()).toEqual(["prefetch 4", "prefetch 5"]);
    cache.speculate(1000);
    arrive();
    expect(told()).toEqual(["prefetch 6", "prefetch 7"]);
    routed(1, [[...whole(1)]]);
    cache.speculate(1000);
    arrive();
    routed(2, [[...whole(2)]]);
    told();
    cache.speculate(1000);
    expect(told().filter((line) => line.startsWith("prefetch"))).toEqual([0, 1, 2, 3].map((key) => `prefetch ${key}`));
    expect(cache.statistics().decode.misses).toBe(4);
  });

  test("does not make room for the next layer out of the next layer", () => {
    // Room for all but two experts. Those of layer 1 are the oldest when it is read ahead in the second token.
    const { iteration, routed, arrive, told, cache } = drive(shape, 100, layerStream());
    for (let token = 0; token < 2; token++) {
      iteration();
      for (const layer of [0, 1, 2]) {
        routed(layer, [[...whole(layer)]]);
        arrive();
        told();
        if (token === 1 || layer === 2) cache.speculate(1000);
        arrive();
        const evicted = told().filter((line) => line.startsWith("evict"));
        const next = (layer + 1) % 3;
        for (const line of evicted) expect(Math.floor(Number(line.slice(6)) / 4)).not.toBe(next);
      }
    }
    expect(cache.statistics().decode.misses).toBe(12);
  });
});
