import { describe, expect, test } from "vitest";
import { routerEvent, routing } from "../../cache/replay.test-data.ts";
import { BlockUses } from "./block-uses.ts";

const shape = { layers: 2, experts: 4, expertsUsed: 1, expertBytes: [1, 1] };

/** Tokens use the expert of their position modulo 4 in layer 0, and expert 3 in layer 1. */
function run(uses: BlockUses, from: number, to: number, { layers = 2, lastTokens = to - from } = {}) {
  uses.pass(from, to - from);
  const positions = Array.from({ length: to - from }, (_, i) => from + i);
  if (layers > 0)
    uses.routed(
      routerEvent(
        routing(
          shape,
          0,
          positions.map((position) => [position % 4]),
        ),
      ),
    );
  if (layers > 1)
    uses.routed(
      routerEvent(
        routing(
          shape,
          1,
          positions.slice(-lastTokens).map(() => [3]),
        ),
      ),
    );
}

function told(uses: BlockUses): [number, number[]][] {
  const blocks: [number, number[]][] = [];
  uses.settle((block, counts) => blocks.push([block, [...counts]]));
  return blocks;
}

const WHOLE = [1, 1, 1, 1, 0, 0, 0, 4];

describe("uses of a block", () => {
  test("are told once it is whole, however its tokens came", () => {
    const uses = new BlockUses(4, 2, 4);
    run(uses, 0, 6);
    expect(told(uses)).toEqual([[0, WHOLE]]);
    run(uses, 6, 7);
    expect(told(uses)).toEqual([]);
    run(uses, 7, 8);
    expect(told(uses)).toEqual([[1, WHOLE]]);
    expect(told(uses)).toEqual([]);
  });

  test("are not told when some of its tokens were not seen", () => {
    const uses = new BlockUses(4, 2, 4);
    run(uses, 2, 9);
    expect(told(uses)).toEqual([[1, WHOLE]]);
    // Somewhere else: the begun block is not the one that was seen.
    run(uses, 3, 8);
    expect(told(uses)).toEqual([[1, WHOLE]]);
  });

  test("are not told of a pass that was given up", () => {
    const uses = new BlockUses(4, 2, 4);
    run(uses, 0, 4, { layers: 0 });
    expect(told(uses)).toEqual([]);
    run(uses, 0, 4);
    expect(told(uses)).toEqual([[0, WHOLE]]);
  });

  test("of a last layer that runs only the last tokens are those tokens'", () => {
    const uses = new BlockUses(4, 2, 4);
    run(uses, 0, 8, { lastTokens: 1 });
    expect(told(uses)).toEqual([
      [0, [1, 1, 1, 1, 0, 0, 0, 0]],
      [1, [1, 1, 1, 1, 0, 0, 0, 1]],
    ]);
  });
});
