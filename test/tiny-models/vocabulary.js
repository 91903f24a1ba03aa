/**
 * A real but tiny SentencePiece vocabulary: three special tokens, the 256 byte tokens, and a few pieces, so that
 * any text can be tokenised and detokenised. All tiny models share it, whatever tokenizer their big relatives have.
 */
import { bool, f32s, i32s, text, texts, u32 } from "./metadata.js";

/** llama.cpp's token kinds (include/llama.h, llama_token_type), as the metadata stores them. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const BYTE = 6;
// Merges happen by score, so a longer piece scores higher than the pieces it is made of.
const PIECES = ["▁", ..."etaoinshrdlcumwfgypbvk.,", "th", "he", "in", "er", "an", "▁t", "▁a", "▁the", "▁and", "▁in"];
function tokens() {
  const bytes = Array.from({ length: 256 }, (_, byte) => ({
    text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    score: 0,
    kind: BYTE,
  }));
  return [
    { text: "<unk>", score: 0, kind: UNKNOWN },
    { text: "<s>", score: 0, kind: CONTROL },
    { text: "</s>", score: 0, kind: CONTROL },
    ...bytes,
    ...PIECES.map((piece) => ({ text: piece, score: piece.length - 10, kind: NORMAL })),
  ];
}
const TOKENS = tokens();
/** Number of tokens; the second dimension of the embedding. */
export const VOCABULARY_SIZE = TOKENS.length;
/** The `tokenizer.*` metadata of every tiny model. BOS is token 1 and is added, EOS is token 2 and is not. */
export const VOCABULARY_METADATA = {
  "tokenizer.ggml.model": text("llama"),
  "tokenizer.ggml.pre": text("default"),
  "tokenizer.ggml.tokens": texts(TOKENS.map((token) => token.text)),
  "tokenizer.ggml.scores": f32s(TOKENS.map((token) => token.score)),
  "tokenizer.ggml.token_type": i32s(TOKENS.map((token) => token.kind)),
  "tokenizer.ggml.bos_token_id": u32(1),
  "tokenizer.ggml.eos_token_id": u32(2),
  "tokenizer.ggml.unknown_token_id": u32(0),
  "tokenizer.ggml.add_bos_token": bool(true),
  "tokenizer.ggml.add_eos_token": bool(false),
};
