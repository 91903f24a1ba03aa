import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadLibraries, loadModel } from "../llama/index.ts";
import { readHeldOutTexts } from "./held-out.ts";
import { tokenizeTexts } from "./tokenize-texts.ts";

const models = fileURLToPath(new URL("../../models", import.meta.url));
const modelPath = path.join(models, "demo-moe-q8_0.gguf");
const texts = readHeldOutTexts([path.join(models, "text")]);

test("texts are tokenised as the loaded model does it, without mapping its weights", () => {
  const tokenized = tokenizeTexts(modelPath, texts);
  // What was mapped was given back, and the model's file was never mapped.
  expect(readFileSync("/proc/self/maps", "utf8")).not.toContain("demo-moe-q8_0.gguf");
  using model = loadModel(loadLibraries(), modelPath);
  expect(tokenized.map(({ domain }) => domain)).toEqual(["javascript", "math", "prose", "python"]);
  for (const [i, { tokens }] of tokenized.entries()) {
    // Joined piece by piece: llama_detokenize tidies spaces before punctuation away.
    const bytes = Array.from(tokens, (token) => model.vocabulary.piece(token));
    expect(Buffer.concat(bytes).toString()).toBe(texts[i].text);
  }
});
