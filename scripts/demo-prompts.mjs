/**
 * Makes models/prompts/demo.jsonl: 96 prompts, the beginnings of passages of the four held-out texts in models/text, evenly
 * spread over each. Run it again when a text changes: `node scripts/demo-prompts.mjs`.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const texts = new URL("../models/text/", import.meta.url);
const target = new URL("../models/prompts/demo.jsonl", import.meta.url);
const PROMPTS_OF_A_TEXT = 24;
/** Some 60 to 110 tokens of the demo model: enough for the 37 and 43 tokens that prompts are cut to. */
const CHARACTERS = 260;

/** Where a paragraph, function or sum begins: behind a blank line, or on any line of a text without them. */
function passages(text) {
  const starts = (separator) =>
    [...text.matchAll(separator)]
      .map(({ index, 0: match }) => index + match.length)
      .filter((at) => !/\s/.test(text[at] ?? " "));
  const paragraphs = starts(/\n\n+/g);
  return paragraphs.length >= 2 * PROMPTS_OF_A_TEXT ? paragraphs : starts(/\n/g);
}

/** Up to the last whole word. */
function beginning(text, at) {
  const cut = text.slice(at, at + CHARACTERS);
  return cut.slice(0, cut.search(/\s\S*$/)).trimEnd();
}

const prompts = readdirSync(texts).flatMap((file) => {
  const text = readFileSync(new URL(file, texts), "utf8");
  const domain = file.replace(/\.txt$/, "");
  const starts = passages(text).filter((at) => at + CHARACTERS < text.length);
  return Array.from({ length: PROMPTS_OF_A_TEXT }, (_, i) => {
    const at = starts[Math.floor((i * starts.length) / PROMPTS_OF_A_TEXT)];
    return { id: `${domain}-${String(i + 1).padStart(2, "0")}`, domain, prompt: beginning(text, at) };
  });
});

mkdirSync(new URL(".", target), { recursive: true });
writeFileSync(target, prompts.map((prompt) => `${JSON.stringify(prompt)}\n`).join(""));
process.stdout.write(`${fileURLToPath(target)}: ${prompts.length} prompts\n`);
