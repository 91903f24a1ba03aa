import { describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import { releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";
import { loadLibraries } from "./index.ts";
import { SideGraph } from "./side-graph.ts";

const HIDDEN = 64;
const EXPERTS = 12;

describe.each([1, 5])("a router product for %i tokens", (tokens) => {
  test.each([true, false])("is the product that JavaScript computes, with a ratio: %s", (withRatio) => {
    const random = randomNumbers(tokens);
    const bytes = 2 ** 16;
    const address = reserveMemory(bytes);
    let next = 0;
    const place = (count: number) => {
      const floats = new Float32Array(viewMemory(address + next, count * 4));
      const at = address + next;
      next += count * 4;
      return { at, floats };
    };
    const weights = place(HIDDEN * EXPERTS);
    const ratio = place(HIDDEN);
    const inputs = [place(HIDDEN * tokens), place(HIDDEN * tokens)];
    const output = place(EXPERTS * tokens);
    const scratch = place(HIDDEN * tokens);
    for (const { floats } of [weights, ratio, ...inputs])
      for (let i = 0; i < floats.length; i++) floats[i] = random() - 0.5;

    const side = new SideGraph(loadLibraries());
    const product = side.routerProduct({
      hidden: HIDDEN,
      experts: EXPERTS,
      tokens,
      weights: weights.at,
      ratio: withRatio ? ratio.at : 0,
      output: output.at,
      scratch: scratch.at,
    });
    // The same graph runs again on another input.
    for (const input of inputs) {
      const before = input.floats.slice();
      expect(product.run(input.at)).toBe(true);
      for (let token = 0; token < tokens; token++)
        for (let expert = 0; expert < EXPERTS; expert++) {
          let sum = 0;
          for (let i = 0; i < HIDDEN; i++)
            sum +=
              weights.floats[expert * HIDDEN + i] *
              input.floats[token * HIDDEN + i] *
              (withRatio ? ratio.floats[i] : 1);
          expect(output.floats[token * EXPERTS + expert]).toBeCloseTo(sum, 4);
        }
      expect(input.floats).toEqual(before);
    }
    product.free();
    side.dispose();
    releaseMemory(address, bytes);
  });
});
