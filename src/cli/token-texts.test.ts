import { expect, test } from "vitest";
import { openGguf } from "../gguf/index.ts";
import { tracedModel } from "../trace/record/traced-model.ts";
import { UsageError } from "./failure.ts";
import { DEMO_MODEL } from "./model-options.ts";
import { tokenTexts } from "./token-texts.ts";

const { tokenizerHash } = tracedModel(DEMO_MODEL);
const tokens = openGguf(DEMO_MODEL).metadata.strings("tokenizer.ggml.tokens");

test("tokens are shown as the text they stand for", () => {
  const text = tokenTexts(DEMO_MODEL, tokenizerHash);
  expect(text(tokens.indexOf("Ġthe"))).toBe(" the");
  expect(text(tokens.indexOf("ĊĠĠĠĠ"))).toBe("\n    ");
  expect(text(tokens.indexOf("Ã©"))).toBe("é");
  expect(text(tokens.length)).toBeNull();
});

test("every single byte has its letter", () => {
  const text = tokenTexts(DEMO_MODEL, null);
  const bytes = tokens.filter((token) => token.length === 1).map((token) => text(tokens.indexOf(token)));
  // 128 of them are no UTF-8 by themselves and shown as the replacement character.
  expect(new Set(bytes.filter((letter) => letter !== "\ufffd")).size).toBe(128);
});

test("another model's vocabulary is refused", () => {
  expect(() => tokenTexts(DEMO_MODEL, "another")).toThrow(UsageError);
});
