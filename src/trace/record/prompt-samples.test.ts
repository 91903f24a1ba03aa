import { afterAll, describe, expect, test } from "vitest";
import { loadDemoModel } from "../../llama/demo-model.test-data.ts";
import type { Prompt } from "../../workload/prompt.ts";
import { type PromptSampleOptions, samplePrompts } from "./prompt-samples.ts";
import type { PromptFormat } from "./recording-job.ts";

const model = loadDemoModel();
const { vocabulary } = model;
afterAll(() => model.dispose());

function sample(content: Prompt["content"], more: Partial<PromptSampleOptions> = {}, format: PromptFormat = "given") {
  const list = [{ id: "one", domain: "x", content }];
  const options = { tokens: 8, contextTokens: 512, template: model.chatTemplate, ...more };
  return samplePrompts({ list, format }, vocabulary, options)[0];
}

const textOf = (content: Prompt["content"], most?: number, format?: PromptFormat) =>
  vocabulary.detokenize(sample(content, { promptTokens: most }, format).tokens, { special: true });

const question = [{ role: "user" as const, content: "Why is the sky blue, and not green or red?" }];
const END = "<|end|>\n<|assistant|>\n";

describe("a prompt", () => {
  test("that is a text is its tokens, cut to the first ones", () => {
    const text = "Once upon a time there was a fox.";
    const tokens = vocabulary.tokenize(text, { addSpecial: false });
    expect(sample(text).tokens).toEqual(tokens);
    expect(sample(text, { promptTokens: 4 }).tokens).toEqual(tokens.slice(0, 4));
  });

  test("that is a conversation goes through the template, unless it is to be raw, and a text only when asked", () => {
    expect(textOf(question)).toBe(`<|user|>\n${question[0].content}${END}`);
    expect(textOf(question, undefined, "raw")).toBe(question[0].content);
    expect(textOf("Why?", undefined, "chat")).toBe(`<|user|>\nWhy?${END}`);
    const turns = [{ role: "system" as const, content: "Be brief." }, ...question];
    expect(textOf(turns)).toBe(`<|user|>\nBe brief.<|end|>\n<|user|>\n${question[0].content}${END}`);
    expect(textOf(turns, undefined, "raw")).toBe(`Be brief.\n\n${question[0].content}`);
  });

  test("that is cut in a conversation keeps its template whole and loses the end of the question", () => {
    const whole = sample(question).tokens.length;
    const overhead = whole - vocabulary.tokenize(question[0].content, { addSpecial: false }).length;
    for (let most = overhead + 1; most <= whole; most++) {
      const { tokens } = sample(question, { promptTokens: most });
      expect(tokens.length).toBeLessThanOrEqual(most);
      expect(tokens.length).toBeGreaterThan(most - 3);
      const text = vocabulary.detokenize(tokens, { special: true });
      expect(text.startsWith("<|user|>\n")).toBe(true);
      expect(text.endsWith(END)).toBe(true);
      expect(question[0].content.startsWith(text.slice(9, -END.length))).toBe(true);
    }
    expect(() => sample(question, { promptTokens: overhead })).toThrow(
      expect.objectContaining({ kind: "sample-length", message: expect.stringContaining("larger --prompt-tokens") }),
    );
  });

  test("cut in the middle of a character loses the character", () => {
    for (const most of [14, 15, 16, 17, 18])
      expect(textOf([{ role: "user", content: "😀🌍🎉🦊🌲" }], most)).not.toContain("\uFFFD");
  });

  test("says how long its answer is, or is told", () => {
    const list = [{ id: "one", domain: "x", content: "Hello", outputTokens: 3 }];
    const options = { contextTokens: 512, template: undefined };
    expect(samplePrompts({ list, format: "given" }, vocabulary, options)[0].decodeTokens).toBe(3);
    expect(samplePrompts({ list, format: "given" }, vocabulary, { ...options, tokens: 7 })[0].decodeTokens).toBe(7);
    expect(() => sample("Hello", { tokens: undefined })).toThrow("The prompt one does not say");
  });
});

test.each([
  ["too long with its answer", { contextTokens: 9 }, "given", "was trained for 9", "RecordingInputError"],
  ["a conversation without a template", { template: undefined }, "chat", "no chat template", "ChatTemplateError"],
] as const)("a prompt that cannot be sampled: %s", (_, more, format, message, name) => {
  expect(() => sample("Two words", more, format)).toThrow(
    expect.objectContaining({ name, message: expect.stringContaining(message) }),
  );
});
