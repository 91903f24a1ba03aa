/** Faults between a program and the process that runs its model: aborts, deaths, closing, several callers at once. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ModelClosedError,
  ModelProcessError,
  type MoeModel,
  type OpenModelOptions,
  openModel,
} from "../../src/index.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const PROMPT = "Once upon a time there was a little fox who lived at the edge of the forest.";
const LONG_PROMPT = Array.from({ length: 60 }, (_, i) => `Sentence ${i}: the fox went to the river.`).join(" ");

const open = (options: OpenModelOptions = {}) =>
  openModel(DEMO_MODEL, { expertMemory: "25%", threads: 1, contextSize: 2048, ...options });
const greedy = { temperature: 0, maxTokens: 12, ignoreEndOfGeneration: true } as const;
const tokensOf = async (model: MoeModel, prompt = PROMPT) => (await model.generate(prompt, greedy).result).tokens;
const gone = (pid: number) => expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 10_000 }).toBe(false);

let expected: readonly number[];
beforeAll(async () => {
  await using model = await open();
  expected = await tokensOf(model);
}, 60_000);

describe("aborting", () => {
  test("before or in the middle of loading rejects with the signal's reason and leaves no process", async () => {
    await expect(open({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    const stop = new AbortController();
    const reason = new Error("enough");
    const opening = open({ signal: stop.signal, onProgress: () => stop.abort(reason) });
    await expect(opening).rejects.toBe(reason);
    const early = new AbortController();
    const starting = open({ signal: early.signal });
    early.abort();
    await expect(starting).rejects.toMatchObject({ name: "AbortError" });
  });

  test("in the prompt and in the answer rejects, and what follows is as in a fresh model", async () => {
    await using model = await open({ microBatchTokens: 16 });
    const inPrompt = new AbortController();
    const first = model.generate(LONG_PROMPT, { ...greedy, signal: inPrompt.signal }).result;
    setTimeout(() => inPrompt.abort(), 60);
    await expect(first).rejects.toMatchObject({ name: "AbortError" });

    const inAnswer = new AbortController();
    const second = model.generate(PROMPT, { ...greedy, maxTokens: 1000, signal: inAnswer.signal });
    const read = async () => {
      for await (const _ of second) inAnswer.abort();
    };
    await expect(read()).rejects.toMatchObject({ name: "AbortError" });

    for await (const _ of model.generate(PROMPT, { ...greedy, maxTokens: 1000 })) break;
    await using fresh = await open({ microBatchTokens: 16 });
    expect(await tokensOf(model, `${PROMPT} Then`)).toEqual(await tokensOf(fresh, `${PROMPT} Then`));
  });

  test("a call that waits for its turn does not end the one that runs", async () => {
    await using model = await open();
    const stop = new AbortController();
    const running = model.generate(PROMPT, greedy).result;
    const waiting = model.generate(LONG_PROMPT, { ...greedy, signal: stop.signal }).result;
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
    expect((await running).tokens).toEqual(expected);
  });

  test("is not forgotten when another question is answered meanwhile", async () => {
    await using model = await open({ microBatchTokens: 16 });
    const stop = new AbortController();
    const running = model.generate(PROMPT, { ...greedy, maxTokens: 1500, signal: stop.signal }).result;
    const ended = expect(running).rejects.toMatchObject({ name: "AbortError" });
    for (let i = 0; i < 3; i++) await model.stats();
    stop.abort();
    await Promise.all([model.stats(), model.tokenize("x"), ended]);
  });
});

describe("several calls at once", () => {
  test("are answered one after the other, each as if it were alone", async () => {
    await using model = await open();
    const prompts = [PROMPT, "The capital of France is", PROMPT];
    const together = await Promise.all(prompts.map((prompt) => tokensOf(model, prompt)));
    await using other = await open();
    const apart: (readonly number[])[] = [];
    for (const prompt of prompts) apart.push(await tokensOf(other, prompt));
    expect(together).toEqual(apart);
    expect(together[0]).toEqual(expected);
  });
});

describe("closing", () => {
  test("rejects what is pending and what comes later, and ends the process", async () => {
    const model = await open();
    const { pid } = model;
    const pending = model.generate(LONG_PROMPT, { ...greedy, maxTokens: 1500 }).result;
    const rejected = expect(pending).rejects.toThrow(ModelClosedError);
    await Promise.all([model.close(), model.close()]);
    await rejected;
    await gone(pid);
    await expect(model.stats()).rejects.toThrow(ModelClosedError);
    await expect(model.generate(PROMPT).result).rejects.toThrow(ModelClosedError);
    await model.close();
  });
});

describe("a death", () => {
  test("of the model's process is told with its signal, to every call", async () => {
    await using model = await open();
    const pending = model.generate(LONG_PROMPT, { ...greedy, maxTokens: 1500 }).result;
    process.kill(model.pid, "SIGKILL");
    await expect(pending).rejects.toThrow(ModelProcessError);
    await expect(pending).rejects.toMatchObject({ signal: "SIGKILL" });
    await expect(model.stats()).rejects.toThrow(ModelProcessError);
  });

  test("of the program takes the model's process with it, in the middle of a prompt", async () => {
    const folder = mkdtempSync(join(tmpdir(), "orphan-"));
    afterAll(() => rmSync(folder, { recursive: true }));
    const index = pathToFileURL(join(import.meta.dirname, "../../dist/index.js"));
    const program = join(folder, "program.mjs");
    writeFileSync(
      program,
      `import { openModel } from ${JSON.stringify(index.href)};
      const model = await openModel(${JSON.stringify(DEMO_MODEL)}, { expertMemory: "25%", threads: 1, contextSize: 4096 });
      console.log(model.pid);
      await model.generate(new Int32Array(4000).fill(40), { maxTokens: 90 }).result;`,
    );
    const child = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
    const pid = await new Promise<number>((resolve) => child.stdout.once("data", (text) => resolve(Number(text))));
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    child.kill("SIGKILL");
    await gone(pid);
  });
});

describe("a model that cannot be opened", () => {
  test("is refused by name, and nothing is left running", async () => {
    await expect(openModel("no-such-file.gguf")).rejects.toThrow(/no-such-file/);
    const folder = mkdtempSync(join(tmpdir(), "refused-"));
    afterAll(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "broken.gguf");
    writeFileSync(file, "GGUF");
    await expect(openModel(file, { expertMemory: "12MiB" })).rejects.toMatchObject({ name: "GgufError" });
  });

  test("because of its budget names the smallest that works, and that works", async () => {
    const refused = await openModel(DEMO_MODEL, { memory: "20MiB", threads: 1, contextSize: 512 }).catch((e) => e);
    expect(refused).toMatchObject({ name: "BudgetTooSmallError" });
    const smallest = (refused as { data: { smallestBudgetBytes: number } }).data.smallestBudgetBytes;
    expect(smallest).toBeGreaterThan(20 * 2 ** 20);
    // The resident set of this process, a whole test runner, counts, is measured each time, and breathes.
    await using model = await openModel(DEMO_MODEL, { memory: smallest + 24 * 2 ** 20, threads: 1, contextSize: 512 });
    expect(await tokensOf(model)).toHaveLength(greedy.maxTokens);
  });
});
