/** Texts of token ids out of a model file's header, for showing them. No tokenizer: single tokens only. */
import { openGguf } from "../gguf/index.ts";
import { tracedModel } from "../trace/record/traced-model.ts";
import { UsageError } from "./failure.ts";

/**
 * @param tokenizerHash of the trace; null when it does not know
 * @throws GgufError, UsageError for a file with another vocabulary
 */
export function tokenTexts(file: string, tokenizerHash: string | null): (token: number) => string | null {
  const { metadata } = openGguf(file);
  if (tokenizerHash !== null && tracedModel(file).tokenizerHash !== tokenizerHash)
    throw new UsageError(
      `--vocabulary ${file}: the trace was recorded with another vocabulary. Give the traced model's file.`,
    );
  const tokens = metadata.strings("tokenizer.ggml.tokens");
  const decode = metadata.optionalString("tokenizer.ggml.model") === "gpt2" ? byteLevelText : sentencePieceText;
  return (token) => {
    const text = tokens[token];
    return text === undefined ? null : decode(text);
  };
}

/** SentencePiece writes a space as U+2581. */
function sentencePieceText(text: string): string {
  return text.replaceAll("\u2581", " ");
}

/** GPT-2 writes each byte as one printable character: itself where it is one, else a letter from U+0100 on. */
function byteLevelText(text: string): string {
  const bytes = Array.from(text, (letter) => BYTE_OF.get(letter));
  return bytes.includes(undefined) ? text : Buffer.from(bytes as number[]).toString("utf8");
}

const BYTE_OF: ReadonlyMap<string, number> = new Map(byteLetters());

function byteLetters(): [string, number][] {
  let further = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return [String.fromCodePoint(printable ? byte : 0x100 + further++), byte];
  });
}
