/**
 * Texts cut into samples of tokens. Files are read and tokenised in pieces, and no further than samples are wanted, so that
 * a long one is never one string. What is left behind the last whole sample is not recorded: the metrics depend on a
 * sample's length, so all have the same.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Vocabulary } from "../../llama/index.ts";
import { RecordingInputError } from "./errors.ts";

export interface TextFile {
  readonly path: string;
  /** Label of its samples. @default the file's name without its ending */
  readonly domain?: string;
}

export interface CutOptions {
  /** Tokens from one sample's start to the next one's, with a BOS token if there is one. */
  readonly stride: number;
  /** Tokens that a sample needs; fewer than `stride` when the model goes on from the start of it. */
  readonly length: number;
  /** Samples of each text at most. @default all */
  readonly samples?: number | undefined;
  /** Token in front of each sample. @default none */
  readonly bos?: number | undefined;
}

/** The samples of one text. */
export interface SampledText {
  readonly domain: string;
  readonly samples: number;
  /** Tokens behind the last sample that are too few for another one; 0 when no more samples were wanted. */
  readonly unusedTokens: number;
  /** Tokens of a sample, `length` of them. */
  sample(index: number): Int32Array;
  /** SHA-256 of all samples' tokens. */
  readonly hash: string;
}

/** Read and tokenised at once; a text that is not longer is one piece, and its tokens are those of the whole. */
const PIECE_BYTES = 2 ** 20;

/** For whoever wants to know before a model is opened. @throws RecordingInputError `unreadable-text` */
export function checkTextFile({ path: file }: TextFile): void {
  for (const _ of filePieces(file)) break;
}

export function domainOf(file: TextFile): string {
  return file.domain ?? path.parse(file.path).name;
}

/** @throws RecordingInputError `unreadable-text`, `empty-text`, `short-text`, `not-utf8` */
export function sampleText(file: TextFile, vocabulary: Vocabulary, options: CutOptions): SampledText {
  const { stride, length, bos } = options;
  const extra = bos === undefined ? 0 : 1;
  const step = stride - extra;
  const need = length - extra;
  const limit = options.samples ?? Number.POSITIVE_INFINITY;
  const tokens = tokenizeFile(file.path, vocabulary, (limit - 1) * step + need);
  if (tokens.length < need)
    throw tokens.length === 0
      ? new RecordingInputError("empty-text", `${file.path} has no text. Give a file with at least ${need} tokens.`)
      : new RecordingInputError(
          "short-text",
          `${file.path} has ${tokens.length} tokens, but a sample needs ${need}. ` +
            `Give a longer text, or a sample length of at most ${tokens.length + extra}.`,
        );
  const samples = Math.min(limit, Math.floor((tokens.length - need) / step) + 1);
  const sample = (index: number): Int32Array => {
    const from = index * step;
    const ids = new Int32Array(length);
    if (bos !== undefined) ids[0] = bos;
    ids.set(tokens.subarray(from, from + need), extra);
    return ids;
  };
  const hash = createHash("sha256");
  for (let i = 0; i < samples; i++) hash.update(sample(i));
  const used = (samples - 1) * step + need;
  return {
    domain: domainOf(file),
    samples,
    unusedTokens: samples === limit ? 0 : tokens.length - used,
    sample,
    hash: hash.digest("hex"),
  };
}

/** The first `wanted` tokens of a text at least, or all. */
function tokenizeFile(file: string, vocabulary: Vocabulary, wanted: number): Int32Array {
  const pieces: Int32Array[] = [];
  let count = 0;
  for (const text of textPieces(file)) {
    const tokens = vocabulary.tokenize(text, { addSpecial: false });
    pieces.push(tokens);
    count += tokens.length;
    if (count >= wanted) break;
  }
  return joined(pieces, count);
}

function joined(pieces: readonly Int32Array[], count: number): Int32Array {
  const all = new Int32Array(count);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** The text in pieces that end with a line, where there are line ends: a token hardly ever goes across one. */
function* textPieces(file: string): Generator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  for (const bytes of filePieces(file)) {
    text += decode(decoder, bytes, file);
    const end = text.lastIndexOf("\n") + 1;
    // A piece is given away only when more than a piece has come, so that a text of one piece stays whole.
    if (text.length <= PIECE_BYTES) continue;
    const cut = end > 0 ? end : characterStart(text, text.length - 1);
    yield text.slice(0, cut);
    text = text.slice(cut);
  }
  text += decode(decoder, undefined, file);
  if (text !== "") yield text;
}

/** A piece is overwritten by the next one. */
function* filePieces(file: string): Generator<Uint8Array> {
  const descriptor = reading(file, () => fs.openSync(file, "r"));
  try {
    const bytes = Buffer.alloc(PIECE_BYTES);
    for (;;) {
      const read = reading(file, () => fs.readSync(descriptor, bytes, 0, PIECE_BYTES, null));
      if (read === 0) return;
      yield bytes.subarray(0, read);
    }
  } finally {
    fs.closeSync(descriptor);
  }
}

function reading<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new RecordingInputError("unreadable-text", `The text ${file} cannot be read: ${(error as Error).message}.`);
  }
}

/** `index`, or the one before it where that is in the middle of a character. */
function characterStart(text: string, index: number): number {
  const unit = text.charCodeAt(index);
  return unit >= 0xdc00 && unit < 0xe000 ? index - 1 : index;
}

/** Without bytes: the end of the text. */
function decode(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array | undefined, file: string): string {
  try {
    return decoder.decode(bytes, { stream: bytes !== undefined });
  } catch {
    throw new RecordingInputError("not-utf8", `${file} is not UTF-8 text. Convert it, or give another file.`);
  }
}
