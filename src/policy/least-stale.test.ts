import { describe, expect, test } from "vitest";
import type { ModelShape } from "../cache/shape.ts";
import { drive } from "./driven-policy.test-data.ts";
import { type LeastStaleOptions, leastStale } from "./least-stale.ts";

const shape: ModelShape = { layers: 3, experts: 4, expertsUsed: 1, expertBytes: [10, 10, 10] };

/** The victims of a last stop in layer 1, after what `prepare` has done to a full cache. */
function victims(slots: number, options: LeastStaleOptions, passes: readonly (readonly number[])[]): string[] {
  const { iteration, routed, arrive, told } = drive(shape, slots * 10, leastStale(options));
  for (const pass of passes) {
    iteration();
    told();
    for (const key of pass) {
      routed(Math.floor(key / 4), [[key % 4]]);
      arrive();
    }
  }
  return told().filter((line) => line.startsWith("evict"));
}

describe("least-stale", () => {
  test("what the running pass has not touched goes first, first in first out", () => {
    // The second pass uses 0 again; 4 and 8 are of the first.
    expect(
      victims(3, {}, [
        [0, 4, 8],
        [0, 5],
      ]),
    ).toEqual(["evict 4"]);
    expect(
      victims(3, {}, [
        [0, 4, 8],
        [0, 5, 9],
      ]),
    ).toEqual(["evict 4", "evict 8"]);
  });

  test("only current ones are left: the first touched", () => {
    expect(
      victims(2, {}, [
        [0, 4],
        [0, 5, 9],
      ]),
    ).toEqual(["evict 4", "evict 0"]);
  });

  test("by layer: of the stale ones, that of the layer which comes round last", () => {
    // In layer 1, layer 2 is next and layer 0 has just passed; the stale one of layer 1 itself is a whole round away.
    expect(
      victims(4, { order: "layer" }, [
        [0, 4, 8],
        [1, 5],
      ]),
    ).toEqual(["evict 4"]);
    expect(
      victims(3, { order: "layer" }, [
        [0, 8],
        [1, 5],
      ]),
    ).toEqual(["evict 0"]);
    // First in first out gives up the layer that is needed next, as LRU does.
    expect(
      victims(3, {}, [
        [4, 8],
        [0, 1],
      ]),
    ).toEqual(["evict 4"]);
    expect(
      victims(3, { order: "layer" }, [
        [4, 8],
        [0, 1],
      ]),
    ).toEqual(["evict 8"]);
  });

  test("what was read ahead is current before its layer has run", () => {
    const { iteration, routed, arrive, told, cache, policy } = drive(shape, 30, leastStale());
    iteration();
    for (const key of [0, 4, 8]) {
      routed(Math.floor(key / 4), [[0]]);
      arrive();
    }
    iteration();
    routed(0, [[1]]);
    arrive();
    policy.prefetch = ({ residents }) => (residents.has(9 as never) ? (-1 as never) : (9 as never));
    cache.speculate(10);
    arrive();
    told();
    // 8 is stale, 9 is not, though both are of layer 2 and 9 is older than nothing else that could go.
    routed(1, [[2]]);
    expect(told()).toEqual(["evict 8", "demand 6"]);
  });
});
