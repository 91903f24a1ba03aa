import { describe, expect, test } from "vitest";
import { HeadTrainer, inputScaling } from "./head-trainer.ts";
import { PredictorRuntime } from "./predictor-runtime.ts";
import { Randomness } from "./randomness.ts";

const HIDDEN = 10;
const EXPERTS = 6;
const ROWS = 5;

/** Inputs that are far from standard, and target distributions. */
function examples(random: Randomness) {
  const hidden = Float32Array.from({ length: ROWS * HIDDEN }, (_, i) => 2 * random.normal() + (i % 3));
  const targets = Float32Array.from({ length: ROWS * EXPERTS }, () => random.next());
  for (let row = 0; row < ROWS; row++) {
    const part = targets.subarray(row * EXPERTS, (row + 1) * EXPERTS);
    const sum = part.reduce((a, b) => a + b);
    for (let i = 0; i < EXPERTS; i++) part[i] /= sum;
  }
  const rows = Int32Array.from({ length: ROWS }, (_, row) => row);
  return {
    hidden,
    targets,
    rows,
    inputs: inputScaling(hidden, rows, HIDDEN),
    offsets: rows.map((row) => row * EXPERTS),
  };
}

function open(width: number, warmStart?: Float32Array) {
  const random = new Randomness(3);
  const made = examples(random);
  const { hidden, targets, offsets, inputs } = made;
  const trainer = new HeadTrainer({
    hiddenSize: HIDDEN,
    experts: EXPERTS,
    width,
    batchRows: 8,
    inputs,
    random,
    warmStart,
  });
  for (let row = 0; row < ROWS; row++) trainer.setInput(row, hidden, row * HIDDEN);
  return { trainer, ...made, loss: () => trainer.backward(ROWS, targets, offsets) };
}

describe.each([
  ["an MLP", 7],
  ["a linear head", 0],
])("%s", (_, width) => {
  test("has the gradients of finite differences", () => {
    const { trainer, loss } = open(width);
    for (const { values } of trainer.parameters()) for (let i = 0; i < values.length; i++) values[i] *= 1.5;
    loss();
    const gradients = trainer.parameters().map(({ gradient }) => Float32Array.from(gradient));
    let checked = 0;
    for (const [matrix, { values }] of trainer.parameters().entries())
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        // Padding and the constant unit: they hold no weight.
        if (value === 0 && gradients[matrix][i] === 0) continue;
        const step = 1e-2;
        values[i] = value + step;
        const above = loss();
        values[i] = value - step;
        const below = loss();
        values[i] = value;
        expect(gradients[matrix][i]).toBeCloseTo((above - below) / (2 * step), 3);
        checked++;
      }
    expect(checked).toBeGreaterThan(EXPERTS * (width || HIDDEN));
  });

  test("learns its examples by heart, and takes inputs as they are once finished", () => {
    const { trainer, hidden, targets, loss } = open(width);
    const before = loss();
    for (let step = 0; step < 400; step++) {
      loss();
      trainer.step(0.02);
    }
    expect(loss()).toBeLessThan(before / 20);
    const runtime = new PredictorRuntime({ hiddenSize: HIDDEN, experts: EXPERTS }, [trainer.head(0, 1)]);
    for (let row = 0; row < ROWS; row++) {
      runtime.read(hidden, row * HIDDEN);
      const scores = Float64Array.from(runtime.scores(0));
      const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
      for (let i = 0; i < EXPERTS; i++)
        expect(Math.abs(Math.exp(scores[i]) / sum - targets[row * EXPERTS + i])).toBeLessThan(0.1);
    }
  });
});

test("a linear head that starts from a router is that router", () => {
  const random = new Randomness(9);
  const router = Float32Array.from({ length: EXPERTS * (HIDDEN + 1) }, () => random.normal());
  const { trainer } = open(0, router);
  const { outer } = trainer.head(0, 1);
  for (let i = 0; i < router.length; i++) expect(outer[i]).toBeCloseTo(router[i], 4);
});

test("an input that never changes counts nothing", () => {
  const hidden = Float32Array.of(1, 5, 2, 5, 3, 5);
  const { mean, scale } = inputScaling(hidden, Int32Array.of(0, 1, 2), 2);
  expect([...mean]).toEqual([2, 5]);
  expect([...scale]).toEqual([1 / Math.sqrt(2 / 3), 0]);
});
