import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DECODE } from "../trace/trace.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { warmset } from "./command-line.test-data.ts";

const ROOT = join(import.meta.dirname, "../..");
const [DEMO, SHAREGPT, LMSYS] = [
  "models/prompts/demo.jsonl",
  "test/prompts/sharegpt.json",
  "test/prompts/lmsys.jsonl",
].map((file) => join(ROOT, file));
const folder = mkdtempSync(join(tmpdir(), "trace-prompts-"));
afterAll(() => rmSync(folder, { recursive: true }));

let made = 0;
const newDirectory = () => join(folder, `trace-${made++}`);

function record(directory: string, ...args: readonly string[]) {
  return warmset(["trace", "demo", "--out", directory, "--threads", "1", ...args]);
}

async function samplesOf(directory: string) {
  const trace = await openTrace(directory);
  const samples: { domain: string; prompt: string; decoded: number }[] = [];
  for (const { index } of trace.parts)
    for await (const { domain, phases, tokens } of trace.samples(index, { tokens: true })) {
      const decoded = phases.filter((phase) => phase === DECODE).length;
      samples.push({ domain, decoded, prompt: tokens!.subarray(0, phases.length - decoded).join() });
    }
  return samples;
}

describe("warmset trace MODEL --prompts", () => {
  test("records a mix of the shipped prompts, labelled by their domains, with fixed lengths", async () => {
    const directory = newDirectory();
    const args = ["--prompts", DEMO, "--requests", "6", "--mix", "prose=2,python=1", "--lengths", "8/3", "--json"];
    const { exitCode, stdout, stderr } = await record(directory, ...args);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      samples: 6,
      tokens: 66,
      config: { prompts: { files: [DEMO], read: 96, mix: { prose: 2, python: 1 }, requests: 6, skipped: 0 } },
    });
    const samples = await samplesOf(directory);
    expect(samples.map(({ domain }) => domain).sort()).toEqual([...Array(4).fill("prose"), ...Array(2).fill("python")]);
    expect(samples.every(({ decoded }) => decoded === 3)).toBe(true);
    expect(new Set(samples.map(({ prompt }) => prompt)).size).toBe(6);
  });

  test("keeps the sides of the split apart, and together they are all", async () => {
    const sides = await Promise.all(
      ["train", "test"].map(async (side) => {
        const directory = newDirectory();
        const { exitCode } = await record(directory, "--prompts", DEMO, "--split", side, "--lengths", "12/1");
        expect(exitCode).toBe(0);
        expect((await openTrace(directory)).description.recording.notes.join(" ")).toContain(`on the ${side} side`);
        return (await samplesOf(directory)).map(({ prompt }) => prompt);
      }),
    );
    expect(sides[0].filter((prompt) => sides[1].includes(prompt))).toEqual([]);
    expect(sides[0].length + sides[1].length).toBe(96);
    expect(sides[1].length).toBeGreaterThan(15);
  });

  test("takes conversations of data sets, labelled by their files, with the chat template", async () => {
    const directory = newDirectory();
    const args = ["--prompts", SHAREGPT, `chat=${LMSYS}`, "--decode", "2", "--ignore-eos"];
    expect(await record(directory, ...args)).toMatchObject({ exitCode: 0, stderr: "" });
    const samples = await samplesOf(directory);
    expect(samples.map(({ domain }) => domain).sort()).toEqual([
      ...Array(3).fill("chat"),
      ...Array(3).fill("sharegpt"),
    ]);
    const raw = newDirectory();
    await record(raw, ...args, "--raw");
    const mostTokens = (some: typeof samples) => Math.max(...some.map(({ prompt }) => prompt.split(",").length));
    // The template's own tokens come on top.
    expect(mostTokens(samples)).toBe(mostTokens(await samplesOf(raw)) + 6);
  });

  test("skips bad records when asked, and says how many", async () => {
    const file = join(folder, "bad.jsonl");
    writeFileSync(file, '{"prompt": "Once upon a time"}\n{"prompt": 3}\n{"prompt": "The fox"}\n');
    const refused = await record(newDirectory(), "--prompts", file, "--decode", "2");
    expect(refused).toMatchObject({ exitCode: 2, stdout: "" });
    expect(refused.stderr).toContain('bad.jsonl, line 2: "prompt" must be a text. Correct it, or skip bad records.');
    const skipped = await record(newDirectory(), "--prompts", file, "--decode", "2", "--skip-bad");
    expect(skipped.exitCode).toBe(0);
    expect(skipped.stderr).toMatch(/note: skipped 1 bad record; the first: .*bad.jsonl, line 2/);
  });
});

test.each([
  ["no length", ["--prompts", DEMO], "does not say how many tokens"],
  ["texts as well", ["--prompts", DEMO, "--text", DEMO], "not both"],
  ["labels of texts", ["--prompts", DEMO, "--domain", "a"], "label=FILE"],
  ["samples of texts", ["--prompts", DEMO, "--samples", "3"], "--requests"],
  ["two lengths", ["--prompts", DEMO, "--lengths", "lmsys", "--decode", "3"], "not both"],
  ["an unknown length", ["--prompts", DEMO, "--lengths", "long"], "lmsys, sharegpt"],
  ["a mix that is none", ["--prompts", DEMO, "--requests", "2", "--mix", "prose"], "prose=2,python=1"],
  ["a mix without requests", ["--prompts", DEMO, "--mix", "prose=1"], "number of requests"],
  ["an unknown domain", ["--prompts", DEMO, "--requests", "2", "--mix", "poem=1"], "There are: javascript, math"],
  ["two formats", ["--prompts", DEMO, "--chat", "--raw"], "not both"],
  ["a missing file", ["--prompts", join(folder, "none"), "--decode", "1"], "no such file"],
  ["a split of texts", ["--text", DEMO, "--split", "train"], "--split is for prompts"],
  ["a temperature of texts", ["--text", DEMO, "--temp", "0"], "--temp is for what the model generates"],
  ["too long an answer", ["--prompts", DEMO, "--decode", "500"], "--prompt-tokens"],
])("what cannot be drawn or recorded is said: %s", async (_, args, message) => {
  const { exitCode, stdout, stderr } = await record(newDirectory(), ...args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr).toContain(message);
  expect(stderr).not.toContain("    at ");
});
