import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { NO_ID, PREFILL, type TraceSample } from "../../src/trace/trace.ts";
import { makeTinyModel, mixtureBlocks, TINY_MODELS, type TinyModelSpec } from "../tiny-models/index.ts";
import { type Recorded, record } from "./recording.ts";
import { type Reference, referenceOf, scoreOf } from "./reference.ts";

const folder = mkdtempSync(join(tmpdir(), "recording-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TEXT = join(folder, "words.txt");
writeFileSync(TEXT, "The cat and the hen sat in the garden, and then the rain came down on them in a line.".repeat(2));
const LENGTH = 20;
const SAMPLES = 3;

/** Largest difference that rounding explains: the recorder reads the scores, the reference the weights made of them. */
const WEIGHT_TOLERANCE = 2e-5;

/** One row of `[T][layers][width]`. */
function rowOf(
  values: ArrayLike<number>,
  { length }: TraceSample,
  layers: number,
  token: number,
  layer: number,
): number[] {
  const width = values.length / length / layers;
  const first = (token * layers + layer) * width;
  return Array.from({ length: width }, (_, i) => values[first + i]);
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

function expectSameRouting(spec: TinyModelSpec, { samples }: Recorded, { routing }: Reference): void {
  const blocks = mixtureBlocks(spec);
  for (const [i, sample] of samples.entries())
    for (let token = 0; token < sample.length; token++)
      for (const [layer, block] of blocks.entries()) {
        const { chosen, weights } = routing.get(block)!;
        const experts = rowOf(sample.experts, sample, blocks.length, token, layer).filter((id) => id !== NO_ID);
        expect(experts).toEqual(chosen[i * LENGTH + token]);
        const recorded = rowOf(sample.weights!, sample, blocks.length, token, layer).slice(0, experts.length);
        const whole = sum(weights[i * LENGTH + token]);
        for (const [rank, weight] of weights[i * LENGTH + token].entries())
          expect(Math.abs(recorded[rank] - weight / whole)).toBeLessThan(WEIGHT_TOLERANCE);
      }
}

function expectSameScores({ samples }: Recorded, { logits }: Reference): void {
  for (const [i, { tokens, predicted, loss }] of samples.entries())
    for (let token = 0; token < LENGTH; token++) {
      const row = logits[i * LENGTH + token];
      const right = scoreOf(row, tokens![token + 1] ?? 0);
      expect(predicted![token]).toBe(right.predicted);
      if (token === LENGTH - 1) expect(loss![token]).toBeNaN();
      else expect(Math.abs(loss![token] - right.loss)).toBeLessThan(1e-5 * Math.max(1, right.loss));
    }
}

describe.each(TINY_MODELS)("$name", (spec) => {
  test("is recorded as stock llama.cpp computes it", async () => {
    const model = await makeTinyModel(folder, spec);
    const directory = join(folder, `${spec.name}-trace`);
    const recorded = await record({
      model,
      directory,
      texts: [{ path: TEXT }],
      sampleLength: LENGTH,
      samples: SAMPLES,
    });
    const { samples, description } = recorded;
    expect(samples).toHaveLength(SAMPLES);
    expect(description.model).toMatchObject({
      architecture: spec.architecture,
      moeBlocks: mixtureBlocks(spec),
      experts: spec.shape.experts,
    });
    for (const sample of samples) {
      expect(sample.domain).toBe("words");
      expect(sample.phases.every((phase) => phase === PREFILL)).toBe(true);
      // All three were computed in one batch.
      expect(new Set(sample.batches)).toEqual(new Set([0]));
    }
    const reference = referenceOf(
      model,
      samples.map(({ tokens }) => tokens!),
    );
    expectSameRouting(spec, recorded, reference);
    expectSameScores(recorded, reference);
  });
});
