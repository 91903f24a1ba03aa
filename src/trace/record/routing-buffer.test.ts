import { describe, expect, test } from "vitest";
import type { RouterStop } from "../../llama/graph-hook.ts";
import { NO_ID } from "../trace.ts";
import { RoutingBuffer } from "./routing-buffer.ts";

/** A router's decision as the graph hands it over: choices and distributions by token. */
function stopOf(layer: number, chosen: readonly (readonly number[])[], distributions?: readonly (readonly number[])[]) {
  const stop: RouterStop = {
    layer,
    tokens: chosen.length,
    expertsUsed: chosen[0]?.length ?? 0,
    expert: (token, rank) => chosen[token][rank],
    setExpert: () => {
      throw new Error("A recorder changes nothing");
    },
    hasProbabilities: distributions !== undefined,
    scoring: distributions === undefined ? undefined : "softmax",
    readProbabilities: (into) => into.set((distributions ?? []).flat()),
    hasInput: false,
    readInput: () => {},
    inputAddress: 0,
    inputWidth: 0,
    routerWeights: 0,
    inputNormWeights: 0,
  };
  return stop;
}

const shape = { layers: 2, experts: 4, expertsUsed: 3, rows: 5 };
const HALF = [0.5, 0.25, 0.125, 0.125];

describe("the rows of a routing buffer", () => {
  test("are by token, then layer, from the first row on, in as many parts as the graph computes", () => {
    const buffer = new RoutingBuffer({ ...shape, probs: true });
    buffer.begin(2, 3);
    buffer.tap(stopOf(0, [[0, 1, 2]], [HALF]));
    buffer.tap(stopOf(1, [[3, 2, 1]], [HALF]));
    const two = [
      [1, 0, 3],
      [2, 3, 0],
    ];
    buffer.tap(stopOf(0, two, [HALF, HALF]));
    buffer.tap(stopOf(1, two, [HALF, HALF]));
    buffer.finish();
    const { experts, weights, probs, hidden } = buffer.rows(2, 5);
    expect(Array.from(experts)).toEqual([0, 1, 2, 3, 2, 1, 1, 0, 3, 1, 0, 3, 2, 3, 0, 2, 3, 0]);
    expect(Array.from(weights.subarray(0, 3)).map((w) => w.toFixed(6))).toEqual(["0.571429", "0.285714", "0.142857"]);
    expect(Array.from(probs!.subarray(0, 8))).toEqual([...HALF, ...HALF]);
    expect(hidden).toBeUndefined();
    // Nothing else was touched.
    expect(Array.from(buffer.rows(0, 2).experts).every((id) => id === 0)).toBe(true);
    expect(buffer.scoring).toBe("softmax");
  });

  test("have free places where a layer uses fewer experts, also after one that used more", () => {
    const buffer = new RoutingBuffer({ ...shape, layers: 1 });
    for (const chosen of [[0, 1, 2], [3]]) {
      buffer.begin(0, 1);
      buffer.tap(stopOf(0, [chosen], [HALF]));
      buffer.finish();
    }
    const { experts, weights } = buffer.rows(0, 1);
    expect(Array.from(experts)).toEqual([3, NO_ID, NO_ID]);
    expect(Array.from(weights)).toEqual([1, 0, 0]);
  });

  test("have no weights where there is no distribution", () => {
    const buffer = new RoutingBuffer({ ...shape, layers: 1 });
    buffer.begin(0, 1);
    buffer.tap(stopOf(0, [[2, 1, 0]]));
    buffer.finish();
    expect(Array.from(buffer.rows(0, 1).weights)).toEqual([0, 0, 0]);
    expect(buffer.scoring).toBeUndefined();
  });
});

describe("what is not as it should be", () => {
  test("a layer that was not seen, or not for all tokens, is named", () => {
    const buffer = new RoutingBuffer(shape);
    buffer.begin(0, 2);
    const both = [
      [0, 1, 2],
      [0, 1, 2],
    ];
    buffer.tap(stopOf(0, both));
    expect(() => buffer.finish()).toThrow(expect.objectContaining({ name: "RoutingNotSeenError", layer: 1 }));
    // The last layer of a batch in which only the last token wants logits.
    buffer.tap(stopOf(1, [[0, 1, 2]]));
    expect(() => buffer.finish()).toThrow("MoE layer 1: 1 of 2 tokens");
    buffer.tap(stopOf(1, []));
    expect(() => buffer.finish()).toThrow("MoE layer 1: 1 of 2 tokens");
    expect(() => buffer.tap(stopOf(1, both))).toThrow("more tokens than were given");
  });

  test("an expert that there is none of, and more experts than the file says", () => {
    const buffer = new RoutingBuffer(shape);
    const chosen = (experts: readonly number[]) => () => {
      buffer.begin(0, 1);
      buffer.tap(stopOf(0, [experts]));
    };
    expect(chosen([0, 4, 1])).toThrow(expect.objectContaining({ name: "RouterDecisionError" }));
    expect(chosen([0, -1, 1])).toThrow(expect.objectContaining({ name: "RouterDecisionError" }));
    expect(chosen([0, 1, 2, 3])).toThrow("uses 4 experts, the file says at most 3");
  });

  test("columns that the graph does not show", () => {
    const withProbs = new RoutingBuffer({ ...shape, probs: true });
    withProbs.begin(0, 1);
    expect(() => withProbs.tap(stopOf(1, [[0, 1, 2]]))).toThrow("Record without --probs");
    const withHidden = new RoutingBuffer({ ...shape, hiddenWidth: 8 });
    withHidden.begin(0, 1);
    expect(() => withHidden.tap(stopOf(1, [[0, 1, 2]], [HALF]))).toThrow("Record without --hidden");
    withHidden.begin(0, 1);
    const narrow = { ...stopOf(1, [[0, 1, 2]], [HALF]), hasInput: true, inputAddress: 4096, inputWidth: 6 };
    expect(() => withHidden.tap(narrow)).toThrow("has 6 values, not 8");
  });

  test("more rows than there is room for", () => {
    expect(() => new RoutingBuffer(shape).begin(3, 3)).toThrow("Rows 3 to 5 of a buffer of 5");
  });
});
