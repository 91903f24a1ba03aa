import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { GenerationState, generate as generateText } from "../../src/engine/generation.ts";
import { openSession } from "../../src/engine/open-session.ts";
import { DECODE, PREFILL, type TraceSample } from "../../src/trace/trace.ts";
import { type Recorded, record } from "./recording.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const TEXT = join(import.meta.dirname, "../../models/text/prose.txt");
const PROMPT = 16;
const TOKENS = 24;

const folder = mkdtempSync(join(tmpdir(), "recording-generated-"));
afterAll(() => rmSync(folder, { recursive: true }));

const GREEDY = { temperature: 0, topK: 40, topP: 0.95, minP: 0.05, seed: 0 };
let made = 0;

function recordGenerated(
  sampling: typeof GREEDY,
  more: { path?: string; ignoreEnd?: boolean } = {},
): Promise<Recorded> {
  const { path = TEXT, ignoreEnd = true } = more;
  return record({
    model: DEMO_MODEL,
    directory: join(folder, `trace-${made++}`),
    texts: [{ path, domain: "story" }],
    sampleLength: 200,
    samples: 3,
    generate: { promptTokens: PROMPT, tokens: TOKENS, ignoreEndOfGeneration: ignoreEnd, ...sampling },
  });
}

const tokensOf = ({ samples }: { samples: readonly TraceSample[] }) => samples.map(({ tokens }) => Array.from(tokens!));

test("a greedy recording is the answer that the engine gives, token by token", async () => {
  const { samples, description } = await recordGenerated(GREEDY);
  expect(description.recording).toMatchObject({ tokensFrom: ["forced", "generated"], sampleLength: PROMPT + TOKENS });
  using session = openSession(DEMO_MODEL, { contextSize: PROMPT + TOKENS + 1, threads: 1 });
  for (const [i, { tokens, phases, batches, predicted, loss, domain }] of samples.entries()) {
    expect(domain).toBe("story");
    expect(tokens).toHaveLength(PROMPT + TOKENS);
    const steps = generateText(
      session,
      new GenerationState(),
      tokens!.slice(0, PROMPT),
      { temperature: 0 },
      { maxTokens: TOKENS, ignoreEndOfGeneration: true },
    );
    session.context.clear();
    let step = steps.next();
    while (step.done !== true) step = steps.next();
    expect(Array.from(tokens!.subarray(PROMPT))).toEqual(step.value.tokens);

    // The prompt is one pass, and each token one more.
    const firstPass = i * (TOKENS + 1);
    expect(Array.from(phases)).toEqual([...Array(PROMPT).fill(PREFILL), ...Array(TOKENS).fill(DECODE)]);
    expect(Array.from(batches)).toEqual([
      ...Array(PROMPT).fill(firstPass),
      ...Array.from({ length: TOKENS }, (_, t) => firstPass + 1 + t),
    ]);
    // What is most likely is what comes next.
    expect(Array.from(predicted!.subarray(PROMPT - 1, -1))).toEqual(step.value.tokens);
    expect(Array.from(loss!.subarray(0, -1)).every((value) => value >= 0)).toBe(true);
    expect(loss!.at(-1)).toBeNaN();
  }
});

test("a drawn recording depends on its seed, and its samples do not draw alike", async () => {
  const drawn = { ...GREEDY, temperature: 1.5 };
  const first = tokensOf(await recordGenerated(drawn));
  expect(tokensOf(await recordGenerated(drawn))).toEqual(first);
  const other = tokensOf(await recordGenerated({ ...drawn, seed: 1 }));
  // Seeds count up from sample to sample.
  expect(other).not.toEqual(first);
  expect(new Set(first.map((tokens) => tokens.join())).size).toBe(3);
});

test("a model that ends ends its sample", async () => {
  const path = join(folder, "sum.txt");
  // A chat that the model answers with few words.
  writeFileSync(path, "What is the capital of France? ".repeat(60));
  const { samples } = await recordGenerated({ ...GREEDY, temperature: 1.2 }, { path, ignoreEnd: false });
  for (const { length, tokens, loss } of samples) {
    expect(tokens).toHaveLength(length);
    expect(length).toBeLessThanOrEqual(PROMPT + TOKENS);
    expect(loss![length - 1]).toBeNaN();
  }
});
