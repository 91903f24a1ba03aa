/** A writer refuses what would make a broken trace, and says what it was. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { describeShape, PLAIN_SHAPE, samplesOf } from "./random-traces.test-data.ts";
import { NO_ID, type TracePiece } from "./trace.ts";
import { createTrace, type TraceWriter } from "./trace-writer.ts";

const shape = { ...PLAIN_SHAPE, probs: true };
const [sample] = samplesOf(shape);

let directory: string;
let writer: TraceWriter;
beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), "warmset-pieces-"));
  writer = await createTrace(directory, describeShape(shape));
  writer.beginSample("a");
});
afterEach(async () => {
  await writer[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

/** The sample with something else at one place of an array. */
function withAt(
  name: "experts" | "weights" | "probs" | "phases" | "batches" | "tokens" | "loss",
  at: number,
  value: number,
) {
  const values = sample[name]?.slice();
  if (values === undefined) throw new Error(name);
  values[at] = value;
  return { ...sample, [name]: values } as TracePiece;
}

// Row 7 is position 2, layer 1; it has two of everything per expert.
test.each<[string, TracePiece, RegExp]>([
  ["an expert out of range", withAt("experts", 14, 16), /sample 0, position 2, layer 1: expert 16 is not one of 16/],
  ["an expert twice", withAt("experts", 15, sample.experts[14]), /position 2, layer 1: expert \d+ is there twice/],
  [
    "an expert behind a free place",
    withAt("experts", 14, NO_ID),
    /position 2, layer 1: an expert follows a free place/,
  ],
  ["NaN", withAt("weights", 14, Number.NaN), /position 2, layer 1: "weights" has NaN/],
  ["infinity", withAt("probs", 7 * 16, Number.POSITIVE_INFINITY), /position 2, layer 1: "probs" has Infinity/],
  ["a phase that is none", withAt("phases", 3, 2), /position 3: phase 2/],
  ["a batch that goes back", withAt("batches", 0, 99), /position 1: batch \d+ comes after a later one/],
  ["a token that is none", withAt("tokens", 3, -1), /position 3: token -1/],
  ["an infinite loss", withAt("loss", 3, Number.NEGATIVE_INFINITY), /position 3: the loss/],
  ["too few weights", { ...sample, weights: sample.weights?.slice(1) }, /"weights" has 35 values for 6 tokens, not 36/],
  ["a column that is not in the description", { ...sample, hidden: new Float32Array(6) }, /"hidden" has 6 values/],
  ["a column that is missing", { ...sample, probs: undefined }, /"probs" has 0 values/],
  ["too many tokens", { ...samplesOf({ ...shape, lengths: [10] })[0] }, /10 tokens; the description allows 9/],
])("%s", async (_, piece, message) => {
  await expect(writer.append(piece)).rejects.toMatchObject({
    kind: "bad-sample",
    message: expect.stringMatching(message),
  });
});

test("a free place may have anything beside it", async () => {
  const experts = sample.experts.slice();
  const weights = sample.weights?.slice() ?? new Float32Array();
  experts[15] = NO_ID;
  weights[15] = Number.NaN;
  await writer.append({ ...sample, experts, weights });
  await writer.endSample();
  expect(writer.samples).toBe(1);
});

test("calls out of order", async () => {
  expect(() => writer.beginSample("b")).toThrow(/still open/);
  await expect(writer.finish()).rejects.toThrow(/still open/);
  await expect(writer.endSample()).rejects.toThrow(/no tokens/);
  await writer.append(sample);
  await writer.endSample();
  await expect(writer.append(sample)).rejects.toThrow(/has not begun/);
  await writer.finish();
  expect(() => writer.beginSample("c")).toThrow(/writer is closed/);
});
