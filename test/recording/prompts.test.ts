/** Recordings of prompts: each is a sample with its own length and label, and an interrupted one goes on. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type RecordTraceOptions, recordTrace } from "../../src/trace/record/record-trace.ts";
import { DECODE, PREFILL, type TraceSample } from "../../src/trace/trace.ts";
import type { Prompt } from "../../src/workload/index.ts";
import { readAll } from "./recording.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const folder = mkdtempSync(join(tmpdir(), "recording-prompts-"));
afterAll(() => rmSync(folder, { recursive: true }));

const PROMPTS: readonly Prompt[] = [
  { id: "a", domain: "story", content: "Once upon a time there was a fox", outputTokens: 6 },
  { id: "b", domain: "question", content: [{ role: "user", content: "How many legs has a spider?" }], outputTokens: 3 },
  { id: "c", domain: "story", content: "The end of the road", outputTokens: 9 },
];

function record(directory: string, more: Partial<RecordTraceOptions> = {}) {
  const generate = { ignoreEndOfGeneration: true, seed: 4 };
  const options = { model: DEMO_MODEL, prompts: PROMPTS, directory, generate, memory: "all", threads: 1 };
  return recordTrace({ ...options, ...more });
}

const phasesOf = ({ phases }: TraceSample) =>
  [PREFILL, DECODE].map((phase) => phases.filter((p) => p === phase).length);

test("each prompt is a sample: its tokens computed in one pass, then as many more as it says", async () => {
  const directory = join(folder, "own");
  const summary = await record(directory, { notes: ["Made by hand."] });
  const { samples, description } = await readAll(directory);
  expect(samples.map(({ domain }) => domain)).toEqual(["story", "question", "story"]);
  expect(samples.map((sample) => phasesOf(sample)[1])).toEqual([6, 3, 9]);
  for (const sample of samples) {
    const [prompt] = phasesOf(sample);
    expect(new Set(sample.batches.subarray(0, prompt)).size).toBe(1);
    expect(new Set(sample.batches).size).toBe(1 + sample.length - prompt);
  }
  expect(summary).toMatchObject({ samples: 3, tokens: samples.reduce((sum, { length }) => sum + length, 0) });
  expect(description.recording.sampleLength).toBe(Math.max(...samples.map(({ length }) => length)));
  expect(description.recording.tokensFrom).toEqual(["forced", "generated"]);
  expect(description.recording.notes.join(" ")).toMatch(/Made by hand\..* tokens of a prompt .* for 3 to 9 tokens/);
});

test("lengths can be fixed, and the trace is what each prompt alone gives", async () => {
  const generate = { tokens: 5, promptTokens: 4, temperature: 0, ignoreEndOfGeneration: true };
  const directory = join(folder, "fixed");
  await record(directory, { generate, promptFormat: "raw" });
  const { samples } = await readAll(directory);
  expect(samples.map(phasesOf)).toEqual([
    [4, 5],
    [4, 5],
    [4, 5],
  ]);
  await record(join(folder, "alone"), { generate, promptFormat: "raw", prompts: PROMPTS.slice(1, 2) });
  const [alone] = (await readAll(join(folder, "alone"))).samples;
  for (const field of ["tokens", "experts", "weights", "loss"] as const)
    expect(alone[field]).toEqual(samples[1][field]);
});

test("an interrupted recording goes on with the same prompts and no others", { timeout: 30_000 }, async () => {
  const prompts = Array.from({ length: 40 }, (_, i) => ({ ...PROMPTS[i % 3], id: `${i}`, outputTokens: 12 }));
  const whole = join(folder, "whole");
  await record(whole, { prompts });
  const directory = join(folder, "interrupted");
  const stop = new AbortController();
  const onProgress = ({ samples }: { readonly samples: number }) => samples >= 5 && stop.abort();
  await expect(record(directory, { prompts, signal: stop.signal, onProgress })).rejects.toThrow();
  expect(existsSync(join(directory, "trace.json"))).toBe(true);
  const others = prompts.map((prompt, i) => (i === 30 ? { ...prompt, content: "Something else" } : prompt));
  await expect(record(directory, { prompts: others, resume: true })).rejects.toMatchObject({
    data: { kind: "other-recording" },
  });
  const { tokensNow, tokens } = await record(directory, { prompts, resume: true });
  expect(tokensNow).toBeLessThan(tokens);
  const content = ({ batches: _, ...rest }: TraceSample) => rest;
  expect((await readAll(directory)).samples.map(content)).toEqual((await readAll(whole)).samples.map(content));
});

test.each([
  ["nothing", { prompts: [] }, "No text"],
  ["texts and prompts", { texts: ["a.txt"] }, "not both"],
  ["texts to go on from without a number", { prompts: undefined, texts: ["a.txt"] }, "how many tokens"],
])("%s is refused at once", async (_, options, message) => {
  await expect(record(join(folder, "refused"), options as Partial<RecordTraceOptions>)).rejects.toMatchObject({
    name: "RecordingInputError",
    message: expect.stringContaining(message),
  });
});
