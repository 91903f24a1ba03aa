import { describe, expect, test } from "vitest";
import { type RecordedRouting, routerEvent, routing } from "../../cache/replay.test-data.ts";
import type { ModelShape } from "../../cache/shape.ts";
import { TokenMemory } from "./token-memory.ts";

const shape: ModelShape = { layers: 2, experts: 8, expertsUsed: 2, expertBytes: [10, 10] };

function begin(memory: TokenMemory, ...ids: number[]): boolean {
  const tokenIds = Int32Array.from(ids);
  const rest = { phase: "decode", iteration: 0, request: 0, nowMs: 0, embeddings: undefined } as const;
  return memory.begin({ ...rest, tokens: ids.length, tokenIds });
}

function pass(memory: TokenMemory, ids: readonly number[], ...layers: readonly (readonly (readonly number[])[])[]) {
  const known = begin(memory, ...ids);
  layers.forEach((tokens, layer) => {
    const stop: RecordedRouting = routing(shape, layer, tokens);
    memory.observe(routerEvent(stop));
  });
  return known;
}

describe("a token's memory", () => {
  test("tells which experts the token used, in each layer, and not those of others", () => {
    const memory = new TokenMemory(shape);
    expect(pass(memory, [5], [[0, 1]], [[2, 3]])).toBe(false);
    expect(pass(memory, [6], [[4, 5]], [[6, 7]])).toBe(false);
    expect(begin(memory, 5)).toBe(true);
    // One occurrence and half of one that used every expert equally.
    const mean = 0.25;
    for (const [key, share] of [...memory.shares].entries())
      expect(share).toBeCloseTo([0, 1, 10, 11].includes(key) ? (1 + 0.5 * mean) / 1.5 : (0.5 * mean) / 1.5);
  });

  test("is of the last occurrences", () => {
    const memory = new TokenMemory(shape);
    for (let i = 0; i < 3; i++) pass(memory, [5], [[0, 1]], [[0, 1]]);
    for (let i = 0; i < 6; i++) pass(memory, [5], [[2, 3]], [[2, 3]]);
    begin(memory, 5);
    expect(memory.shares[2]).toBeGreaterThan(0.9);
    expect(memory.shares[0]).toBeLessThan(0.05);
  });

  test("takes in every token of a prompt, and skips the layer that ran only some of them", () => {
    const memory = new TokenMemory(shape);
    pass(
      memory,
      [5, 6],
      [
        [0, 1],
        [4, 5],
      ],
      [[7, 6]],
    );
    begin(memory, 6);
    expect([...memory.shares].flatMap((share, key) => (share > 0.5 ? [key] : []))).toEqual([4, 5]);
  });

  test("knows nothing of a token whose id the host does not know", () => {
    const memory = new TokenMemory(shape);
    pass(memory, [-1], [[0, 1]], [[0, 1]]);
    expect(begin(memory, -1)).toBe(false);
  });

  test("forgets a token whose place another took", () => {
    const memory = new TokenMemory(shape);
    pass(memory, [5], [[0, 1]], [[2, 3]]);
    pass(memory, [5 + memory.places], [[4, 5]], [[6, 7]]);
    expect(begin(memory, 5)).toBe(false);
  });
});
