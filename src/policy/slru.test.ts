import { describe, expect, test } from "vitest";
import type { ModelShape } from "../cache/shape.ts";
import { drive } from "./driven-policy.test-data.ts";
import { lru } from "./lru.ts";
import { slru } from "./slru.ts";

const shape: ModelShape = { layers: 1, experts: 8, expertsUsed: 1, expertBytes: [10] };

function heldAfter(policy: ReturnType<typeof slru>, slots: number, chosen: readonly number[]): number[] {
  const { iteration, routed, arrive, held } = drive(shape, slots * 10, policy);
  for (const expert of chosen) {
    iteration();
    routed(0, [[expert]]);
    arrive();
  }
  return held();
}

describe("slru", () => {
  test("what is used once does not push out what is used again", () => {
    const scan = [0, 0, 1, 1, 2, 3, 4, 5];
    expect(heldAfter(slru({ protectedShare: 0.5 }), 4, scan)).toEqual([0, 1, 4, 5]);
    expect(heldAfter(lru(), 4, scan)).toEqual([2, 3, 4, 5]);
  });

  test("the oldest of a full protected segment goes back on probation, as its newest", () => {
    // 0, 1 and 2 were used twice, two of them fit: 0 is on probation again, newer than 3.
    expect(heldAfter(slru({ protectedShare: 0.5 }), 4, [0, 0, 1, 1, 3, 2, 2, 4])).toEqual([0, 1, 2, 4]);
    expect(heldAfter(slru({ protectedShare: 0.5 }), 4, [0, 0, 1, 1, 3, 2, 2, 4, 5])).toEqual([1, 2, 4, 5]);
  });

  test("without protection it is LRU", () => {
    const chosen = [0, 1, 0, 2, 3, 1, 4, 0, 5, 6, 0, 2];
    expect(heldAfter(slru({ protectedShare: 0 }), 3, chosen)).toEqual(heldAfter(lru(), 3, chosen));
  });
});
