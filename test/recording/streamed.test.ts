import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { smallestBudgetBytes } from "../../src/cache/layer-budget.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../src/gguf/index.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { type JobParts, type Recorded, record } from "./recording.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const TEXT = join(import.meta.dirname, "../../models/text/python.txt");

const folder = mkdtempSync(join(tmpdir(), "recording-streamed-"));
afterAll(() => rmSync(folder, { recursive: true }));

let made = 0;
const newDirectory = () => join(folder, `trace-${made++}`);

/** A budget in which batches of `tokens` just fit. */
function smallestFor(model: string, tokens: number): number {
  return smallestBudgetBytes(toModelShape(readMoeLayout(openGguf(model))), tokens);
}

function expectSameSamples(streamed: Recorded, resident: Recorded): void {
  expect(streamed.summary.resident).toBe(false);
  expect(resident.summary.resident).toBe(true);
  expect(streamed.summary.microBatchTokens).toBe(resident.summary.microBatchTokens);
  expect(streamed.samples).toHaveLength(resident.samples.length);
  for (const [i, sample] of streamed.samples.entries()) expect(sample).toEqual(resident.samples[i]);
}

/** The same recording with everything in memory, and with experts streamed in the smallest budget for such batches. */
async function both(parts: Omit<JobParts, "directory" | "engine">, microBatchTokens: number, policy = "lru") {
  const resident = await record({ ...parts, directory: newDirectory(), engine: { microBatchTokens } });
  const memory = { kind: "experts", bytes: smallestFor(parts.model, microBatchTokens) } as const;
  const streamed = await record({ ...parts, directory: newDirectory(), engine: { microBatchTokens, memory, policy } });
  return { resident, streamed };
}

describe("a recording under a small budget is the one with everything in memory", () => {
  test.each(["mixtral", "gpt-oss", "deepseek2", "qwen3next", "llama4", "grovemoe"])(
    "%s, long samples in parts",
    async (name) => {
      const model = await makeTinyModel(folder, tinyModel(name));
      const parts = { model, texts: [{ path: TEXT }], sampleLength: 30, samples: 2, probs: true };
      const { resident, streamed } = await both(parts, 2);
      expectSameSamples(streamed, resident);
      // 15 batches each, in order.
      expect(Array.from(resident.samples[1].batches)).toEqual(Array.from({ length: 30 }, (_, i) => 15 + (i >> 1)));
    },
  );

  test.each(["on-demand", "next-use+next-gate"])(
    "the demo model, short samples side by side, with %s",
    async (policy) => {
      const parts = { model: DEMO_MODEL, texts: [{ path: TEXT }], sampleLength: 2, samples: 20, hidden: true };
      const { resident, streamed } = await both(parts, 4, policy);
      expectSameSamples(streamed, resident);
      expect(resident.samples.map(({ batches }) => batches[0])).toEqual(Array.from({ length: 20 }, (_, i) => i >> 1));
    },
  );

  test("what the demo model generates", async () => {
    const generate = {
      promptTokens: 12,
      tokens: 9,
      ignoreEndOfGeneration: true,
      temperature: 0.8,
      topK: 40,
      topP: 0.95,
      minP: 0.05,
      seed: 5,
    };
    const parts = { model: DEMO_MODEL, texts: [{ path: TEXT }], sampleLength: 100, samples: 3, generate };
    const { resident, streamed } = await both(parts, 4);
    expectSameSamples(streamed, resident);
  });
});

test("a budget that needs narrower batches gets them, and the trace says so", async () => {
  const memory = { kind: "experts", bytes: smallestFor(DEMO_MODEL, 3) } as const;
  const parts = { model: DEMO_MODEL, texts: [{ path: TEXT }], sampleLength: 32, samples: 1 };
  const { samples, summary, description } = await record({ ...parts, directory: newDirectory(), engine: { memory } });
  expect(summary.microBatchTokens).toBe(3);
  expect(Array.from(samples[0].batches)).toEqual(Array.from({ length: 32 }, (_, i) => Math.floor(i / 3)));
  expect(description.recording.notes.join(" ")).toContain("with the policy lru; batches had up to 3 tokens");
});
