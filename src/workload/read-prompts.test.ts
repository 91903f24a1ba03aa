import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Prompt, PromptMessage } from "./prompt.ts";
import { type ReadPromptsOptions, readPrompts } from "./read-prompts.ts";

const SAMPLES = join(import.meta.dirname, "../../test/prompts");
const folder = mkdtempSync(join(tmpdir(), "read-prompts-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function read(file: string, options: ReadPromptsOptions = {}): Promise<Prompt[]> {
  const prompts = [];
  for await (const prompt of readPrompts(file, options)) prompts.push(prompt);
  return prompts;
}

let made = 0;
function file(content: string | Uint8Array): string {
  const path = join(folder, `file-${made++}.jsonl`);
  writeFileSync(path, content);
  return path;
}

const user = (content: string) => ({ role: "user", content });

describe("the known data sets' shapes", () => {
  test("ShareGPT, a list: the first turn of the user, whoever began", async () => {
    const prompts = await read(join(SAMPLES, "sharegpt.json"));
    expect(prompts.map(({ id }) => id)).toEqual(["knots-1", "bread-2", "stars-3"]);
    expect(prompts.map(({ domain }) => domain)).toEqual(["sharegpt", "sharegpt", "sharegpt"]);
    expect(prompts.map(({ content }) => content)).toEqual([
      [user("Which knot holds a boat to a ring and still opens after a storm?")],
      [user('My dough smells of "vinegar" [sic] {after a night}: is it lost?')],
      [user("Écris-moi un poème sur ces étoiles 🌌, s'il te plaît.")],
    ]);
  });

  test("ShareGPT: whole conversations end with the user's last turn", async () => {
    const prompts = await read(join(SAMPLES, "sharegpt.json"), { turns: "all", domain: "chat" });
    expect(prompts.map(({ content }) => (content as readonly PromptMessage[]).map(({ role }) => role))).toEqual([
      ["user", "assistant", "user"],
      ["system", "user"],
      ["assistant", "user"],
    ]);
    expect(prompts[0].domain).toBe("chat");
  });

  test("LMSYS-Chat-1M, a record a line", async () => {
    const prompts = await read(join(SAMPLES, "lmsys.jsonl"));
    expect(prompts).toMatchObject([
      { id: "8f1c0a", domain: "lmsys", content: [user("How many legs have three spiders and a stool?")] },
      { id: "27bd44", content: [user("Schreibe eine Funktion, die zwei sortierte Listen mischt.")] },
      { id: "c90e5e", content: [user("Name a river that crosses a desert.")] },
    ]);
    const [, whole] = await read(join(SAMPLES, "lmsys.jsonl"), { turns: "all" });
    expect(whole.content).toHaveLength(3);
  });

  test("our own: texts and messages, with lengths, arrivals and labels", async () => {
    const lines = [
      { id: "a", domain: "prose", prompt: " Once", outputTokens: 5, arrivalMs: 0 },
      { messages: [{ role: "system", content: "Be brief." }, user("Why?")], arrivalMs: 12.5 },
      { id: 7, prompt: "Twice" },
    ];
    const path = file(lines.map((line) => JSON.stringify(line)).join("\n"));
    expect(await read(path, { turns: "all", domain: "mine" })).toEqual([
      { id: "a", domain: "prose", content: " Once", outputTokens: 5, arrivalMs: 0 },
      {
        id: "line 2",
        domain: "mine",
        content: [{ role: "system", content: "Be brief." }, user("Why?")],
        arrivalMs: 12.5,
      },
      { id: "7", domain: "mine", content: "Twice" },
    ]);
  });
});

describe("records that are no prompts", () => {
  test.each([
    ['{"id": 1', "is not JSON"],
    ["3", "no JSON object"],
    ['["a"]', "no JSON object"],
    ["{}", '"prompt" or "messages"'],
    ['{"prompt": "a", "messages": []}', "only one"],
    ['{"prompt": "  "}', '"prompt" must be a text'],
    ['{"prompt": "a", "domain": 1}', '"domain"'],
    ['{"prompt": "a", "outputTokens": 0}', '"outputTokens"'],
    ['{"prompt": "a", "arrivalMs": -1}', '"arrivalMs"'],
    ['{"messages": "hello"}', "must be a list"],
    ['{"messages": [{"role": "user"}]}', 'the texts "role" and "content"'],
    ['{"conversations": [{"from": "constructor", "value": "x"}]}', '"constructor"'],
    ['{"conversations": []}', "no turn of the user"],
    ['{"conversation": [{"role": "user", "content": ""}]}', "no turn of the user"],
  ])("%s", async (line, reason) => {
    // A line that begins with a bracket would be a list.
    const path = file(`{"prompt": "good"}\n${line}\n{"prompt": "also good"}`);
    await expect(read(path)).rejects.toMatchObject({
      name: "WorkloadError",
      kind: "bad-record",
      place: { file: path, line: 2 },
      message: expect.stringContaining(reason),
    });
    const skipped: string[] = [];
    const prompts = await read(path, { onBadRecord: ({ message }) => skipped.push(message) });
    expect(prompts.map(({ content }) => content)).toEqual(["good", "also good"]);
    expect(skipped).toEqual([expect.stringContaining(`${path}, line 2: `)]);
  });

  test("bytes that are not UTF-8 are named by their line", async () => {
    const bad = Buffer.concat([Buffer.from('{"prompt": "a"}\n{"prompt": "'), Uint8Array.of(0xff), Buffer.from('"}')]);
    await expect(read(file(bad))).rejects.toMatchObject({
      place: { line: 2 },
      message: expect.stringContaining("UTF-8"),
    });
  });

  test("a list that is cut off is an error even where bad records are skipped", async () => {
    const cut = read(file('[{"prompt": "a"}, {"prompt": "b"'), { onBadRecord: () => {} });
    await expect(cut).rejects.toMatchObject({ kind: "bad-file" });
  });

  test.each(["", "\n\n", "[]"])("a file without any, %j", async (content) => {
    await expect(read(file(content))).rejects.toMatchObject({ kind: "bad-file" });
  });

  test("a file that is not there, or a folder", async () => {
    for (const path of [join(folder, "nothing"), folder])
      await expect(read(path)).rejects.toMatchObject({ kind: "unreadable", place: { file: path } });
  });
});

test("a big file takes little memory, and a signal ends it", { timeout: 30_000 }, async () => {
  const path = join(folder, "big.jsonl");
  const answer = "x".repeat(20_000);
  const line = (i: number) =>
    JSON.stringify({
      id: i,
      conversations: [
        { from: "human", value: `Question ${i}` },
        { from: "gpt", value: answer },
      ],
    });
  writeFileSync(path, Array.from({ length: 3000 }, (_, i) => line(i)).join("\n"));
  let count = 0;
  let most = 0;
  for await (const { id } of readPrompts(path)) {
    expect(id).toBe(String(count++));
    if (count % 500 === 0) most = Math.max(most, process.memoryUsage().arrayBuffers);
  }
  expect(count).toBe(3000);
  // The file has 60 MB, and chunks of one.
  expect(most).toBeLessThan(40e6);

  const stop = new AbortController();
  const reason = new Error("enough");
  const reading = async () => {
    for await (const _ of readPrompts(path, { signal: stop.signal })) stop.abort(reason);
  };
  await expect(reading()).rejects.toBe(reason);
});
