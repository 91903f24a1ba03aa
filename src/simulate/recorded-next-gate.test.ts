import { describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import type { TraceSample } from "../trace/trace.ts";
import { RecordedNextGate } from "./recorded-next-gate.ts";
import { sampleOf } from "./traces.test-data.ts";

const HIDDEN = 10;
const EXPERTS = 3;
const LAYERS = 3;
const TOKENS = 4;
const random = randomNumbers(5);
const floats = (length: number) => Float32Array.from({ length }, () => random() + 0.5);
const weights = Array.from({ length: LAYERS }, () => floats(EXPERTS * HIDDEN));
const norms = Array.from({ length: LAYERS }, () => floats(HIDDEN));

/** States of mean square 1, as a norm leaves them. */
const states = Array.from({ length: TOKENS }, () => {
  const state = floats(HIDDEN).map((value) => value - 1);
  const rms = Math.sqrt(state.reduce((sum, value) => sum + value * value, 0) / HIDDEN);
  return state.map((value) => value / rms);
});

/** Every layer sees the same state through a norm. */
function sampleWith(seenThrough: readonly (Float32Array | undefined)[]): TraceSample {
  const rows = states.flatMap((state) => seenThrough.map((norm) => state.map((value, i) => value * (norm?.[i] ?? 1))));
  const hidden = Float32Array.from(rows.flatMap((row) => [...row]));
  const choices = Array.from({ length: TOKENS }, () => new Array(LAYERS).fill([0]));
  return sampleOf(choices, { hidden });
}

function scores(sample: TraceSample, of: readonly (Float32Array | undefined)[]): Float32Array {
  const gate = new RecordedNextGate({ hiddenSize: HIDDEN, experts: EXPERTS, weights, norms: of });
  expect(gate.predicted).toBe(LAYERS - 1);
  const into = new Float32Array(TOKENS * (LAYERS - 1) * EXPERTS);
  for (let layer = 0; layer < gate.predicted; layer++) gate.layer(sample, layer, into);
  return into;
}

/** What the next layer's router says to states that it sees through a norm. */
function expected(norm: (layer: number) => Float32Array | undefined): number[] {
  return states.flatMap((state) =>
    [1, 2].flatMap((layer) =>
      Array.from({ length: EXPERTS }, (_, expert) =>
        state.reduce((sum, value, i) => sum + value * (norm(layer)?.[i] ?? 1) * weights[layer][expert * HIDDEN + i], 0),
      ),
    ),
  );
}

function expectClose(values: Float32Array, others: readonly number[]): void {
  expect(values).toHaveLength(others.length);
  for (const [i, value] of values.entries()) expect(value).toBeCloseTo(others[i], 4);
}

describe("the next layer's router", () => {
  test("is asked as if its own norm had made the state", () =>
    expectClose(
      scores(sampleWith(norms), norms),
      expected((layer) => norms[layer]),
    ));

  test("is asked with the input as it is where the file has no such norm", () => {
    const none = norms.map(() => undefined);
    expectClose(
      scores(sampleWith(none), none),
      expected(() => undefined),
    );
  });

  test("is asked with the input as it is where that is not what the norm makes", () => {
    const louder = sampleWith(norms.map((norm) => norm.map((value) => value * 3)));
    const without = norms.map(() => undefined);
    expect(scores(louder, norms)).toEqual(scores(louder, without));
    expect(scores(sampleWith(norms), norms)).not.toEqual(scores(sampleWith(norms), without));
  });
});
