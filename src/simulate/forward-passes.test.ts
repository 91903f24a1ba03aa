import { expect, test } from "vitest";
import { PREFILL } from "../trace/trace.ts";
import { ForwardPasses, type PassOptions } from "./forward-passes.ts";
import { sampleOf } from "./traces.test-data.ts";

const batches = Uint32Array.from([3, 3, 3, 3, 3, 4, 5, 6]);
const sample = sampleOf(
  Array.from({ length: 8 }, () => [[0]]),
  { batches, phases: Uint8Array.from(batches, (batch) => (batch === 3 ? PREFILL : 1)) },
);

function cut(options: PassOptions, fitting = Number.POSITIVE_INFINITY): string {
  const passes = new ForwardPasses(options, sample.length, fitting);
  const cuts: string[] = [];
  for (let from = 0; from < sample.length; ) {
    const to = passes.end(sample, from);
    expect(to - from).toBeLessThanOrEqual(passes.microBatchTokens);
    cuts.push(`${passes.phase(sample, from)[0]}${to - from}`);
    from = to;
  }
  return cuts.join(" ");
}

test("every token is a decode step, whatever it was recorded in", () => {
  expect(cut({})).toBe("d1 d1 d1 d1 d1 d1 d1 d1");
});

test("a prompt is computed in micro-batches before that", () => {
  expect(cut({ promptTokens: 6 })).toBe("p6 d1 d1");
  expect(cut({ promptTokens: 6, microBatchTokens: 4 })).toBe("p4 p2 d1 d1");
  expect(cut({ promptTokens: 100 })).toBe("p8");
  // As the engine has it: a prompt of one token is decoded.
  expect(cut({ promptTokens: 1 })).toBe("d1 d1 d1 d1 d1 d1 d1 d1");
});

test("recorded passes come as they were", () => {
  expect(cut({ as: "recorded" })).toBe("p5 d1 d1 d1");
  expect(cut({ as: "recorded", microBatchTokens: 3 })).toBe("p3 p2 d1 d1 d1");
});

test("a cache that does not hold a micro-batch's experts makes it smaller", () => {
  expect(cut({ as: "recorded" }, 2)).toBe("p2 p2 p1 d1 d1 d1");
  expect(cut({ promptTokens: 6 }, 4)).toBe("p4 p2 d1 d1");
});
